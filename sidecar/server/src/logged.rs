//! What a test's own thread logs.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing::subscriber::{DefaultGuard, set_default};
use tracing_subscriber::fmt;

/// Lines, in the order in which they were logged.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// Gathers until the guard is dropped.
    pub(crate) fn gather() -> (Self, DefaultGuard) {
        let lines = Self::default();
        let written = lines.clone();
        let log = fmt().with_ansi(false).with_writer(move || written.clone()).finish();
        (lines, set_default(log))
    }

    /// Those with these words.
    pub(crate) fn with(&self, words: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(words)).map(Into::into).collect()
    }
}

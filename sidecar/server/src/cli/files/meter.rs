//! How far a run is, for a person.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Is told how far a run is.
pub trait Progress {
    /// `bytes` of the input's `total` were checked, before the first row is sent.
    fn checking(&mut self, bytes: u64, total: Option<u64>);
    /// `bytes` of the input's `total` and `rows` are done.
    fn at(&mut self, bytes: u64, total: Option<u64>, rows: u64);
    /// The run has ended, in whichever way.
    fn done(&mut self);
}

/// A bar on standard error; nothing if that is no terminal.
#[derive(Debug)]
pub struct Bar(ProgressBar);

impl Bar {
    /// An empty bar.
    pub fn new() -> Self {
        // indicatif hides the bar by itself where standard error is no terminal.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    fn draw(&self, bytes: u64, total: Option<u64>, message: String) {
        if let Some(total) = total {
            self.0.set_length(total);
        }
        self.0.set_message(message);
        self.0.set_position(bytes);
    }
}

impl Default for Bar {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress for Bar {
    fn checking(&mut self, bytes: u64, total: Option<u64>) {
        self.draw(bytes, total, "checking".to_owned());
    }

    fn at(&mut self, bytes: u64, total: Option<u64>, rows: u64) {
        self.draw(bytes, total, format!("{rows} rows"));
    }

    fn done(&mut self) {
        self.0.finish_and_clear();
    }
}

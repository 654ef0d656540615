//! Whether what a configuration names is as it should be: asked one by one, by doing what a sidecar
//! does, with what to change where it is not.

use std::fmt;

use crate::aws::{Kind, Trouble};

mod issuers;
mod keys;
mod lifecycle;
mod s3;

pub use issuers::check_issuers;
pub use keys::check_keys;
pub use s3::check_s3;

/// How one thing was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// As it should be.
    Well,
    /// Whoever asks may not know.
    Unknown,
    /// Not as it should be.
    Wrong,
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What.
    pub about: &'static str,
    /// How it is.
    pub state: State,
    /// What was seen, and what to do.
    pub words: String,
}

impl Finding {
    fn well(about: &'static str, words: impl Into<String>) -> Self {
        Self { about, state: State::Well, words: words.into() }
    }

    fn wrong(about: &'static str, words: impl Into<String>) -> Self {
        Self { about, state: State::Wrong, words: words.into() }
    }

    /// What could not be asked: unless nobody answered, it may still be well.
    fn unknown(about: &'static str, trouble: &Trouble, permission: &str) -> Self {
        let how = match trouble.kind {
            Kind::Unavailable => return Self::wrong(about, trouble.cause.clone()),
            Kind::Unsupported => "a server that tells",
            _ => permission,
        };
        let words = format!("{}; to check it, whoever runs this needs: {how}", trouble.cause);
        Self { about, state: State::Unknown, words }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Well => "ok",
            State::Unknown => "?",
            State::Wrong => "WRONG",
        };
        write!(f, "{state:<6} {:<20} {}", self.about, self.words)
    }
}

//! Why a file was not turned. No message holds the content of a cell.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// Why a run stopped.
#[derive(Debug, Error)]
pub enum FileError {
    /// The options do not fit each other or the files.
    #[error("{0}")]
    Usage(String),
    /// A row cannot be read, or a cell must not be turned.
    #[error("row {row}{}: {reason}", column_text(column.as_deref()))]
    Row {
        /// The row, counted from 1.
        row: u64,
        /// The column's name, path or number.
        column: Option<String>,
        /// What is wrong with it.
        reason: Reason,
    },
    /// The sidecar refused one value.
    #[error("row {row}, column {column}: {detail} ({code}){}", hint(*.resumable))]
    Item {
        /// The row, counted from 1.
        row: u64,
        /// The column's name, path or number.
        column: String,
        /// The sidecar's code.
        code: String,
        /// The sidecar's explanation.
        detail: String,
        /// Whether the same command goes on from here.
        resumable: bool,
    },
    /// The sidecar did not become available.
    #[error("{message} (tried {attempts} times){}", hint(*.resumable))]
    Unavailable {
        /// What the last attempt said.
        message: String,
        /// How often it was asked.
        attempts: u32,
        /// Whether the same command goes on from here.
        resumable: bool,
    },
    /// The sidecar refused the call, or answered something else than the contract says.
    #[error("{message}{}", hint(*.resumable))]
    Refused {
        /// What it said.
        message: String,
        /// Whether the same command goes on from here.
        resumable: bool,
    },
    /// Another run writes the same output.
    #[error("another run is writing {}", .0.display())]
    Busy(PathBuf),
    /// There are traces of an interrupted run that was not this one.
    #[error(
        "an interrupted run left its progress here, and {why}; delete {} and {} or pass --force \
         to begin anew", progress.display(), partial.display()
    )]
    Foreign {
        /// What differs.
        why: &'static str,
        /// The progress file.
        progress: PathBuf,
        /// The partial output.
        partial: PathBuf,
    },
    /// The input changed under the run.
    #[error("the input changed while it was read; begin anew with --force once it is at rest")]
    Changed,
    /// Whoever read standard output has gone.
    #[error("the reader of the output has closed it")]
    Closed,
    /// A file could not be read or written.
    #[error("cannot {doing} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

impl FileError {
    /// For `map_err`.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io { doing, path: path.to_owned(), cause }
    }
}

fn column_text(column: Option<&str>) -> String {
    column.map(|name| format!(", column {name}")).unwrap_or_default()
}

fn hint(resumable: bool) -> &'static str {
    if resumable {
        "; the finished rows are kept, run the same command again to resume"
    } else {
        "; this run cannot be resumed"
    }
}

/// What is wrong with a row or a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Reason {
    /// More than [`lunasec_core::limits::ROW_BYTES`].
    #[error("the row is longer than 8 MiB (is there a quote that is not closed?)")]
    RowTooLong,
    /// More than the values of one row may have together.
    #[error("the row's values are larger than 16 MiB together")]
    ValuesTooLong,
    /// More than [`lunasec_core::limits::VALUE_BYTES`].
    #[error("the value is larger than 1 MiB")]
    ValueTooLong,
    /// The file ends inside quotes.
    #[error("a quote is not closed before the end of the file")]
    Unterminated,
    /// `"a"b` in a selected cell.
    #[error("there is text after the closing quote")]
    AfterQuote,
    /// Readers disagree where this cell ends.
    #[error("the quotes are ambiguous: programs would split this row in different ways")]
    Ambiguous,
    /// The cell is a token already.
    #[error("the cell is a token already (was this file tokenized before?)")]
    AlreadyToken,
    /// The cell is not a token.
    #[error("the cell is not a token")]
    NotToken,
    /// The line is not JSON.
    #[error("the line is not valid JSON")]
    NotJson,
    /// A selected JSON value of another type.
    #[error("this is {0}; only strings can be tokenized")]
    NotString(&'static str),
    /// A selected path goes on below a value that has no keys.
    #[error("the path goes through {0}, which has no keys")]
    NotObject(&'static str),
    /// A key on a selected path is there twice.
    #[error("a key on this path is there twice in the same object")]
    DuplicateKey,
    /// Half of a surrogate pair.
    #[error("the string has an unpaired surrogate, which is not a character")]
    LoneSurrogate,
    /// JSON strings hold text only.
    #[error("the value is not UTF-8, which a JSON string cannot hold")]
    NotUtf8,
    /// Arrays in arrays in arrays.
    #[error("the arrays are nested too deeply")]
    TooDeep,
}

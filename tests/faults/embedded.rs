//! The embedded store: its file, its key file and its disk.

mod copies;
mod damage;
pub(crate) mod disk;
mod key_file;
mod kills;
mod recovery;

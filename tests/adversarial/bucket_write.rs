//! Holds: the bucket, to read and to write; tokens of others, and a token, a session and a namespace of his own.
//! Lacks: the wrapping key of the victim.

mod grants;
mod keyring;
mod records;

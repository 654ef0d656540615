//! LunaSec tokenization from Rust, through the sidecar's Unix socket: an application keeps tokens where it used to keep
//! card numbers, addresses or scans of IDs.
//!
//! ```no_run
//! # async fn example() -> Result<(), lunasec_client::Error> {
//! use lunasec_client::Client;
//!
//! let lunasec = Client::from_env()?;
//! let token = lunasec.tokenize("4111 1111 1111 1111").await?.token;
//! let row = token.expose(); // what your database keeps
//!
//! let value = lunasec.detokenize(row).await?;
//! let number = value.reveal()?; // what you charge
//! # Ok(()) }
//! ```
//!
//! Everything begins with a [`Client`]. What goes wrong is an [`Error`], whose tree is drawn in the [`error`] module. What
//! reads do when nobody can answer is a [`Policy`]. Features: `axum` and `tower` for web applications, `operator`
//! for tools of whoever runs a sidecar; none is on by default.

#[cfg(feature = "axum")]
pub mod axum;
mod batcher;
mod builder;
mod calls;
mod client;
mod context;
mod dice;
mod engine;
pub mod error;
mod flight;
mod limits;
mod new_value;
mod operation;
#[cfg(feature = "operator")]
pub mod operator;
mod places;
mod plain;
mod plaintext;
mod policy;
mod prints;
mod results;
mod retry;
mod session;
mod stored;
mod token;
mod token_like;
#[cfg(feature = "tower")]
pub mod tower;
mod transport;
mod view;
mod wiped;
mod wire;

pub use builder::Builder;
pub use client::Client;
pub use error::{Error, ErrorClass, ErrorKind};
pub use new_value::{Lifetime, NewValue};
pub use plaintext::Plaintext;
pub use policy::{Fail, Mask, OrElse, Policy};
pub use results::{
    Deleted, Dependency, Durability, Fallback, Granted, JsonObject, Masked, Metadata,
    MetadataWritten, Revoked, Shown, Staleness, Status, Tokenized, Value, ValueOr, Verdict,
};
pub use session::{Action, GrantOptions, Session};
pub use stored::{StoredToken, exposed};
pub use token::Token;
pub use token_like::TokenLike;

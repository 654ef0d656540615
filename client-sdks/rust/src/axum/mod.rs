//! Extractors and answers for axum 0.8: tokens where values were in requests, and values where tokens are in answers. See
//! `docs/axum.md`.
//!
//! ```
//! use axum::{Json, Router, extract::State, routing::{get, post}};
//! use lunasec_client::{
//!     Client, StoredToken,
//!     axum::{LunaSec, Problem, Protected, RevealedJson, TokenizedJson},
//!     tower::LunaSecLayer,
//! };
//!
//! #[derive(serde::Serialize, serde::Deserialize, Clone)]
//! struct Customer {
//!     name: StoredToken,
//!     city: String,
//! }
//!
//! impl Protected for Customer {
//!     const FIELDS: &'static [&'static str] = &["name"];
//! }
//!
//! async fn create(TokenizedJson { body, .. }: TokenizedJson<Customer>) -> Json<Customer> {
//!     Json(body) // holds a token where the name was
//! }
//!
//! async fn all(lunasec: LunaSec) -> Result<RevealedJson, Problem> {
//!     let customers: Vec<Customer> = Vec::new(); // from a database
//!     lunasec.reveal_or_mask(&customers).await
//! }
//!
//! # fn app() -> Result<Router, lunasec_client::Error> {
//! let app = Router::new()
//!     .route("/customers", post(create).get(all))
//!     .layer(LunaSecLayer::new(Client::from_env()?));
//! # Ok(app) }
//! ```

mod extract;
mod fields;
mod problem;
mod raw;
mod reveal;

pub use extract::{LunaSec, TokenizedJson, VerifiedJson};
pub use problem::Problem;
pub use reveal::{Marks, RevealedJson};

/// Data of which some fields are protected: values when they come in, tokens where they are kept, and values again when they
/// are revealed. Such a field is a [`StoredToken`](crate::StoredToken), or text.
pub trait Protected {
    /// Paths: `card`, `address.street`, `items[].card`, `tags[]`; `note?` may be missing or null. They are the names that JSON
    /// has: a `#[serde(alias)]` of an optional field is a path of its own.
    const FIELDS: &'static [&'static str];
    /// How many lists it is in: none where JSON has an object, one for a list of those. Data of another shape is refused.
    const LISTS: usize = 0;
}

impl<T: Protected + ?Sized> Protected for &T {
    const FIELDS: &'static [&'static str] = T::FIELDS;
    const LISTS: usize = T::LISTS;
}

impl<T: Protected> Protected for Vec<T> {
    const FIELDS: &'static [&'static str] = T::FIELDS;
    const LISTS: usize = T::LISTS + 1;
}

impl<T: Protected> Protected for [T] {
    const FIELDS: &'static [&'static str] = T::FIELDS;
    const LISTS: usize = T::LISTS + 1;
}

impl<T: Protected> Protected for Option<T> {
    const FIELDS: &'static [&'static str] = T::FIELDS;
    const LISTS: usize = T::LISTS;
}

//! The pure domain of the LunaSec sidecar: tokens, locators, keys and the bytes of a record.
//!
//! Nothing here performs I/O, reads a clock or draws randomness; whoever calls passes those in. That
//! is what lets every byte be pinned by a vector (`tests/vectors.json`). `CRYPTOGRAPHY.md` has the
//! whole composition, for review.
//!
//! ```text
//! token T ──┬─ locate ──────────────► locator          (the object's name)
//!           └─ with data key K ─ seal ► record key, commitment
//! ```

pub mod aead;
pub mod audit;
pub mod derive;
pub mod envelope;
pub mod grant;
pub mod ids;
pub mod limits;
pub mod policy;
pub mod rate;
pub mod record;
pub mod replay;
pub mod secret;
pub mod token;
pub mod words;

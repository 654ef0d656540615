//! The LunaSec injector: puts the sidecar into pods that ask for it, and finds those that were missed.
//!
//! `main → cli → app → server → review → inject → annotations, container, volumes, identity`. From `review` on, and in
//! `certificates`, there is no I/O and no clock. Beside the server, `keeper` keeps Secret and webhook configuration, and
//! `reconciler`, in the replica that holds the `lease`, looks for missed pods.
//!
//! What there is not: a list of pods in memory beyond those that look missed, a write to a pod, and any way by which a
//! replica must talk to another one.

pub mod admin;
pub mod annotations;
pub mod app;
pub mod certificates;
pub mod cli;
pub mod clock;
pub mod container;
pub mod edits;
pub mod follow;
pub mod identity;
pub mod inject;
pub mod keeper;
pub mod kept;
pub mod lease;
pub mod mistakes;
pub mod names;
pub mod pool;
pub mod quantity;
pub mod quiet;
pub mod reconciler;
pub mod review;
pub mod server;
pub mod settings;
pub mod size;
pub mod telemetry;
pub mod volumes;

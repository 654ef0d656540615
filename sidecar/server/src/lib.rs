//! The LunaSec sidecar: `main → app → listen → stack → http | grpc → vault → {keys, store} → core`.

pub mod access;
pub mod admin;
pub mod app;
pub mod attempts;
pub mod aws;
pub mod checkup;
pub mod cli;
pub mod config;
pub mod db;
pub mod env;
pub mod failure;
pub mod files;
pub mod grpc;
pub mod http;
pub mod idempotency;
pub mod keyed;
pub mod keys;
pub mod listen;
pub mod platform;
pub mod report;
pub mod stack;
pub mod status;
pub mod store;
pub mod telemetry;
pub mod vault;
pub mod within;

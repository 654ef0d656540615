//! The LunaSec sidecar: `main → app → listen → stack → http | grpc → vault → {keys, store} → core`.

pub mod access;
pub mod admin;
pub mod app;
pub mod attempts;
pub mod audit;
pub mod aws;
pub mod breaker;
pub mod budget;
pub mod checkup;
pub mod cli;
pub mod config;
pub mod db;
pub mod env;
pub mod failure;
pub mod files;
pub mod gate;
pub mod grpc;
pub mod http;
pub mod idempotency;
pub mod journal;
pub mod keyed;
pub mod keys;
pub mod listen;
#[cfg(test)]
mod logged;
pub mod platform;
pub mod report;
pub mod rounds;
pub mod sandbox;
pub mod seldom;
pub mod sessions;
pub mod stack;
pub mod status;
pub mod store;
pub mod telemetry;
pub mod vault;
pub mod within;

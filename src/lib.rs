#![doc = include_str!("ARCHITECTURE.md")]

// 0 words
pub mod base;
pub mod telemetry;
// 1 bytes
pub mod storage;
// 2 state
pub mod auth;
pub mod catalog;
pub mod rollup;
// 3 engine
pub mod ingest;
pub mod query;
// 4 derived data
pub mod materialize;
// 6 edge
pub mod server;
// composition
pub mod app;
pub mod config;
pub mod jobs;
// 8 the command line
pub mod cli;

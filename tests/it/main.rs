//! The one integration binary: whole parts over a real lake in a temporary folder.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test, what should not happen fails the test")]

mod cli;
mod flight;
mod grpc;
mod http;
mod ingest;
mod lab;
mod put;
mod query;
mod shipped_sql;
mod slt;

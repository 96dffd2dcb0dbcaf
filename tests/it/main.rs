//! The one integration binary: whole parts over a real lake in a temporary folder.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test, what should not happen fails the test")]

mod advise;
mod auth;
mod cli;
mod endpoints;
mod flight;
mod freshness;
mod grpc;
mod hostile;
mod http;
mod ingest;
mod lab;
mod materialize;
mod materialize_at_random;
mod materialize_simulation;
mod partitions;
mod pgwire;
mod place;
mod process;
mod put;
mod query;
mod redefined;
mod removing;
mod restatements;
mod restatements_in_full;
mod seeds;
mod shipped_sql;
mod slices;
mod slt;
mod stars;
mod tls;
mod verifications;
mod view_status;

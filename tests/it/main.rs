//! The one integration binary: whole parts over a real lake in a temporary folder.

mod cli;
mod http;
mod ingest;
mod lab;
mod query;
mod shipped_sql;
mod slt;

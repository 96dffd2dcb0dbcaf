//! The one integration binary: whole parts over a real lake in a temporary folder.

mod http;
mod ingest;
mod shipped_sql;

//! The one integration binary: whole parts over a real lake in a temporary folder.

mod http;
mod shipped_sql;

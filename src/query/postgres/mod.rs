//! What clients of PostgreSQL ask a server about itself: the schema `pg_catalog`, and their SQL in the engine's grammar.
//!
//! ```text
//! client's SQL ─► asks about pg_catalog? ─ no ─► as it is
//!                   │ yes
//!                   ▼
//!                 translate: names, casts (regclass …), operators, functions (calls) ─► SQL of ours ─► tables, relations, types
//! ```
//! Rows are about what the viewer may see, as those of `system`. What we have none of (indexes, triggers, constraints …) are
//! tables without rows, and a query that can only be empty for them is answered so, whatever else it calls.

mod calls;
mod columns;
mod empty;
mod names;
mod parse;
mod relations;
mod shown;
mod tables;
mod translate;
mod types;

pub(super) use tables::table;
pub use translate::{Setting, postgres_compatible};

/// The schema of PostgreSQL's own tables.
pub(super) const PG_CATALOG: &str = "pg_catalog";
/// Who owns everything, for clients that ask.
const OWNER: &str = "adlake";

//! What can be known of a statement without running it.

use arrow::datatypes::SchemaRef;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatementKind {
    /// Gives rows.
    Query,
    /// INSERT, DELETE, COPY, REFRESH: gives a number of rows.
    Update,
    /// CREATE, DROP, SET …
    Command,
}

/// What can be known of a statement without running it.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub kind: StatementKind,
    /// Of the answer.
    pub schema: SchemaRef,
    /// One field per parameter, called `$1` …, with inferred types; NULL where the SQL does not tell.
    pub parameters: SchemaRef,
    /// Whether its rows may be given out by several streams at once: they have no order, and may be many. Only of a query.
    pub is_divisible: bool,
}

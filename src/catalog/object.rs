//! One user-defined object as the catalog keeps it.
use super::Definition;
use crate::base::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    Table,
    View,
    MaterializedView,
    Endpoint,
}
impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Table => "table",
            Self::View => "view",
            Self::MaterializedView => "materialized view",
            Self::Endpoint => "endpoint",
        })
    }
}

/// Tables, views and materialized views share one namespace (relations); endpoints have their own.
#[derive(Clone, Debug)]
pub struct Object {
    pub name: String,
    pub kind: ObjectKind,
    /// The CREATE statement as given (without OR REPLACE / IF NOT EXISTS), comments kept.
    pub sql: String,
    pub definition: Definition,
    /// Names of the relations its query reads, sorted.
    pub reads: Vec<String>,
    /// Folder below `tables/` for tables and materialized views.
    pub table_path: Option<String>,
    pub created_at: Timestamp,
    pub changed_at: Timestamp,
}

//! One user-defined object as the catalog keeps it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Create, Definition};
use crate::base::Timestamp;

/// Tables, views and materialized views share one namespace (relations); endpoints have their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    Table,
    View,
    MaterializedView,
    Endpoint,
}

impl ObjectKind {
    /// Whether queries can read objects of this kind by name.
    pub fn is_relation(self) -> bool {
        match self {
            Self::Table | Self::View | Self::MaterializedView => true,
            Self::Endpoint => false,
        }
    }
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

/// Who said CREATE. `adlake apply` drops only what came from a project.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DefinedBy {
    /// A statement over some connection.
    #[default]
    Statement,
    /// A file of a project folder.
    Project,
}

/// One object. `definition` is what parsing `sql` gives.
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
    pub defined_by: DefinedBy,
}

impl Object {
    /// A new object.
    pub fn new(create: Create, table_path: Option<String>, now: Timestamp) -> Self {
        Self {
            kind: create.kind(),
            name: create.name,
            sql: create.sql,
            definition: create.definition,
            reads: create.reads,
            table_path,
            created_at: now,
            changed_at: now,
            defined_by: create.defined_by,
        }
    }

    /// The same object with a new definition: keeps when it was created.
    pub fn redefined(&self, create: Create, table_path: Option<String>, now: Timestamp) -> Self {
        Self { created_at: self.created_at, ..Self::new(create, table_path, now) }
    }
}

//! The user-defined SQL objects: parse, diff (plan/apply), lineage, snapshot, store.
//!
//! Layer 2. Imports `storage`, `base`, `telemetry`.

pub mod definition;
pub mod error;
pub mod object;
pub mod plan;
pub mod project;
pub mod statement;
pub mod store;

pub use definition::{
    Definition, EndpointDefinition, EndpointParameter, MaterializedViewDefinition, TableDefinition, TableKind,
    ViewDefinition,
};
pub use error::CatalogError;
pub use object::{Object, ObjectKind};
pub use plan::{Change, Plan, plan};
pub use project::{SourceFile, load_project};
pub use statement::{
    AlterAddColumn, CopyInto, Create, DropObject, Refresh, ShowTarget, Statement, parse_script, parse_statement,
};
pub use store::{Catalog, CatalogSnapshot, CatalogVersion, Edit};

//! The user-defined SQL objects: parse, diff (plan/apply), lineage, snapshot, store.
//!
//! Layer 2. Imports `storage`, `base`, `telemetry`.
//!
//! ```text
//! text ─► statement ─► Create ─► plan (diff against the snapshot) ─► edit ─► stored document ─► snapshot
//! ```

pub mod statement;

pub mod definition;
pub mod error;
pub mod lineage;
pub mod object;
pub mod plan;
pub mod project;
pub mod snapshot;
pub mod store;
mod stored;
pub mod table_options;
#[cfg(test)]
mod testing;
pub mod view_options;

pub use definition::{
    Definition, EndpointDefinition, EndpointParameter, EndpointResult, MaterializedViewDefinition, ParameterRange,
    TableDefinition, TableKind, ViewDefinition,
};
pub use error::CatalogError;
pub use object::{DefinedBy, Object, ObjectKind};
pub use plan::{Change, Plan, plan};
pub use project::{SourceFile, load_project};
pub use snapshot::{CatalogSnapshot, CatalogVersion};
pub use statement::{
    AlterAddColumn, AlterOptions, CopyInto, Create, Delete, DropObject, Granted, GrantedOn, GrantedTo, Maintain,
    MaintainWork, MaskWord, NewTokenOptions, PrivilegeWord, Refresh, RefreshScope, Replay, SecurityStatement,
    ShowTarget, Statement, TokenUse, UserOptions, parse_script, parse_statement, redacted, tokens, with_options,
};
pub use store::{Catalog, Edit};
pub use table_options::{EXTRA_COLUMN, FileRate, IngestOptions, Landing, LandingOrder, OnError, UnknownFields};
pub use view_options::{RefreshTrigger, Rewrite, StrategyOption};

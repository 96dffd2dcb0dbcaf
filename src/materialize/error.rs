//! What can go wrong with a refresh.

use crate::base::{Classify, Kind};
use crate::catalog::CatalogError;
use crate::query::QueryError;
use crate::storage::StorageError;

#[derive(Debug, thiserror::Error)]
pub enum MaterializeError {
    #[error("'{name}' is a {kind}, not a materialized view; only materialized views are refreshed")]
    NotMaterialized { name: String, kind: String },
    #[error(
        "materialized view '{view}' was refreshed or changed {attempts} times while this refresh ran; run it again"
    )]
    Contended { view: String, attempts: u32 },
    #[error("refresh of '{view}' was cancelled; readers still see the version before it")]
    Cancelled { view: String },
    #[error(
        "column '{column}' of '{view}' is now {found} but is stored as {stored}; use CREATE OR REPLACE MATERIALIZED VIEW"
    )]
    SchemaChanged { view: String, column: String, found: String, stored: String },
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Classify for MaterializeError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotMaterialized { .. } => Kind::InvalidArgument,
            Self::Contended { .. } => Kind::Conflict,
            Self::Cancelled { .. } => Kind::Cancelled,
            Self::SchemaChanged { .. } => Kind::FailedPrecondition,
            Self::Catalog(inner) => inner.kind(),
            Self::Query(inner) => inner.kind(),
            Self::Storage(inner) => inner.kind(),
        }
    }
}

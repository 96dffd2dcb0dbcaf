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
    /// Another refresh has committed meanwhile; tried again, and so not seen outside.
    #[error("another refresh came first")]
    Overtaken,
    #[error("'{source_name}', which materialized view '{view}' reads, has no files")]
    NoSource { view: String, source_name: String },
    #[error("materialized view '{view}' has no key that is a time, such as date_trunc('minute', …): leave BETWEEN out")]
    NoTimeKey { view: String },
    #[error("BETWEEN {from} AND {to} holds no time: the first bound has to be before the second")]
    NoTimes { from: String, to: String },
    #[error("a bound of BETWEEN is a moment, such as '2026-03-01' or now() - INTERVAL '1 day'; {bound} is none")]
    NoMoment { bound: String },
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
            Self::NotMaterialized { .. } | Self::NoTimeKey { .. } | Self::NoTimes { .. } | Self::NoMoment { .. } => {
                Kind::InvalidArgument
            }
            Self::Contended { .. } | Self::Overtaken => Kind::Conflict,
            Self::NoSource { .. } => Kind::Internal,
            Self::Cancelled { .. } => Kind::Cancelled,
            Self::SchemaChanged { .. } => Kind::FailedPrecondition,
            Self::Catalog(inner) => inner.kind(),
            Self::Query(inner) => inner.kind(),
            Self::Storage(inner) => inner.kind(),
        }
    }
}

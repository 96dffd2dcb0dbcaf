//! What can go wrong with rows.

use datafusion::error::DataFusionError;

use crate::base::{Classify, Kind};
use crate::catalog::CatalogError;
use crate::storage::StorageError;

#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error("{message}")]
    Invalid { message: String },
    #[error("file '{file}': {message}")]
    BadFile { file: String, message: String },
    #[error(
        "file '{file}' has more than {limit} bad rows, first: {first}; nothing of it was loaded. Mend it or raise --max-rejects"
    )]
    TooManyRejects { file: String, limit: u64, first: String },
    #[error("{message}")]
    Exhausted { message: String },
    /// The query whose rows were to be inserted.
    #[error("cannot read the rows to insert")]
    Source(#[source] Box<DataFusionError>),
    #[error("internal error: {message}")]
    Internal { message: String },
    #[error("cancelled; nothing of the file in progress was loaded")]
    Cancelled,
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}
/// Memory and resources are limits; the rest lies in the statement's values (overflow, bad cast).
fn source_kind(error: &DataFusionError) -> Kind {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => Kind::ResourceExhausted,
        DataFusionError::ArrowError(..) | DataFusionError::Execution(_) | DataFusionError::Plan(_) => {
            Kind::InvalidArgument
        }
        _ => Kind::Unavailable,
    }
}

impl Classify for IngestError {
    fn kind(&self) -> Kind {
        match self {
            Self::Invalid { .. } | Self::BadFile { .. } | Self::TooManyRejects { .. } => Kind::InvalidArgument,
            Self::Exhausted { .. } => Kind::ResourceExhausted,
            Self::Cancelled => Kind::Cancelled,
            Self::Source(error) => source_kind(error),
            Self::Internal { .. } => Kind::Internal,
            Self::Catalog(inner) => inner.kind(),
            Self::Storage(inner) => inner.kind(),
        }
    }
}

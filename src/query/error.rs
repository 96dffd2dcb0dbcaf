//! What can go wrong with a statement.
use super::CommandError;
use crate::base::{Classify, Kind};
use crate::catalog::CatalogError;
use crate::storage::StorageError;
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error("{message}")]
    Invalid { message: String },
    #[error("{message}")]
    NotFound { message: String },
    #[error("{message}")]
    Unimplemented { message: String },
    #[error("too many statements: {running} running and {waiting} waiting; try again later")]
    Busy { running: usize, waiting: usize },
    #[error("not enough memory for this statement: {message}")]
    Memory { message: String },
    #[error("statement ran longer than {limit}")]
    Timeout { limit: String },
    #[error("statement was cancelled")]
    Cancelled,
    #[error("server is stopping; connect again")]
    Stopping,
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("internal error: {message}")]
    Internal { message: String },
}
impl Classify for QueryError {
    fn kind(&self) -> Kind {
        match self {
            Self::Invalid { .. } => Kind::InvalidArgument,
            Self::NotFound { .. } => Kind::NotFound,
            Self::Unimplemented { .. } => Kind::Unimplemented,
            Self::Busy { .. } | Self::Memory { .. } => Kind::ResourceExhausted,
            Self::Timeout { .. } => Kind::DeadlineExceeded,
            Self::Cancelled => Kind::Cancelled,
            Self::Stopping => Kind::Unavailable,
            Self::Catalog(inner) => inner.kind(),
            Self::Storage(inner) => inner.kind(),
            Self::Command(inner) => inner.kind(),
            Self::Internal { .. } => Kind::Internal,
        }
    }
}

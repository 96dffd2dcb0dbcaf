//! What can go wrong with a statement.

use super::CommandError;
use crate::auth::AuthError;
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
    #[error(
        "{most} statements of yours run already, the most your roles allow (auth.limits); try again when one has ended"
    )]
    TooMany { most: u64 },
    #[error("the answer has more than {most}, the most your roles allow (auth.limits); add a filter or LIMIT")]
    TooLarge { most: String },
    #[error("not enough memory for this statement: {message}")]
    Memory { message: String },
    #[error("statement ran longer than {limit}")]
    Timeout { limit: String },
    #[error("statement was cancelled")]
    Cancelled,
    /// As `Cancelled`, by somebody else's statement.
    #[error("statement was killed (KILL QUERY)")]
    Killed,
    /// It cannot be killed any more.
    #[error("statement '{query_id}' does not run any more: it is {state}")]
    Ended { query_id: String, state: &'static str },
    #[error("server is stopping; connect again")]
    Stopping,
    /// A caller may not; `message` names only what the caller named.
    #[error("{message}")]
    Denied { message: String },
    #[error(transparent)]
    Auth(#[from] AuthError),
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
            Self::Busy { .. } | Self::TooMany { .. } | Self::TooLarge { .. } | Self::Memory { .. } => {
                Kind::ResourceExhausted
            }
            Self::Timeout { .. } => Kind::DeadlineExceeded,
            Self::Cancelled | Self::Killed => Kind::Cancelled,
            Self::Ended { .. } => Kind::FailedPrecondition,
            Self::Stopping => Kind::Unavailable,
            Self::Denied { .. } => Kind::PermissionDenied,
            Self::Auth(inner) => inner.kind(),
            Self::Catalog(inner) => inner.kind(),
            Self::Storage(inner) => inner.kind(),
            Self::Command(inner) => inner.kind(),
            Self::Internal { .. } => Kind::Internal,
        }
    }
}

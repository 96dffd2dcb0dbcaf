//! What can be wrong with a credential, a permission or a change of the directory.

use super::config::AuthMode;
use crate::base::{Classify, Kind, Span};
use crate::storage::StorageError;

/// Every error of `auth`. Texts about failed sign-ins tell nobody whether a user, a token or an object exists.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error("not signed in: send a user name and password, or a token")]
    NoCredential,
    /// One sentence for every reason.
    #[error("not signed in: the user name, password or token is not valid (any more)")]
    BadCredential,
    #[error("too many failed attempts to sign in; try again in {retry_after}")]
    Throttled { retry_after: Span },
    #[error(
        "more than {most} requests in a second, the most your roles allow (auth.limits); try again in {retry_after}"
    )]
    TooOften { most: u64, retry_after: Span },
    /// `message` names only what the caller named.
    #[error("{message}")]
    Denied { message: String },
    #[error("{message}")]
    Invalid { message: String },
    #[error("{kind} '{name}' not found{suggestion}")]
    NotFound { kind: &'static str, name: String, suggestion: String },
    #[error("{kind} '{name}' exists already")]
    Exists { kind: &'static str, name: String },
    #[error("{message}")]
    InUse { message: String },
    #[error("users and roles changed while this statement ran; run it again")]
    Conflict,
    /// What the lake holds as users and roles cannot be understood. Nothing is served then: never "no policies".
    #[error("cannot read the stored users and roles: {message}")]
    Damaged { message: String },
    #[error("{message}")]
    Internal { message: String },
    #[error("cannot read or write users and roles")]
    Storage(#[from] StorageError),
}

impl AuthError {
    pub fn denied(message: impl Into<String>) -> Self {
        Self::Denied { message: message.into() }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into() }
    }

    /// How long to wait before the same may succeed.
    pub fn retry_after(&self) -> Option<Span> {
        match self {
            Self::Throttled { retry_after } | Self::TooOften { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }
}

impl Classify for AuthError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoCredential | Self::BadCredential => Kind::Unauthenticated,
            Self::Throttled { .. } | Self::TooOften { .. } => Kind::ResourceExhausted,
            Self::Denied { .. } => Kind::PermissionDenied,
            Self::Invalid { .. } => Kind::InvalidArgument,
            Self::NotFound { .. } => Kind::NotFound,
            Self::Exists { .. } => Kind::AlreadyExists,
            Self::InUse { .. } => Kind::FailedPrecondition,
            Self::Conflict => Kind::Conflict,
            Self::Damaged { .. } => Kind::DataLoss,
            Self::Internal { .. } => Kind::Internal,
            Self::Storage(inner) => inner.kind(),
        }
    }
}

impl std::fmt::Display for AuthMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::On => "on",
        })
    }
}

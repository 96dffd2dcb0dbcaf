//! What can be wrong with a definition.
use crate::base::{Classify, Kind};
use crate::storage::StorageError;

#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// `line`/`column` are 1-based positions in the statement's text.
    #[error("syntax error at line {line}, column {column}: {message}")]
    Syntax { line: u64, column: u64, message: String },
    #[error("line {line}, column {column}: {message}")]
    BadDefinition { line: u64, column: u64, message: String },
    #[error("{kind} '{name}' not found{suggestion}")]
    NotFound { kind: String, name: String, suggestion: String },
    #[error("{kind} '{name}' exists already; use CREATE OR REPLACE, or IF NOT EXISTS")]
    Exists { kind: String, name: String },
    #[error("cannot drop '{name}': read by {readers}; drop those first or use CASCADE", readers = readers.join(", "))]
    InUse { name: String, readers: Vec<String> },
    #[error("definitions form a cycle: {}", cycle.join(" -> "))]
    Cycle { cycle: Vec<String> },
    #[error("{message}")]
    Project { message: String },
    #[error("catalog changed while this statement ran; run it again")]
    Conflict,
    #[error("cannot read or write the catalog")]
    Storage(#[from] StorageError),
}

impl Classify for CatalogError {
    fn kind(&self) -> Kind {
        match self {
            Self::Syntax { .. } | Self::BadDefinition { .. } | Self::Cycle { .. } | Self::Project { .. } => {
                Kind::InvalidArgument
            }
            Self::NotFound { .. } => Kind::NotFound,
            Self::Exists { .. } => Kind::AlreadyExists,
            Self::InUse { .. } => Kind::FailedPrecondition,
            Self::Conflict => Kind::Conflict,
            Self::Storage(inner) => inner.kind(),
        }
    }
}

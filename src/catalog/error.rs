//! What can be wrong with a definition, a statement, a project folder or the stored catalog.

use crate::base::{Classify, Kind};
use crate::storage::StorageError;

/// Every error of `catalog`. `line` and `column` are 1-based positions in the statement's text (columns count characters).
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The text is not SQL as we know it.
    #[error("syntax error at line {line}, column {column}: {message}")]
    Syntax { line: u64, column: u64, message: String },
    /// The text is SQL, but what it asks for is wrong: unknown option, column or type, impossible combination.
    #[error("line {line}, column {column}: {message}")]
    BadDefinition { line: u64, column: u64, message: String },
    /// A statement or option that is known and not supported (yet).
    #[error("line {line}, column {column}: {message}")]
    Unimplemented { line: u64, column: u64, message: String },
    #[error("{kind} '{name}' not found{suggestion}")]
    NotFound { kind: String, name: String, suggestion: String },
    #[error("{kind} '{name}' exists already; use CREATE OR REPLACE, or IF NOT EXISTS")]
    Exists { kind: String, name: String },
    #[error("cannot drop '{name}': read by {readers}; drop those first or use CASCADE", readers = readers.join(", "))]
    InUse { name: String, readers: Vec<String> },
    /// The cycle starts and ends with the same name.
    #[error("definitions form a cycle: {}", cycle.join(" -> "))]
    Cycle { cycle: Vec<String> },
    /// A file or folder of definitions is wrong; the message starts with its path, line and column.
    #[error("{message}")]
    Project { message: String },
    /// The definition is right, but the object that exists cannot become it.
    #[error("{message}")]
    CannotChange { message: String },
    #[error("catalog changed while this statement ran; run it again")]
    Conflict,
    /// What the lake holds as catalog cannot be understood.
    #[error("cannot read the stored catalog: {message}")]
    Damaged { message: String },
    #[error("cannot read or write the catalog")]
    Storage(#[from] StorageError),
}

impl Classify for CatalogError {
    fn kind(&self) -> Kind {
        match self {
            Self::Syntax { .. } | Self::BadDefinition { .. } | Self::Cycle { .. } | Self::Project { .. } => {
                Kind::InvalidArgument
            }
            Self::Unimplemented { .. } => Kind::Unimplemented,
            Self::NotFound { .. } => Kind::NotFound,
            Self::Exists { .. } => Kind::AlreadyExists,
            Self::InUse { .. } | Self::CannotChange { .. } => Kind::FailedPrecondition,
            Self::Conflict => Kind::Conflict,
            Self::Damaged { .. } => Kind::DataLoss,
            Self::Storage(inner) => inner.kind(),
        }
    }
}

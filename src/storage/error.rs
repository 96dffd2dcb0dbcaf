//! What can go wrong with bytes.

use super::table::TableVersion;
use crate::base::{Classify, Kind};

#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("'{location}' is not a lake location: {reason}")]
    BadLocation { location: String, reason: String },
    #[error("table files at '{path}' not found")]
    TableNotFound { path: String },
    #[error("table files at '{path}' exist already")]
    TableExists { path: String },
    /// Somebody else committed between our read and our commit.
    #[error("table '{table}' moved from version {expected} to {current} while we were writing")]
    VersionMoved { table: String, expected: TableVersion, current: TableVersion },
    #[error("document '{name}' was changed by somebody else")]
    DocumentConflict { name: String },
    #[error("{message}")]
    Invalid { message: String },
    #[error("file '{path}' not found")]
    FileNotFound { path: String },
    #[error("cannot {action}")]
    Delta {
        action: String,
        #[source]
        source: Box<deltalake_core::DeltaTableError>,
    },
    #[error("cannot {action}")]
    Store {
        action: String,
        #[source]
        source: object_store::Error,
    },
    #[error("cannot {action}")]
    Engine {
        action: String,
        #[source]
        source: Box<datafusion::error::DataFusionError>,
    },
    #[error("cannot {action}")]
    Io {
        action: String,
        #[source]
        source: std::io::Error,
    },
    #[error("stored data is damaged: {message}")]
    Damaged { message: String },
}

impl Classify for StorageError {
    fn kind(&self) -> Kind {
        match self {
            Self::BadLocation { .. } | Self::Invalid { .. } => Kind::InvalidArgument,
            Self::TableNotFound { .. } | Self::FileNotFound { .. } => Kind::NotFound,
            Self::TableExists { .. } => Kind::AlreadyExists,
            Self::VersionMoved { .. } | Self::DocumentConflict { .. } => Kind::Conflict,
            Self::Delta { .. } | Self::Store { .. } | Self::Io { .. } | Self::Engine { .. } => Kind::Unavailable,
            Self::Damaged { .. } => Kind::DataLoss,
        }
    }
}

//! What can go wrong with bytes.
//!
//! Causes a person can act on (disk full, permission, bad credentials) are recognised once, here, wherever in a chain of
//! library errors they hide: build store errors with [`StorageError::store`], engine errors with [`StorageError::engine`].

use std::error::Error;
use std::io;

use datafusion::error::DataFusionError;

use super::read_only::ReadOnly;
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
    /// Files that were to be replaced are in the table no more: compacted, replaced or expired by somebody else.
    #[error(
        "files of table '{table}' were rewritten by others (it is at version {current}) while we were replacing them"
    )]
    FilesGone { table: String, current: TableVersion },
    /// Another process owns the table's writing by now.
    #[error("table '{table}' was taken over by another process while this one was writing; send it there")]
    Fenced { table: String },
    /// The answer to the commit was lost, and whether it happened could not be read back.
    #[error(
        "cannot tell whether version {version} of table '{table}' was committed; sending the same again is safe when it \
         is idempotent"
    )]
    CommitUnknown {
        table: String,
        version: TableVersion,
        #[source]
        source: Box<StorageError>,
    },
    /// Other writers won every race we ran.
    #[error("table '{table}' is being written by others faster than this commit gets through; try again")]
    Crowded { table: String },
    #[error("document '{name}' was changed by somebody else")]
    DocumentConflict { name: String },
    #[error("{action} was cancelled")]
    Cancelled { action: String },
    #[error("{message}")]
    Invalid { message: String },
    #[error("file '{path}' not found")]
    FileNotFound { path: String },
    /// Says the same whether it exists or not.
    #[error(
        "'{place}' is in none of the places that a server reads files from (query.allowed_locations); send the rows, or run \
         `adlake load` where the file is"
    )]
    OutOfReach { place: String },
    /// The text is for clients too: what was being written is in the log.
    #[error("the disk is full; free some space and try again")]
    DiskFull,
    #[error("cannot {action}: permission denied; check who owns the files, or the access keys")]
    Denied { action: String },
    #[error("this server is read-only; write at {write_at}")]
    ReadOnly { write_at: String },
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
        source: Box<DataFusionError>,
    },
    #[error("cannot {action}")]
    Io {
        action: String,
        #[source]
        source: io::Error,
    },
    #[error("stored data is damaged: {message}")]
    Damaged { message: String },
}

impl StorageError {
    /// An object store's refusal to `action` ("read 'x'").
    pub(crate) fn store(action: impl Into<String>, source: object_store::Error) -> Self {
        let action = action.into();
        let denied = matches!(
            source,
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }
        );
        match Self::recognised(&action, &source) {
            Some(known) => known,
            None if denied => Self::Denied { action },
            None => Self::Store { action, source },
        }
    }

    /// The file system's refusal to `action`.
    pub(crate) fn io(action: impl Into<String>, source: io::Error) -> Self {
        let action = action.into();
        Self::recognised(&action, &source).unwrap_or(Self::Io { action, source })
    }

    /// The engine's failure to `action`. A storage error that travelled through the engine comes out as itself.
    pub(crate) fn engine(action: impl Into<String>, source: DataFusionError) -> Self {
        let action = action.into();
        if let Some(known) = Self::recognised(&action, &source) {
            return known;
        }
        match source {
            DataFusionError::External(inner) => match inner.downcast::<StorageError>() {
                Ok(ours) => *ours,
                Err(other) => Self::Engine { action, source: Box::new(DataFusionError::External(other)) },
            },
            other => Self::Engine { action, source: Box::new(other) },
        }
    }

    /// delta-rs's failure to `action`.
    pub(crate) fn delta(action: impl Into<String>, source: deltalake_core::DeltaTableError) -> Self {
        let action = action.into();
        match Self::recognised(&action, &source) {
            Some(known) => known,
            None => Self::Delta { action, source: Box::new(source) },
        }
    }

    fn recognised(action: &str, source: &(dyn Error + 'static)) -> Option<Self> {
        let action = action.to_owned();
        Some(match cause(source)? {
            Cause::Full => {
                tracing::warn!(action, "the disk is full");
                Self::DiskFull
            }
            Cause::Denied => Self::Denied { action },
            Cause::ReadOnly(reason) => Self::ReadOnly { write_at: reason.write_at.to_string() },
        })
    }
}

enum Cause {
    Full,
    Denied,
    ReadOnly(ReadOnly),
}

/// The reason at the bottom of a chain of errors, when it is one a person can act on.
fn cause(error: &(dyn Error + 'static)) -> Option<Cause> {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(reason) = current.downcast_ref::<ReadOnly>() {
            return Some(Cause::ReadOnly(reason.clone()));
        }
        if let Some(io_error) = current.downcast_ref::<io::Error>() {
            match io_error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => return Some(Cause::Full),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => return Some(Cause::Denied),
                _ => {}
            }
            // `io::Error::source` skips the error it wraps; look at that one as well.
            if let Some(inner) = io_error.get_ref() {
                next = Some(inner);
                continue;
            }
        }
        next = current.source();
    }
    None
}

fn engine_kind(error: &DataFusionError) -> Kind {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => Kind::ResourceExhausted,
        DataFusionError::ArrowError(..) | DataFusionError::Execution(_) | DataFusionError::Plan(_) => {
            Kind::InvalidArgument
        }
        DataFusionError::NotImplemented(_) => Kind::Unimplemented,
        DataFusionError::Internal(_) => Kind::Internal,
        _ => Kind::Unavailable,
    }
}

impl Classify for StorageError {
    fn kind(&self) -> Kind {
        match self {
            Self::BadLocation { .. } | Self::Invalid { .. } => Kind::InvalidArgument,
            Self::TableNotFound { .. } | Self::FileNotFound { .. } => Kind::NotFound,
            Self::TableExists { .. } => Kind::AlreadyExists,
            Self::VersionMoved { .. }
            | Self::FilesGone { .. }
            | Self::DocumentConflict { .. }
            | Self::Crowded { .. } => Kind::Conflict,
            Self::Fenced { .. } => Kind::Unavailable,
            Self::Denied { .. } | Self::OutOfReach { .. } => Kind::PermissionDenied,
            Self::ReadOnly { .. } => Kind::FailedPrecondition,
            Self::Delta { .. } | Self::Store { .. } | Self::Io { .. } | Self::CommitUnknown { .. } => Kind::Unavailable,
            // Not a limit of ours that a smaller or slower client keeps to.
            Self::DiskFull => Kind::Unavailable,
            Self::Engine { source, .. } => engine_kind(source),
            Self::Cancelled { .. } => Kind::Cancelled,
            Self::Damaged { .. } => Kind::DataLoss,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_full_is_found_at_the_bottom_of_the_chain() {
        let bottom = io::Error::from(io::ErrorKind::StorageFull);
        let store = object_store::Error::Generic { store: "LocalFileSystem", source: Box::new(bottom) };
        let error = StorageError::store("write 'part-1'", store);
        assert_eq!(error.kind(), Kind::Unavailable);
        assert_eq!(error.to_string(), "the disk is full; free some space and try again");

        let wrapped = io::Error::other(io::Error::from(io::ErrorKind::StorageFull));
        let error = StorageError::engine("sort rows", DataFusionError::IoError(wrapped));
        assert_eq!(error.kind(), Kind::Unavailable);
    }

    #[test]
    fn our_errors_survive_the_engine() {
        let ours = StorageError::FileNotFound { path: "x".to_owned() };
        let error = StorageError::engine("sort rows", DataFusionError::External(Box::new(ours)));
        assert_eq!(error.kind(), Kind::NotFound);
    }
}

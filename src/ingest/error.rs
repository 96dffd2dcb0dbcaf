//! What can go wrong with rows.

use std::sync::Arc;

use datafusion::error::DataFusionError;

use crate::base::{Classify, Kind, Span};
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
    /// `on_error='fail'`: nothing of the request was taken.
    #[error("{first}{}; nothing was accepted", more_bad_rows(*.others))]
    BadRows { first: String, others: u64 },
    #[error("{message}")]
    Exhausted { message: String },
    /// A queue is full or a rate is exceeded; nothing of the request was taken.
    #[error("{message}; try again in {retry_after}")]
    Busy { message: String, retry_after: Span },
    /// Another process owns the table's ingest. Public address: the URLs of its HTTP and of its gRPC server.
    #[error("table '{table}' takes rows at another adlake process: http {http}, grpc {grpc}")]
    NotOwner { table: String, http: String, grpc: String },
    #[error("producer '{producer}' sent sequence {sequence} after {last}: send {next} first", next = last + 1)]
    OutOfSequence { producer: String, sequence: u64, last: u64 },
    /// A repeated request whose answer is no longer known: its commit has left the log.
    #[error(
        "producer '{producer}' has reached sequence {last}; what sequence {sequence} was answered is no longer known. \
         Go on with {next}, and look in the table for the rows of {sequence}",
        next = last + 1
    )]
    Forgotten { producer: String, sequence: u64, last: u64 },
    /// The query whose rows were to be inserted.
    #[error("cannot read the rows to insert")]
    Source(#[source] Box<DataFusionError>),
    #[error("internal error: {message}")]
    Internal { message: String },
    /// The rows were on their way into the table that was there before.
    #[error("table '{table}' was dropped and made again while the rows came in; send them again")]
    Remade { table: String },
    #[error("cancelled; nothing of the file in progress was loaded")]
    Cancelled,
    /// What kept the requests of one commit from being committed.
    #[error(transparent)]
    Shared(Arc<IngestError>),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

fn more_bad_rows(others: u64) -> String {
    match others {
        0 => String::new(),
        1 => "; and 1 more bad row".to_owned(),
        more => format!("; and {more} more bad rows"),
    }
}

impl IngestError {
    /// What went wrong, whoever shared it.
    pub fn root(&self) -> &Self {
        match self {
            Self::Shared(inner) => inner.root(),
            other => other,
        }
    }
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
            Self::Invalid { .. } | Self::BadFile { .. } | Self::BadRows { .. } | Self::TooManyRejects { .. } => {
                Kind::InvalidArgument
            }
            Self::Exhausted { .. } => Kind::ResourceExhausted,
            Self::Busy { .. } => Kind::ResourceExhausted,
            Self::NotOwner { .. } => Kind::Unavailable,
            Self::OutOfSequence { .. } | Self::Forgotten { .. } => Kind::FailedPrecondition,
            Self::Cancelled => Kind::Cancelled,
            Self::Remade { .. } => Kind::Conflict,
            Self::Source(error) => source_kind(error),
            Self::Internal { .. } => Kind::Internal,
            Self::Shared(inner) => inner.kind(),
            Self::Catalog(inner) => inner.kind(),
            Self::Storage(inner) => inner.kind(),
        }
    }
}

//! The one table from [`Kind`] to HTTP status, gRPC code and SQLSTATE, and what a failure looks like at the edge.
//!
//! Every protocol answers from a [`Fault`]: the kind, the text a client may see, and the position in the statement when
//! one is known. How a fault is written on the wire is each protocol's matter.

use datafusion::error::DataFusionError;

use crate::base::{Classify, Kind};
use crate::catalog::CatalogError;
use crate::ingest::IngestError;
use crate::query::QueryError;

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    pub http: u16,
    pub grpc: tonic::Code,
    pub sqlstate: &'static str,
}

/// What each protocol answers for a kind of error.
pub fn status_of(kind: Kind) -> Status {
    use tonic::Code;
    let (http, grpc, sqlstate) = match kind {
        Kind::InvalidArgument => (400, Code::InvalidArgument, "42000"),
        Kind::NotFound => (404, Code::NotFound, "42P01"),
        Kind::AlreadyExists => (409, Code::AlreadyExists, "42P07"),
        // Not 412: that status is about the If-… headers of a request.
        Kind::FailedPrecondition => (409, Code::FailedPrecondition, "55000"),
        Kind::Conflict => (409, Code::Aborted, "40001"),
        Kind::Unauthenticated => (401, Code::Unauthenticated, "28000"),
        Kind::PermissionDenied => (403, Code::PermissionDenied, "42501"),
        Kind::ResourceExhausted => (429, Code::ResourceExhausted, "53000"),
        Kind::DeadlineExceeded => (504, Code::DeadlineExceeded, "57014"),
        Kind::Cancelled => (499, Code::Cancelled, "57014"),
        Kind::Unavailable => (503, Code::Unavailable, "57P03"),
        Kind::Unimplemented => (501, Code::Unimplemented, "0A000"),
        Kind::DataLoss => (500, Code::DataLoss, "XX001"),
        Kind::Internal => (500, Code::Internal, "XX000"),
    };
    Status { http, grpc, sqlstate }
}

/// A failure as a client may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: Kind,
    pub message: String,
    pub position: Option<Position>,
}

/// 1-based place in the text of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub line: u64,
    pub column: u64,
}

impl From<&CatalogError> for Fault {
    fn from(error: &CatalogError) -> Self {
        Self { kind: error.kind(), message: error.public_message(), position: position_of(error) }
    }
}

impl From<&QueryError> for Fault {
    fn from(error: &QueryError) -> Self {
        let position = match error {
            QueryError::Catalog(inner) => position_of(inner),
            _ => None,
        };
        Self { kind: error.kind(), message: error.public_message(), position }
    }
}

impl From<&IngestError> for Fault {
    fn from(error: &IngestError) -> Self {
        Self { kind: error.kind(), message: error.public_message(), position: None }
    }
}

/// An error met while rows were already flowing.
impl From<DataFusionError> for Fault {
    fn from(error: DataFusionError) -> Self {
        Self::from(&QueryError::from(error))
    }
}

fn position_of(error: &CatalogError) -> Option<Position> {
    match error {
        CatalogError::Syntax { line, column, .. } | CatalogError::BadDefinition { line, column, .. } => {
            Some(Position { line: *line, column: *column })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syntax_error_keeps_its_position() {
        let error = QueryError::Catalog(CatalogError::Syntax { line: 2, column: 7, message: "expected FROM".into() });
        let fault = Fault::from(&error);
        assert_eq!(fault.position, Some(Position { line: 2, column: 7 }));
        assert_eq!(status_of(fault.kind).http, 400);
    }

    #[test]
    fn an_engine_error_inside_a_stream_keeps_its_kind() {
        let inside = DataFusionError::External(Box::new(QueryError::Cancelled));
        assert_eq!(Fault::from(inside.context("while reading")).kind, Kind::Cancelled);
        let memory = DataFusionError::ResourcesExhausted("10 MB".into());
        assert_eq!(status_of(Fault::from(memory).kind).http, 429);
    }
}

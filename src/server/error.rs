//! The one table Kind → HTTP status, gRPC code, SQLSTATE.
use crate::base::Kind;

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    pub http: u16,
    pub grpc: tonic::Code,
    pub sqlstate: &'static str,
}

pub fn status_of(kind: Kind) -> Status {
    use tonic::Code;
    let (http, grpc, sqlstate) = match kind {
        Kind::InvalidArgument => (400, Code::InvalidArgument, "42000"),
        Kind::NotFound => (404, Code::NotFound, "42P01"),
        Kind::AlreadyExists => (409, Code::AlreadyExists, "42P07"),
        Kind::FailedPrecondition => (412, Code::FailedPrecondition, "55000"),
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

//! The one table from [`Kind`] to HTTP status, gRPC code and SQLSTATE, and what a failure looks like at the edge.
//!
//! Every protocol answers from a [`Fault`]: the kind, the text a client may see, and the position in the statement when
//! one is known. How a fault is written on the wire is each protocol's matter; what both gRPC protocols write is here
//! ([`Fault::into_status`]).

use datafusion::error::DataFusionError;

use bytes::Bytes;
use prost::Message;
use tonic::body::Body;
use tonic::codegen::http::Response;
use tonic::metadata::{MetadataMap, MetadataValue};

use crate::base::{Classify, Kind, Span};
use crate::catalog::CatalogError;
use crate::ingest::IngestError;
use crate::query::{CommandError, QueryError};

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
    /// Sending the same again may help after this long.
    pub retry_after: Option<Span>,
    /// Another process that would take the request.
    pub owner: Option<Owner>,
}

/// Where another adlake process listens: `http://host:port` or `https://…`, `grpc://host:port` or `grpc+tls://…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub http: String,
    pub grpc: String,
}

/// 1-based place in the text of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub line: u64,
    pub column: u64,
}

impl Fault {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), position: None, retry_after: None, owner: None }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidArgument, message)
    }

    /// What both gRPC protocols answer: code and message; in the metadata `sqlstate`, `error-kind`, `retry-after-ms` and
    /// `adlake-owner`; `google.rpc.RetryInfo` in the details.
    pub fn into_status(self) -> tonic::Status {
        let row = status_of(self.kind);
        let mut metadata = MetadataMap::new();
        metadata.insert("sqlstate", MetadataValue::from_static(row.sqlstate));
        metadata.insert("error-kind", MetadataValue::from_static(self.kind.as_str()));
        if let Some(owner) = self.owner.and_then(|owner| MetadataValue::try_from(owner.grpc).ok()) {
            metadata.insert("adlake-owner", owner);
        }
        let message = shortened(self.message);
        let Some(span) = self.retry_after else {
            return tonic::Status::with_metadata(row.grpc, message, metadata);
        };
        let millis = u64::try_from(span.duration().as_millis()).unwrap_or(u64::MAX);
        metadata.insert("retry-after-ms", MetadataValue::from(millis));
        let details = retry_info(row.grpc, &message, span);
        tonic::Status::with_details_and_metadata(row.grpc, message, details, metadata)
    }
}

/// Tonic says OUT_OF_RANGE of a message over the limit; a limit is RESOURCE_EXHAUSTED here as everywhere.
pub fn too_large_message(status: tonic::Status) -> tonic::Status {
    match status.code() {
        tonic::Code::OutOfRange => {
            let message = format!("{} (flight.max_message_size); send smaller batches", status.message());
            Fault::new(Kind::ResourceExhausted, message).into_status()
        }
        _ => status,
    }
}

/// The same for a call that tonic has refused before any service saw it.
pub fn too_large_call(response: Response<Body>) -> Response<Body> {
    match tonic::Status::from_header_map(response.headers()) {
        Some(status) if status.code() == tonic::Code::OutOfRange => too_large_message(status).into_http(),
        _ => response,
    }
}

/// Longest message of a gRPC status: it travels in a header, percent-encoded, and Java clients take 8 KiB of headers.
const MESSAGE_BYTES_MAX: usize = 2_000;

fn shortened(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        let mut end = MESSAGE_BYTES_MAX;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push('…');
    }
    message
}

/// `google.rpc.Status` (google/rpc/status.proto).
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<RpcAny>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct RpcAny {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo` (google/rpc/error_details.proto).
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<RpcDuration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct RpcDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// What gRPC clients with a retry policy look for.
fn retry_info(code: tonic::Code, message: &str, after: Span) -> Bytes {
    let after = after.duration();
    let seconds = i64::try_from(after.as_secs()).unwrap_or(i64::MAX);
    let nanos = i32::try_from(after.subsec_nanos()).unwrap_or_default();
    let info = RetryInfo { retry_delay: Some(RpcDuration { seconds, nanos }) };
    let type_url = "type.googleapis.com/google.rpc.RetryInfo".to_owned();
    let details = vec![RpcAny { type_url, value: info.encode_to_vec() }];
    RpcStatus { code: code as i32, message: message.to_owned(), details }.encode_to_vec().into()
}

impl From<&CatalogError> for Fault {
    fn from(error: &CatalogError) -> Self {
        Self { position: position_of(error), ..Self::new(error.kind(), error.public_message()) }
    }
}

impl From<&QueryError> for Fault {
    fn from(error: &QueryError) -> Self {
        let fault = Self::new(error.kind(), error.public_message());
        match error {
            QueryError::Catalog(inner) => Self { position: position_of(inner), ..fault },
            QueryError::Command(CommandError { retry_after, owner, .. }) => {
                let owner = owner.clone().map(|(http, grpc)| Owner { http, grpc });
                Self { retry_after: *retry_after, owner, ..fault }
            }
            _ => fault,
        }
    }
}

impl From<&IngestError> for Fault {
    fn from(error: &IngestError) -> Self {
        let fault = Self::new(error.kind(), error.public_message());
        match error.root() {
            IngestError::Busy { retry_after, .. } => Self { retry_after: Some(*retry_after), ..fault },
            IngestError::NotOwner { http, grpc, .. } => {
                Self { owner: Some(Owner { http: http.clone(), grpc: grpc.clone() }), ..fault }
            }
            _ => fault,
        }
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

    #[test]
    fn a_busy_server_says_when_to_come_again() {
        let busy = IngestError::Busy { message: "queue full".into(), retry_after: Span::from_millis(1_500) };
        let status = Fault::from(&busy).into_status();
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert_eq!(status.metadata().get("retry-after-ms").unwrap(), "1500");
        let details = RpcStatus::decode(status.details()).unwrap();
        let info = RetryInfo::decode(&details.details[0].value[..]).unwrap();
        assert_eq!(info.retry_delay, Some(RpcDuration { seconds: 1, nanos: 500_000_000 }));
    }

    #[test]
    fn a_message_over_the_limit_is_told_as_a_limit() {
        let refused = tonic::Status::out_of_range("message length too large: found 9 bytes, the limit is: 8 bytes");
        let told = too_large_call(refused.into_http());
        let status = tonic::Status::from_header_map(told.headers()).unwrap();
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert!(status.message().contains("the limit is: 8 bytes (flight.max_message_size)"), "{status}");
        let other = too_large_call(tonic::Status::not_found("x").into_http());
        assert_eq!(tonic::Status::from_header_map(other.headers()).unwrap().code(), tonic::Code::NotFound);
    }

    #[test]
    fn another_owner_is_named() {
        let elsewhere =
            IngestError::NotOwner { table: "t".into(), http: "http://h:1".into(), grpc: "grpc://h:2".into() };
        let status = Fault::from(&elsewhere).into_status();
        assert_eq!(status.code(), tonic::Code::Unavailable);
        assert_eq!(status.metadata().get("adlake-owner").unwrap(), "grpc://h:2");
    }

    #[test]
    fn long_messages_fit_the_headers_of_java_clients() {
        let status = Fault::invalid("é".repeat(5_000)).into_status();
        assert!(status.message().len() <= MESSAGE_BYTES_MAX + '…'.len_utf8());
    }
}

//! Our errors as gRPC statuses, by the one table in `server/error.rs`.
//!
//! The message carries position and suggestion, as every protocol's does; the SQLSTATE and the kind go beside it in the
//! metadata keys `sqlstate` and `error-kind`.

use crate::base::{Classify, Kind};
use crate::query::QueryError;
use crate::server::error::status_of;
use arrow::error::ArrowError;
use arrow_flight::error::FlightError;
use datafusion::error::DataFusionError;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

/// Longest message sent: it travels in a header, percent-encoded, and Java clients take 8 KiB of headers.
const MESSAGE_BYTES_MAX: usize = 2_000;

/// A status of `kind` with a sentence for the user.
pub(super) fn status(kind: Kind, message: impl Into<String>) -> Status {
    let row = status_of(kind);
    let mut metadata = MetadataMap::new();
    metadata.insert("sqlstate", MetadataValue::from_static(row.sqlstate));
    metadata.insert("error-kind", MetadataValue::from_static(kind.as_str()));
    Status::with_metadata(row.grpc, shortened(message.into()), metadata)
}

/// Any module's error as it reaches the client.
pub(super) fn classified(error: &(impl Classify + 'static)) -> Status {
    let kind = error.kind();
    let message = error.public_message();
    if kind == Kind::Internal || kind == Kind::DataLoss {
        tracing::error!(%kind, %message, "statement failed");
    }
    status(kind, message)
}

pub(super) fn invalid(message: impl Into<String>) -> Status {
    status(Kind::InvalidArgument, message)
}

pub(super) fn unimplemented(message: impl Into<String>) -> Status {
    status(Kind::Unimplemented, message)
}

pub(super) fn internal(message: impl Into<String>) -> Status {
    let message = message.into();
    tracing::error!(%message, "flight sql");
    status(Kind::Internal, message)
}

pub(super) fn cancelled() -> Status {
    classified(&QueryError::Cancelled)
}

/// An error met while streaming a result: a status of ours as it was, anything else by the engine's table.
pub(super) fn from_stream(error: DataFusionError) -> Status {
    let ours = match error.find_root() {
        DataFusionError::External(inner) => inner.downcast_ref::<Status>().cloned(),
        _ => None,
    };
    ours.unwrap_or_else(|| classified(&QueryError::from(error)))
}

/// An error of bringing rows to the schema promised.
pub(super) fn from_arrow(error: ArrowError) -> Status {
    match error {
        ArrowError::SchemaError(message) => {
            let message = format!("a table changed after this statement was planned: {message}; run it again");
            status(Kind::FailedPrecondition, message)
        }
        other => from_stream(other.into()),
    }
}

/// An error while reading what the client sent.
pub(super) fn from_client_stream(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) if status.code() == Code::OutOfRange => status_too_large(&status),
        FlightError::Tonic(status) => *status,
        other => invalid(format!("cannot read the Arrow data sent: {other}")),
    }
}

fn status_too_large(status: &Status) -> Status {
    self::status(Kind::ResourceExhausted, format!("{}; send smaller batches", status.message()))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_carries_code_message_and_sqlstate() {
        let status = classified(&QueryError::NotFound { message: "table 'x' not found".to_owned() });
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(status.message(), "table 'x' not found");
        assert_eq!(status.metadata().get("sqlstate").and_then(|v| v.to_str().ok()), Some("42P01"));
    }

    #[test]
    fn long_messages_fit_the_headers_of_java_clients() {
        let status = invalid("é".repeat(5_000));
        assert!(status.message().len() <= MESSAGE_BYTES_MAX + '…'.len_utf8());
    }

    #[test]
    fn an_error_of_the_engine_keeps_its_kind_through_a_stream() {
        let inside = DataFusionError::External(Box::new(QueryError::Cancelled)).context("while sorting");
        assert_eq!(from_stream(inside).code(), Code::Cancelled);
    }
}

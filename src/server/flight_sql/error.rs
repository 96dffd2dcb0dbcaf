//! Our errors as gRPC statuses, by the one table in `server/error.rs`, written as [`Fault::into_status`] says.
//!
//! The message carries position and suggestion, as every protocol's does.

use crate::base::Kind;
use crate::query::QueryError;
use crate::server::error::{Fault, too_large_message};
use arrow::error::ArrowError;
use arrow_flight::error::FlightError;
use datafusion::error::DataFusionError;
use tonic::Status;

/// A status of `kind` with a sentence for the user.
pub(super) fn status(kind: Kind, message: impl Into<String>) -> Status {
    Fault::new(kind, message).into_status()
}

/// Any module's error as it reaches the client.
pub(super) fn classified<E>(error: &E) -> Status
where
    for<'e> Fault: From<&'e E>,
{
    let fault = Fault::from(error);
    if fault.kind == Kind::Internal || fault.kind == Kind::DataLoss {
        tracing::error!(kind = %fault.kind, message = %fault.message, "statement failed");
    }
    fault.into_status()
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
        FlightError::Tonic(status) => too_large_message(*status),
        other => invalid(format!("cannot read the Arrow data sent: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    #[test]
    fn a_status_carries_code_message_and_sqlstate() {
        let status = classified(&QueryError::NotFound { message: "table 'x' not found".to_owned() });
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(status.message(), "table 'x' not found");
        assert_eq!(status.metadata().get("sqlstate").and_then(|v| v.to_str().ok()), Some("42P01"));
    }

    #[test]
    fn an_error_of_the_engine_keeps_its_kind_through_a_stream() {
        let inside = DataFusionError::External(Box::new(QueryError::Cancelled)).context("while sorting");
        assert_eq!(from_stream(inside).code(), Code::Cancelled);
    }
}

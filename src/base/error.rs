//! How errors are told apart at the edge: every module's error classifies once into a [`Kind`].
//!
//! The table Kind → HTTP status, gRPC code and SQLSTATE is `server/error.rs`; nothing below the edge knows a protocol.

use std::error::Error;
use std::fmt;

/// What a caller can do about an error. One word for one reaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is wrong and stays wrong: bad SQL, bad value, unknown option.
    InvalidArgument,
    /// A named thing does not exist.
    NotFound,
    /// A named thing exists already.
    AlreadyExists,
    /// The request is right, but not in the present state (others depend on it, wrong kind of object).
    FailedPrecondition,
    /// Somebody else changed the same thing first; reading again and retrying may help.
    Conflict,
    /// Who are you? (no or wrong credentials)
    Unauthenticated,
    /// You may not.
    PermissionDenied,
    /// A limit was reached: queue, memory, size, rate. Later or smaller may work.
    ResourceExhausted,
    /// The time allowed ran out.
    DeadlineExceeded,
    /// The caller, or an operator, cancelled.
    Cancelled,
    /// Not reachable or shutting down; retrying elsewhere or later may help.
    Unavailable,
    /// Known and deliberately not supported.
    Unimplemented,
    /// Stored data is damaged or missing.
    DataLoss,
    /// A bug of ours.
    Internal,
}

impl Kind {
    /// Stable lower-case name, used in JSON, metrics and `system.queries`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::InvalidArgument => "invalid_argument",
            Kind::NotFound => "not_found",
            Kind::AlreadyExists => "already_exists",
            Kind::FailedPrecondition => "failed_precondition",
            Kind::Conflict => "conflict",
            Kind::Unauthenticated => "unauthenticated",
            Kind::PermissionDenied => "permission_denied",
            Kind::ResourceExhausted => "resource_exhausted",
            Kind::DeadlineExceeded => "deadline_exceeded",
            Kind::Cancelled => "cancelled",
            Kind::Unavailable => "unavailable",
            Kind::Unimplemented => "unimplemented",
            Kind::DataLoss => "data_loss",
            Kind::Internal => "internal",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Implemented by every module's error enum.
pub trait Classify: Error {
    fn kind(&self) -> Kind;

    /// The text a client may see: the message and its causes, joined by `: `. Never a path outside the lake, a key
    /// or another tenant's name; an enum whose messages carry one overrides this.
    fn public_message(&self) -> String
    where
        Self: Sized + 'static,
    {
        chain(self)
    }
}

/// An error and its causes on one line, without repeating a cause whose text its parent already shows.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

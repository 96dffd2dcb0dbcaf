//! What the audit is told by the edge: rows that callers put in, over every protocol, and calls that did not get past the gate.
//! Statements are told by `query`.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use super::gate::{Caller, Gate};
use crate::auth::{AuditEntry, AuditLog, AuthError, Authenticator, Decision};
use crate::base::{Kind, Stopwatch, Timestamp};

/// The kind of a request that puts rows in.
const APPEND: &str = "append";

/// A request of a caller to put rows in, while it is worked on. Cheap to clone; its end is told once.
#[derive(Clone, Default)]
pub struct Noted(Option<Arc<Request>>);

struct Request {
    log: Arc<AuditLog>,
    entry: AuditEntry,
    table: OnceLock<String>,
    stopwatch: Stopwatch,
}

impl Noted {
    /// Nothing is told of anybody's requests while authentication or the audit is off.
    pub fn begin(gate: &Gate, caller: &Caller, address: Option<IpAddr>, protocol: &'static str) -> Self {
        let log = gate.authenticator().and_then(|authenticator| authenticator.audit());
        let (Some(log), Some(identity)) = (log, &caller.0) else { return Self::default() };
        let entry = AuditEntry { address, ..AuditEntry::of_caller(identity, log.clock().now(), protocol, APPEND) };
        let request = Request { log: log.clone(), entry, table: OnceLock::new(), stopwatch: Stopwatch::start() };
        Self(Some(Arc::new(request)))
    }

    /// Which table it is for, as soon as that is known.
    pub fn about(&self, table: &str) {
        if let Some(request) = &self.0 {
            // The first name stays.
            let _set = request.table.set(table.to_owned());
        }
    }

    /// The request has ended: so many rows are in, or it failed. A table that is not there, or not for the caller, is denied.
    pub fn ended(&self, outcome: Result<u64, Kind>) {
        let Some(request) = &self.0 else { return };
        let error = outcome.err();
        request.log.record(AuditEntry {
            objects: request.table.get().cloned().into_iter().collect(),
            decision: Some(Decision::of(error, true)),
            error_kind: error.map(Kind::as_str),
            rows: outcome.ok(),
            elapsed: request.stopwatch.elapsed(),
            ..request.entry.clone()
        });
    }
}

/// A caller named an endpoint they may not call, and was told that there is none.
pub fn call_denied(gate: &Gate, caller: &Caller, address: Option<IpAddr>, endpoint: &str) {
    let log = gate.authenticator().and_then(|authenticator| authenticator.audit());
    let (Some(log), Some(identity)) = (log, &caller.0) else { return };
    let entry = AuditEntry::of_caller(identity, log.clock().now(), "endpoint", "call");
    log.record(AuditEntry {
        address,
        objects: vec![endpoint.to_owned()],
        decision: Some(Decision::Denied),
        error_kind: Some(Kind::NotFound.as_str()),
        ..entry
    });
}

/// A call did not get past the gate. Of its credential only the name is told, and only that of a user there is.
pub fn refused(
    authenticator: &Authenticator,
    (user, address): (Option<String>, Option<IpAddr>),
    protocol: &'static str,
    error: &AuthError,
) {
    let Some(log) = authenticator.audit() else { return };
    let user = user.filter(|user| authenticator.directory().snapshot().users.contains_key(user));
    let entry = AuditEntry::of_stranger(log.clock().now(), protocol, user, reason(error));
    log.record(AuditEntry { address, ..entry });
}

/// A caller who was let in before was not let in again.
pub fn refused_again(
    authenticator: &Authenticator,
    caller: &Caller,
    (address, protocol): (Option<IpAddr>, &'static str),
    error: &AuthError,
) {
    let (Some(log), Some(identity)) = (authenticator.audit(), &caller.0) else { return };
    let now: Timestamp = log.clock().now();
    let entry = AuditEntry::of_stranger(now, protocol, Some(identity.user.clone()), reason(error));
    let (token, is_external) = (identity.token.clone(), identity.external.is_some());
    log.record(AuditEntry { address, token, is_external, ..entry });
}

fn reason(error: &AuthError) -> &'static str {
    match error {
        AuthError::NoCredential => "no_credential",
        AuthError::BadCredential => "bad_credential",
        AuthError::Throttled { .. } => "throttled",
        AuthError::TooOften { .. } => "too_often",
        AuthError::Denied { .. }
        | AuthError::Invalid { .. }
        | AuthError::NotFound { .. }
        | AuthError::Exists { .. }
        | AuthError::InUse { .. }
        | AuthError::Conflict
        | AuthError::Damaged { .. }
        | AuthError::Internal { .. }
        | AuthError::Storage(_) => "internal",
    }
}

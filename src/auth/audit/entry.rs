//! One row of the audit, and its columns.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

use crate::auth::Identity;
use crate::base::{Kind, Timestamp};

/// Folder of the table below `tables/`; no user's table can have this name.
pub const AUDIT_PATH: &str = "_audit";
/// The column whose days are its partitions.
pub(super) const STARTED_AT: &str = "started_at";
/// Refused proofs of who somebody is.
pub(super) const SIGN_IN: &str = "sign in";
const LOST: &str = "lost";

/// Whether the caller had what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Allowed,
    /// Refused for want of a right, or beyond the caller's limits.
    Denied,
}

impl Decision {
    fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
        }
    }

    /// By how it ended; what is `hidden` from the caller was answered like what does not exist.
    pub fn of(error: Option<Kind>, hidden: bool) -> Self {
        match error {
            Some(Kind::PermissionDenied | Kind::Unauthenticated) => Self::Denied,
            Some(Kind::NotFound) if hidden => Self::Denied,
            _ => Self::Allowed,
        }
    }
}

/// One statement or request of a caller, at its end.
#[derive(Clone, Debug)]
pub struct AuditEntry {
    pub started_at: Timestamp,
    /// None: nobody has been proved to be there, and there is no user of the name given.
    pub user: Option<String>,
    pub token: Option<String>,
    /// The user is one by the word of an identity provider.
    pub is_external: bool,
    pub address: Option<IpAddr>,
    pub protocol: &'static str,
    /// What kind of statement or request: `query`, `insert`, `append`, `sign in` …
    pub action: &'static str,
    /// Tables, views, endpoints it names.
    pub objects: Vec<String>,
    /// None of rows that tell of lost ones.
    pub decision: Option<Decision>,
    /// Why it failed, or was refused.
    pub error_kind: Option<&'static str>,
    pub rows: Option<u64>,
    pub elapsed: Duration,
    pub statement: Option<String>,
    /// Of `system.queries`.
    pub query_id: Option<String>,
}

impl AuditEntry {
    /// Of something that `identity` asked for, which took no time yet.
    pub fn of_caller(identity: &Identity, started_at: Timestamp, protocol: &'static str, action: &'static str) -> Self {
        Self {
            user: Some(identity.user.clone()),
            token: identity.token.clone(),
            is_external: identity.external.is_some(),
            ..Self::of_nobody(started_at, protocol, action)
        }
    }

    /// Of a refused sign-in. `user` is the name given, where there is such a user: others may be passwords in the wrong field.
    pub fn of_stranger(
        started_at: Timestamp,
        protocol: &'static str,
        user: Option<String>,
        reason: &'static str,
    ) -> Self {
        let decision = Some(Decision::Denied);
        Self { user, decision, error_kind: Some(reason), ..Self::of_nobody(started_at, protocol, SIGN_IN) }
    }

    /// So many entries found no room.
    pub(super) fn of_lost(at: Timestamp, count: u64) -> Self {
        Self { rows: Some(count), decision: None, ..Self::of_nobody(at, "audit", LOST) }
    }

    fn of_nobody(started_at: Timestamp, protocol: &'static str, action: &'static str) -> Self {
        Self {
            started_at,
            user: None,
            token: None,
            is_external: false,
            address: None,
            protocol,
            action,
            objects: Vec::new(),
            decision: Some(Decision::Allowed),
            error_kind: None,
            rows: None,
            elapsed: Duration::ZERO,
            statement: None,
            query_id: None,
        }
    }

    pub(super) fn decision_text(&self) -> Option<&'static str> {
        self.decision.map(Decision::as_str)
    }

    pub(super) fn objects_text(&self) -> Option<String> {
        (!self.objects.is_empty()).then(|| self.objects.join(", "))
    }
}

/// Columns of the table and of `system.audit`.
pub fn audit_columns() -> SchemaRef {
    let field = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        Field::new(STARTED_AT, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        field("user_name", DataType::Utf8),
        field("token_id", DataType::Utf8),
        field("is_external", DataType::Boolean),
        field("address", DataType::Utf8),
        field("protocol", DataType::Utf8),
        field("action", DataType::Utf8),
        field("objects", DataType::Utf8),
        field("decision", DataType::Utf8),
        field("error_kind", DataType::Utf8),
        field("rows", DataType::Int64),
        field("elapsed_ms", DataType::Int64),
        field("statement", DataType::Utf8),
        field("query_id", DataType::Utf8),
    ]))
}

/// Rows of [`audit_columns`].
///
/// # Errors
/// None that can be named: the columns are as they are declared.
pub(super) fn batch(all: &[AuditEntry]) -> Result<RecordBatch, ArrowError> {
    let text =
        |pick: fn(&AuditEntry) -> Option<&str>| -> ArrayRef { Arc::new(all.iter().map(pick).collect::<StringArray>()) };
    let owned = |pick: fn(&AuditEntry) -> Option<String>| -> ArrayRef {
        Arc::new(all.iter().map(pick).collect::<StringArray>())
    };
    let number = |pick: fn(&AuditEntry) -> Option<u64>| -> ArrayRef {
        let values = all.iter().map(|one| pick(one).and_then(|value| i64::try_from(value).ok()));
        Arc::new(values.collect::<Int64Array>())
    };
    let started: TimestampMicrosecondArray = all.iter().map(|one| Some(one.started_at.micros())).collect();
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(started.with_timezone("UTC")),
        text(|one| one.user.as_deref()),
        text(|one| one.token.as_deref()),
        Arc::new(all.iter().map(|one| Some(one.is_external)).collect::<BooleanArray>()),
        owned(|one| one.address.map(|address| address.to_string())),
        text(|one| Some(one.protocol)),
        text(|one| Some(one.action)),
        owned(AuditEntry::objects_text),
        text(AuditEntry::decision_text),
        text(|one| one.error_kind),
        number(|one| one.rows),
        number(|one| u64::try_from(one.elapsed.as_millis()).ok()),
        text(|one| one.statement.as_deref()),
        text(|one| one.query_id.as_deref()),
    ];
    RecordBatch::try_new(audit_columns(), arrays)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_is_denied_and_what_fails_is_not() {
        for (error, hidden, decision) in [
            (None, false, Decision::Allowed),
            (Some(Kind::InvalidArgument), true, Decision::Allowed),
            (Some(Kind::NotFound), false, Decision::Allowed),
            (Some(Kind::NotFound), true, Decision::Denied),
            (Some(Kind::PermissionDenied), false, Decision::Denied),
            (Some(Kind::Unauthenticated), false, Decision::Denied),
        ] {
            assert_eq!(Decision::of(error, hidden), decision, "{error:?} {hidden}");
        }
    }

    #[test]
    fn entries_are_rows() {
        let identity = Identity { token: Some("t1".into()), ..Identity::of_user("ann") };
        let mut entry = AuditEntry::of_caller(&identity, Timestamp(5), "http", "query");
        entry.objects = vec!["a".into(), "b".into()];
        let lost = AuditEntry::of_lost(Timestamp(6), 7);
        let rows = batch(&[entry, lost]).unwrap();
        assert_eq!((rows.num_rows(), rows.schema()), (2, audit_columns()));
    }
}

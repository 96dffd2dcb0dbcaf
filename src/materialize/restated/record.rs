//! The record of restatements: what is kept of each, and where.
//!
//! ```text
//! a refresh ─► one commit of the view's table: partial rows, and what they restated in its info      (RUN-1)
//!                   └─ carried, each version once ─► tables/_restatements, which outlives the view's log
//! system.restatements = that table and what has not been carried to it
//! ```
//! Commits that restate something are a chain: each names the one before it, so none of the others is read.
//!
//! Not here: which groups are restated (`find`).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use serde::{Deserialize, Serialize};

use crate::base::Timestamp;
use crate::materialize::MaterializeError;
use crate::query::{QueryError, restatements_schema};
use crate::storage::{Table, TableSnapshot, TableVersion, Transaction};

/// The Delta application under which a view's table keeps the version of its newest commit that restated something.
const RESTATED: &str = "adlake.restated";
/// Where that commit's info has them.
const INFO: &str = "restated";

/// What a refresh changed a group by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::materialize) enum Cause {
    /// Events that were committed late.
    #[default]
    LateEvents,
    /// Times from which events were removed; others may have come late there in the same refresh.
    RemovedEvents,
    /// Rows of the tables below that came or went: of a view kept by partitions or in full they are not told apart.
    ChangedRows,
    /// REFRESH … FULL or BETWEEN, that found other values than were stored; of a view kept in full any REFRESH.
    Rebuild,
}

impl Cause {
    /// In `system.restatements`.
    fn words(self) -> &'static str {
        match self {
            Self::LateEvents => "late events",
            Self::RemovedEvents => "removed events",
            Self::ChangedRows => "changed rows",
            Self::Rebuild => "rebuild",
        }
    }

    fn is_of_late_events(&self) -> bool {
        *self == Self::LateEvents
    }
}

/// One group (of a view kept by partitions or in full: one window of time) that a refresh changed after its window had been over
/// for longer than the view's `restate_after`; or, without `group_key`, all such groups of the refresh and cause that are not listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::materialize) struct Restatement {
    #[serde(default, skip_serializing_if = "Cause::is_of_late_events")]
    pub cause: Cause,
    /// The group's keys and its aggregates before and after, as JSON objects; of a window JSON arrays of the rows that only one
    /// of both has. A value is missing when there was, or is, no such group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_start: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_value: Option<String>,
    /// The table whose events did it (of several tables, their names), the first and the last of its commits that brought or took
    /// some (of several tables: missing), and how many came late.
    pub source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_version: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_version: Option<u64>,
    pub late_events: u64,
    /// How many fewer events the group has.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub removed_events: u64,
    /// 1; more where groups are not listed.
    pub groups: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The info of a commit that restates something.
#[derive(Debug, Serialize, Deserialize)]
struct Info {
    /// The version of the commit before it that did.
    previous: Option<i64>,
    rows: Vec<Restatement>,
}

/// What a commit restated.
#[derive(Clone, Debug)]
pub(in crate::materialize) struct Restated {
    pub version: TableVersion,
    pub at: Timestamp,
    pub rows: Vec<Restatement>,
}

/// Puts `rows` into the commit that comes after `stored`; gives the transaction it needs then. Nothing when there are none.
///
/// # Errors
/// Rows that cannot be written as JSON.
pub(in crate::materialize) fn put(
    rows: &[Restatement],
    stored: &TableSnapshot,
    info: &mut BTreeMap<String, serde_json::Value>,
) -> Result<Option<Transaction>, MaterializeError> {
    if rows.is_empty() {
        return Ok(None);
    }
    let told = Info { previous: stored.transaction_version(RESTATED), rows: rows.to_vec() };
    let told = serde_json::to_value(told)
        .map_err(|error| QueryError::Internal { message: format!("cannot record restatements: {error}") })?;
    info.insert(INFO.to_owned(), told);
    Ok(Some(Transaction { app_id: RESTATED.to_owned(), version: after(stored) }))
}

fn after(stored: &TableSnapshot) -> i64 {
    i64::try_from(stored.version().0 + 1).unwrap_or(i64::MAX)
}

/// A commit that [`put`] was called for comes after `stored` instead.
pub(in crate::materialize) fn follow(transactions: &mut [Transaction], stored: &TableSnapshot) {
    let restating = transactions.iter_mut().filter(|transaction| transaction.app_id == RESTATED);
    restating.for_each(|transaction| transaction.version = after(stored));
}

/// The newest version that restated something.
pub(in crate::materialize) fn newest(stored: &TableSnapshot) -> Option<i64> {
    stored.transaction_version(RESTATED)
}

/// The application under which the table of restatements keeps the version up to which those of a view's table are carried.
pub(in crate::materialize) fn carried_by(view_path: &str) -> String {
    format!("{RESTATED}:{view_path}")
}

/// What commits of a view's table restated after version `carried`, the oldest first; as far back as the log goes.
///
/// # Errors
/// A log that cannot be read.
pub(in crate::materialize) async fn uncarried(
    table: &Table,
    stored: &TableSnapshot,
    carried: Option<i64>,
) -> Result<Vec<Restated>, MaterializeError> {
    let mut found = Vec::new();
    let mut next = newest(stored);
    while let Some(version) = next.filter(|version| carried.is_none_or(|carried| *version > carried)) {
        let Ok(at) = u64::try_from(version) else { break };
        let Some(commit) = table.commit_of(TableVersion(at)).await? else { break };
        let Some(info) = commit.info.get(INFO) else { break };
        let info: Info = serde_json::from_value(info.clone()).map_err(|error| QueryError::Internal {
            message: format!("the restatements of version {version} cannot be read: {error}"),
        })?;
        found.push(Restated { version: commit.version, at: commit.committed_at, rows: info.rows });
        // Versions only go back.
        next = info.previous.filter(|previous| *previous < version);
    }
    found.reverse();
    Ok(found)
}

/// Rows of `system.restatements`.
///
/// # Errors
/// None that can be named: the columns are as they are declared.
pub(in crate::materialize) fn batch(restated: &[(String, Restated)]) -> Result<RecordBatch, MaterializeError> {
    let each = || restated.iter().flat_map(|(view, commit)| commit.rows.iter().map(move |row| (view, commit, row)));
    let text = |pick: fn(&Restatement) -> Option<&String>| -> ArrayRef {
        Arc::new(each().map(|(.., row)| pick(row)).collect::<StringArray>())
    };
    let number = |pick: fn(&Restatement) -> Option<u64>| -> ArrayRef {
        Arc::new(each().map(|(.., row)| i64::try_from(pick(row)?).ok()).collect::<Int64Array>())
    };
    let times = |values: Vec<Option<i64>>| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
    };
    let arrays: Vec<ArrayRef> = vec![
        times(each().map(|(_, commit, _)| Some(commit.at.micros())).collect()),
        Arc::new(each().map(|(view, ..)| Some(view)).collect::<StringArray>()),
        text(|row| row.group_key.as_ref()),
        times(each().map(|(.., row)| row.window_start.map(Timestamp::micros)).collect()),
        text(|row| row.old_value.as_ref()),
        text(|row| row.new_value.as_ref()),
        text(|row| Some(&row.source)),
        number(|row| row.first_version),
        number(|row| row.last_version),
        // Elsewhere they are not counted.
        number(|row| (row.cause == Cause::LateEvents).then_some(row.late_events)),
        number(|row| Some(row.groups)),
        Arc::new(each().map(|(_, commit, _)| i64::try_from(commit.version.0).ok()).collect::<Int64Array>()),
        Arc::new(each().map(|(.., row)| Some(row.cause.words())).collect::<StringArray>()),
        number(|row| (row.cause == Cause::RemovedEvents).then_some(row.removed_events)),
    ];
    RecordBatch::try_new(restatements_schema(), arrays)
        .map_err(|error| QueryError::Internal { message: error.to_string() }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What lakes have in their logs.
    #[test]
    fn the_form_in_the_log_is_kept() {
        let text = r#"{"previous":3,"rows":[{"group_key":"{\"k\":\"a\"}","window_start":60000000,"new_value":"{\"n\":1}","source":"clicks","first_version":4,"last_version":5,"late_events":2,"groups":1},{"source":"clicks","first_version":4,"last_version":9,"late_events":70,"groups":30}]}"#;
        let info: Info = serde_json::from_str(text).unwrap();
        assert_eq!((info.previous, info.rows.len()), (Some(3), 2));
        assert_eq!(info.rows[0].window_start, Some(Timestamp(60_000_000)));
        assert_eq!(serde_json::to_string(&info).unwrap(), text);
        let text = r#"{"cause":"removed_events","group_key":"{}","old_value":"{\"n\":2}","source":"a, b","late_events":0,"removed_events":2,"groups":1}"#;
        let row: Restatement = serde_json::from_str(text).unwrap();
        assert_eq!((row.cause, row.first_version, row.removed_events), (Cause::RemovedEvents, None, 2));
        assert_eq!(serde_json::to_string(&row).unwrap(), text);
    }
}

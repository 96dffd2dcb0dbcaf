//! The plug for state that lives above query and is shown in `system.*`: `app.rs` plugs in what ingest and materialize know.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;

use super::CommandError;

use crate::base::Timestamp;
use crate::storage::TableVersion;

/// Where system tables get their rows from.
#[async_trait]
pub trait SystemState: Send + Sync {
    /// Tables written to by this process.
    fn ingest(&self) -> Vec<IngestRow>;
    /// Materialized views of the lake. A view whose state cannot be told says so in its `last_error`.
    async fn views(&self) -> Vec<ViewRow>;
    /// Ports of this process; none while it serves nothing.
    fn listeners(&self) -> Vec<ListenerRow>;
    /// What refreshes have restated and have not put into the table at [`RESTATEMENTS_PATH`] yet, as killed ones do: rows of
    /// [`restatements_schema`]. Called before that table is looked at.
    async fn restatements(&self) -> Result<RecordBatch, CommandError> {
        Ok(RecordBatch::new_empty(restatements_schema()))
    }
}

/// A row of `system.listeners`.
#[derive(Clone, Debug)]
pub struct ListenerRow {
    pub protocol: &'static str,
    pub address: String,
    /// `None`: plain text.
    pub certificate: Option<CertificateRow>,
}

/// What new connections of a port are shown.
#[derive(Clone, Debug)]
pub struct CertificateRow {
    pub client_auth: &'static str,
    pub subject: String,
    pub names: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub loaded_at: Timestamp,
    pub last_error: Option<String>,
}

/// Folder of the table of restatements below `tables/`; no user's table can have this name.
pub const RESTATEMENTS_PATH: &str = "_restatements";
/// The column of it whose days are its partitions.
pub const RESTATED_AT: &str = "restated_at";

/// Columns of `system.restatements`: a group (or window of time) that a refresh changed after its window was over, or, without
/// `group_key`, several that are not listed. Rows of earlier versions of the program have no cause: it was late events.
pub fn restatements_schema() -> SchemaRef {
    let time = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let field = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        Field::new(RESTATED_AT, time(), false),
        field("view_name", DataType::Utf8),
        field("group_key", DataType::Utf8),
        field("window_start", time()),
        field("old_value", DataType::Utf8),
        field("new_value", DataType::Utf8),
        field("source_name", DataType::Utf8),
        field("first_version", DataType::Int64),
        field("last_version", DataType::Int64),
        field("late_events", DataType::Int64),
        field("groups", DataType::Int64),
        field("view_version", DataType::Int64),
        field("cause", DataType::Utf8),
        field("removed_events", DataType::Int64),
    ]))
}

/// A row of `system.ingest`. Counts are since the process started.
#[derive(Clone, Debug, Default)]
pub struct IngestRow {
    pub table: String,
    pub requests_waiting: u64,
    pub requests: u64,
    pub commits: u64,
    pub accepted: u64,
    pub duplicates: u64,
    pub rejected: u64,
    pub late_events: u64,
    pub last_commit_ms: u64,
    pub watermark: Option<Timestamp>,
    pub keys: Option<u64>,
    pub key_bytes: Option<u64>,
    /// Event keys of earlier events are looked up in the lake; `None` = all are in memory.
    pub keys_resident_from: Option<Timestamp>,
    pub probes: u64,
    pub probe_keys: u64,
    pub probe_hits: u64,
    pub probe_rows: u64,
    pub rebuild_ms: u64,
    pub rebuild_rows: u64,
}

/// A row of `system.views`. What is stored and the last refresh are the lake's; failures and what comes next, this process's.
#[derive(Clone, Debug, Default)]
pub struct ViewRow {
    pub view: String,
    /// How its rows are kept true, and why so.
    pub strategy: String,
    pub reason: String,
    /// The trigger, as in `WITH (refresh='…')`.
    pub refresh: String,
    /// Of the source of an incremental view: the version the stored rows hold, and the newest.
    pub absorbed_version: Option<TableVersion>,
    pub source_version: Option<TableVersion>,
    /// Source rows between the two; `None` = not known without reading the source.
    pub pending_rows: Option<u64>,
    pub stored_rows: u64,
    pub stored_bytes: u64,
    /// Age of the oldest source commit that is not absorbed; `None` = not known.
    pub lag_ms: Option<u64>,
    /// Everything committed before this moment is in the stored rows; `None` = not known, or never refreshed.
    pub as_of: Option<Timestamp>,
    pub last_refresh_at: Option<Timestamp>,
    pub last_refresh_ms: Option<u64>,
    /// Source rows read and rows written by the last refresh.
    pub last_rows_in: Option<u64>,
    pub last_rows_out: Option<u64>,
    /// Refreshes that failed since the last one that did not.
    pub failures: u64,
    pub last_error: Option<String>,
    pub next_refresh_at: Option<Timestamp>,
}

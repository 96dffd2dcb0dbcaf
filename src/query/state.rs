//! The plug for state that lives above query and is shown in `system.*`: `app.rs` plugs in what ingest knows.

use crate::base::Timestamp;

/// Where system tables get their rows from.
pub trait SystemState: Send + Sync {
    /// Tables written to by this process.
    fn ingest(&self) -> Vec<IngestRow>;
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

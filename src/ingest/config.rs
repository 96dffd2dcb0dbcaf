//! `[ingest]`: limits of what comes in.
use crate::base::{ByteSize, Span};
use serde::Deserialize;
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestConfig {
    /// Longest line of NDJSON or CSV, longest JSON value of one row.
    pub max_row_size: ByteSize,
    /// Rejected rows a load tolerates unless it says otherwise.
    pub max_rejects: u64,
    /// Memory of the event-key index of all tables together.
    pub key_index_size: ByteSize,
    /// Bytes of requests taken and not answered yet, all tables together.
    pub queue_size: ByteSize,
    /// How long a group commit waits for more requests, under load.
    pub commit_delay_max: Span,
    /// Accepted events further behind the watermark are listed in `system.late_events`.
    pub late_after: Span,
    /// Time between two looks at a landing folder on this machine.
    pub landing_interval: Span,
    /// The same for a folder in a bucket, where each look is a request.
    pub landing_bucket_interval: Span,
    /// Landed files loaded at once, all tables together.
    pub landing_files: usize,
}

//! What ingest is doing, table by table: the rows of `system.ingest`.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Ingestor;
use super::key_index::KeyIndexState;
use super::writer::Writer;
use crate::base::Timestamp;

/// What group commits of one table came to since the process started.
#[derive(Debug, Default)]
pub struct Totals {
    pub requests: AtomicU64,
    pub commits: AtomicU64,
    pub accepted: AtomicU64,
    pub duplicates: AtomicU64,
    pub rejected: AtomicU64,
    pub late: AtomicU64,
    /// Duration of the last group commit.
    pub last_commit_ms: AtomicU64,
}

/// One table as an operator sees it. Counts are since the process started.
#[derive(Clone, Debug)]
pub struct IngestState {
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
    /// `None` for a table without event key.
    pub keys: Option<KeyIndexState>,
    /// Look-ups of old event keys in the lake, what they looked for, found and read.
    pub probes: u64,
    pub probe_keys: u64,
    pub probe_hits: u64,
    pub probe_rows: u64,
    /// What rebuilding the key index at the first write took.
    pub rebuild_ms: u64,
    pub rebuild_rows: u64,
}

impl Totals {
    pub fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }
}

impl Ingestor {
    /// Tables this process has written to, by name.
    pub fn states(&self) -> Vec<IngestState> {
        let mut states: Vec<IngestState> =
            self.core().targets.known().into_iter().map(|(name, writer)| state(name, &writer)).collect();
        states.sort_by(|left, right| left.table.cmp(&right.table));
        states
    }

    /// Bytes of requests that are taken and not answered yet.
    pub fn bytes_under_way(&self) -> u64 {
        self.core().admission.used()
    }
}

fn state(table: String, writer: &Writer) -> IngestState {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let cost = |pick: fn(&super::key_index::Costs) -> &AtomicU64| {
        writer.index.as_ref().map_or(0, |index| read(pick(&index.costs)))
    };
    let totals = &writer.totals;
    IngestState {
        table,
        requests_waiting: writer.queue.waiting() as u64,
        requests: read(&totals.requests),
        commits: read(&totals.commits),
        accepted: read(&totals.accepted),
        duplicates: read(&totals.duplicates),
        rejected: read(&totals.rejected),
        late_events: read(&totals.late),
        last_commit_ms: read(&totals.last_commit_ms),
        watermark: writer.watermark.lock().at(),
        keys: writer.index.as_ref().map(|index| index.state()),
        probes: cost(|costs| &costs.probes),
        probe_keys: cost(|costs| &costs.probe_keys),
        probe_hits: cost(|costs| &costs.probe_hits),
        probe_rows: cost(|costs| &costs.probe_rows),
        rebuild_ms: cost(|costs| &costs.rebuild_ms),
        rebuild_rows: cost(|costs| &costs.rebuild_rows),
    }
}

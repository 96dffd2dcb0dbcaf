//! The `SystemState` plug: what ingest knows, as rows of `system.*`. Translation only.

use crate::ingest::{IngestState, Ingestor};
use crate::query::{IngestRow, SystemState};

/// What system tables reach through their plug.
pub(super) struct States {
    pub ingestor: Ingestor,
}

impl SystemState for States {
    fn ingest(&self) -> Vec<IngestRow> {
        self.ingestor.states().into_iter().map(row).collect()
    }
}

fn row(state: IngestState) -> IngestRow {
    IngestRow {
        table: state.table,
        requests_waiting: state.requests_waiting,
        requests: state.requests,
        commits: state.commits,
        accepted: state.accepted,
        duplicates: state.duplicates,
        rejected: state.rejected,
        late_events: state.late_events,
        last_commit_ms: state.last_commit_ms,
        watermark: state.watermark,
        keys: state.keys.as_ref().map(|keys| keys.keys),
        key_bytes: state.keys.as_ref().map(|keys| keys.bytes),
        keys_resident_from: state.keys.and_then(|keys| keys.resident_from),
        probes: state.probes,
        probe_keys: state.probe_keys,
        probe_hits: state.probe_hits,
        probe_rows: state.probe_rows,
        rebuild_ms: state.rebuild_ms,
        rebuild_rows: state.rebuild_rows,
    }
}

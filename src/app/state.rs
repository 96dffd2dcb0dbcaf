//! The `SystemState` plug: what ingest and materialize know, as rows of `system.*`. Translation only.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;

use super::listen::Listeners;
use crate::ingest::{IngestState, Ingestor};
use crate::materialize::Refresher;
use crate::query::{CommandError, IngestRow, ListenerRow, SystemState, ViewRow};

/// What system tables reach through their plug.
pub(super) struct States {
    pub ingestor: Ingestor,
    pub refresher: Refresher,
    pub listeners: Arc<Listeners>,
}

#[async_trait]
impl SystemState for States {
    fn ingest(&self) -> Vec<IngestRow> {
        self.ingestor.states().into_iter().map(row).collect()
    }

    async fn views(&self) -> Vec<ViewRow> {
        self.refresher.view_rows().await
    }

    fn listeners(&self) -> Vec<ListenerRow> {
        self.listeners.rows()
    }

    async fn restatements(&self) -> Result<RecordBatch, CommandError> {
        let restated = self.refresher.uncarried_restatements().await;
        restated.map_err(|error| CommandError::from_error(&error))
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

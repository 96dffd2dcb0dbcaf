//! Checkpoints: every so many commits the log is summed up, so that opening a table stays cheap.
//!
//! Made by delta-rs in the background, after the commit was answered. A checkpoint that fails or dies half-way costs
//! nothing but time: the log is complete without it, and the next one is due soon.

use deltalake_core::DeltaTable;
use deltalake_core::checkpoints::create_checkpoint;

use super::{Table, TableVersion};
use crate::storage::maintenance::{Cost, Work};

/// Commits between checkpoints.
const INTERVAL: u64 = 100;

impl Table {
    pub(super) fn checkpoint_if_due(&self, version: TableVersion) {
        if version.0 == 0 || !version.0.is_multiple_of(INTERVAL) {
            return;
        }
        // Whoever commits holds it too; not to be had when the table is about to be dropped.
        let Ok(life) = self.life.clone().try_read_owned() else { return };
        let path = self.parts.path.clone();
        let mut table = DeltaTable::new(self.parts.log_store.clone());
        let run = self.parts.board.begin(&path, Work::Checkpoint, self.parts.clock.now(), 0);
        self.parts.tasks.spawn("checkpoint", async move {
            let made = match table.load_version(version.0).await {
                Ok(()) => create_checkpoint(&table, None).await,
                Err(error) => Err(error),
            };
            drop(life);
            run.end(made.as_ref().map(|()| Cost::default()));
            match made {
                Ok(()) => tracing::debug!(table = %path, %version, "checkpoint made"),
                Err(error) => {
                    tracing::warn!(table = %path, %version, %error, "checkpoint failed; the next is due later")
                }
            }
        });
    }
}

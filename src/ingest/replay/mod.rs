//! REPLAY REJECTS: rejected rows are read again, and those that are good now are appended.
//!
//! ```text
//! rows of system.rejects ─ decode ─ validate (as a backfill: lateness does not apply) ─► good │ still bad
//!      log.begin: good rows 'replaying' under a replay id, bad ones 'rejected'  (compare-and-swap)
//!      data commit, transaction replay:<id>
//!      log.end: 'replayed'
//! ```
//!
//! RUN-1: killed anywhere and run again, each row is appended once, also in a table without event key. What had begun is
//! found as 'replaying' and taken first, whole, under its own id: when its data commit had landed, the transaction says so.
//! Two replays at once cannot take the same row: the log is changed only from the version it was read at. DED-1 holds as
//! everywhere.

mod log;
mod read;
mod read_as;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::TryStreamExt;
use uuid::Uuid;

use super::IngestError;
use super::append::{DEDUP_ATTEMPTS, blocking, stream};
use super::batch::{Batch, Unique, Valid};
use super::ingestor::Core;
use super::snapshot::Upserted;
use super::target::Target;
use super::validate::Arrival;
use super::writer::{CommitLabel, Sealed, Staged};
use crate::storage::{InputOrder, StorageError, Transaction, WriteOptions};

pub use log::{REPLAYS_PATH, ReplayLog};
pub use read::RejectedRow;
pub use read_as::ReadAs;

use log::{Outcome, Step};
use read::{Chunks, Reread, reread};

/// What REPLAY REJECTS did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Rows in the table now that were not before.
    pub replayed: u64,
    /// Rows whose event key is in the table already; they are done as well.
    pub duplicates: u64,
    /// Rows that are still bad.
    pub rejected: u64,
}

impl Core {
    pub(super) async fn replay(
        &self,
        table: &str,
        mut rows: SendableRecordBatchStream,
        task: Arc<TaskContext>,
    ) -> Result<ReplayReport, IngestError> {
        // Before any row is looked at: a misspelt table is an error, not an empty replay.
        self.targets.resolve(table).await?;
        let mut report = ReplayReport::default();
        let mut chunks = Chunks::default();
        while let Some(batch) = rows.try_next().await.map_err(|error| IngestError::Source(Box::new(error)))? {
            for chunk in chunks.add(&batch)? {
                self.replay_chunk(table, chunk, &task, &mut report).await?;
            }
        }
        if let Some(chunk) = chunks.rest() {
            self.replay_chunk(table, chunk, &task, &mut report).await?;
        }
        tracing::info!(table, report.replayed, report.duplicates, report.rejected, "rejected rows replayed");
        Ok(report)
    }

    /// One chunk is one commit. All its rows are pending under one id, or none is.
    async fn replay_chunk(
        &self,
        table: &str,
        mut rows: Vec<RejectedRow>,
        task: &Arc<TaskContext>,
        report: &mut ReplayReport,
    ) -> Result<(), IngestError> {
        let pending = rows.first().and_then(|row| row.pending.clone());
        loop {
            let target = self.targets.resolve(table).await?;
            let validator = self.targets.validator(&target, Arrival::Backfill);
            let (columns, unknown) = (target.columns.clone(), target.definition.ingest.unknown_fields);
            let again = rows.clone();
            let reread = blocking(move || reread(&again, &columns, unknown, &validator)).await?;
            let Reread { batches, bad } = reread;
            let steps = steps(&rows, &bad);
            let replay_id = match &pending {
                Some(id) => id.clone(),
                None => {
                    let id = Uuid::new_v4().to_string();
                    let taken = self.replays.begin(&target.name, &id, &steps, task).await?;
                    if !taken.is_empty() {
                        // Somebody else replays these, or has: the others are looked at again.
                        rows.retain(|row| !taken.contains(&row.id));
                        continue;
                    }
                    id
                }
            };
            if batches.is_empty() && pending.is_none() {
                report.rejected += bad.len() as u64;
                return Ok(());
            }
            let ends = match self.append_once(&target, batches, &replay_id, task).await? {
                Some((replayed, duplicates)) => {
                    report.replayed += replayed;
                    report.duplicates += duplicates;
                    report.rejected += bad.len() as u64;
                    ends(steps, pending.is_some())
                }
                // All of them are in a commit that had landed before; nobody has reported it yet.
                None => {
                    report.replayed += steps.len() as u64;
                    steps.into_iter().map(|step| Step { outcome: Outcome::Replayed, reason: None, ..step }).collect()
                }
            };
            return self.replays.end(&target.name, &replay_id, ends, task).await;
        }
    }

    /// Rows accepted and duplicates; `None` when the transaction was committed before.
    async fn append_once(
        &self,
        target: &Target,
        batches: Vec<Batch<Valid>>,
        replay_id: &str,
        task: &Arc<TaskContext>,
    ) -> Result<Option<(u64, u64)>, IngestError> {
        let transaction = Transaction { app_id: format!("replay:{replay_id}"), version: 1 };
        let label = CommitLabel { transaction: Some(transaction), ..CommitLabel::plain("REPLAY") };
        if target.snapshot_key().is_some() {
            return Ok(match self.upsert(target, batches, label, task).await? {
                Upserted::Committed { accepted, superseded, .. } => Some((accepted, superseded)),
                Upserted::AlreadyCommitted(_) => None,
            });
        }
        let guard = target.writer.lock().await;
        for _ in 0..DEDUP_ATTEMPTS {
            guard.advance(task).await?;
            let mut dedup = target.dedup(task)?;
            let mut unique: Vec<Batch<Unique>> = Vec::with_capacity(batches.len());
            for batch in &batches {
                unique.push(dedup.apply(batch.clone()).await?);
            }
            let accepted: u64 = unique.iter().map(|batch| batch.row_count() as u64).sum();
            let duplicates = dedup.duplicates();
            let rows = stream(target.columns.clone(), unique.into_iter().map(|batch| batch.rows).collect());
            let options = WriteOptions { order: InputOrder::Unsorted, context: task.clone() };
            let files = match accepted {
                0 => Vec::new(),
                _ => target.writer.table.write_files(rows, options).await?,
            };
            let staged = Staged { files, pending: dedup.into_pending() };
            match guard.seal(staged, label.clone(), task).await? {
                Sealed::Committed(_) => return Ok(Some((accepted, duplicates))),
                Sealed::AlreadyCommitted(_) => return Ok(None),
                Sealed::Repeats => {}
            }
        }
        Err(StorageError::Crowded { table: target.name.clone() }.into())
    }
}

/// What is put on record before the rows are appended.
fn steps(rows: &[RejectedRow], bad: &BTreeMap<usize, String>) -> Vec<Step> {
    let step = |(index, row): (usize, &RejectedRow)| match bad.get(&index) {
        Some(reason) => Step { reject_id: row.id.clone(), outcome: Outcome::Rejected, reason: Some(reason.clone()) },
        None => Step { reject_id: row.id.clone(), outcome: Outcome::Replaying, reason: None },
    };
    // A rejection recorded twice (a request sent again) is one row.
    let mut seen = HashSet::new();
    rows.iter().enumerate().map(step).filter(|step| seen.insert(step.reject_id.clone())).collect()
}

/// What is put on record after. Of the bad rows only those that were pending: the others are on record already.
fn ends(steps: Vec<Step>, were_pending: bool) -> Vec<Step> {
    let end = |step: Step| match step.outcome {
        Outcome::Replaying => Some(Step { outcome: Outcome::Replayed, ..step }),
        Outcome::Rejected => were_pending.then_some(step),
        Outcome::Replayed => Some(step),
    };
    steps.into_iter().filter_map(end).collect()
}

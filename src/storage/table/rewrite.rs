//! Changing the file list without changing what is in it (compaction), or only by taking rows away (retention).
//!
//! ```text
//!   files of one task ─► read, merged in the table's order ─► write_files ─► as many rows as before? ─► commit
//!                         (files out of order are sorted)                         │ no: an error, nothing changes
//!                                                                                 ▼
//!                          some input is no longer in the table: give up ◄── newest version ──► Remove old, Add new
//! ```
//!
//! Beside appends a rewrite always goes through: it depends on its own files only, so a lost race is run again. When one of
//! these is gone (replaced, expired, compacted by another process) the rewrite would bring rows back: its result is deleted.
//!
//! Memory: all files of a task are read at once, one row group each; `maintenance.task_size` bounds their bytes.
//!
//! - **SCN-1** What is tagged as sorted was merged from files in that order, or sorted.
//! - **RUN-1** Killed before its commit a rewrite leaves files no version names; vacuum deletes them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::compute::SortOptions;
use datafusion::catalog::TableProvider;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::action::{self, Action, CommitInfo};
use super::commit::{RACES_MAX, Told};
use super::compact::{Candidate, CompactionLimits, Eagerness, decide};
use super::log::Put;
use super::removal::{Rows, removal};
use super::{InputOrder, StagedFile, Table, TableVersion, WriteOptions};
use crate::storage::index::DataFile;
use crate::storage::scan::LakeTable;
use crate::storage::spec::ROWS_UNTIL_TAG;
use crate::storage::{StorageError, TableSnapshot, configure_scans};

/// Files of one version to be rewritten together.
#[derive(Clone, Debug)]
pub(crate) struct CompactionTask {
    files: Vec<Arc<DataFile>>,
    base: Arc<TableSnapshot>,
}

/// What a rewrite needs beside its files.
pub(crate) struct RewriteContext {
    /// Memory pool, spill folder, object stores.
    pub task: Arc<TaskContext>,
    pub cancel: CancellationToken,
    /// Told the bytes of input read since the last call.
    pub progress: Arc<dyn Fn(u64) + Send + Sync>,
}

/// What a rewrite did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RewriteReport {
    pub files_in: u64,
    pub files_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub rows: u64,
    /// False when another commit had taken one of the files away: nothing has changed.
    pub committed: bool,
}

/// A change of the file list.
pub(super) struct FileChange {
    pub removed: Vec<Arc<DataFile>>,
    pub added: Vec<StagedFile>,
    /// What becomes of the rows of the removed files.
    pub rows: Rows,
    pub operation: &'static str,
    pub info: BTreeMap<String, serde_json::Value>,
}

impl CompactionTask {
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    fn rows(&self) -> Option<u64> {
        self.files.iter().map(|file| file.rows()).sum()
    }

    fn rows_until(&self) -> TableVersion {
        self.files.iter().map(|file| file.rows_until).max().unwrap_or_default()
    }
}

impl Table {
    /// What should be rewritten in the newest version known here.
    pub(crate) fn compaction_tasks(&self, limits: &CompactionLimits, eagerness: Eagerness) -> Vec<CompactionTask> {
        let base = self.current();
        let files: Vec<&Arc<DataFile>> = base.index().files().collect();
        let wanted = base.spec().file_sort_columns().join(",");
        let candidates: Vec<Candidate> = files
            .iter()
            .map(|file| Candidate {
                partition: &file.partition,
                bytes: file.size,
                written_at: crate::base::Timestamp(file.modified.timestamp_micros()),
                is_sorted: wanted.is_empty() || file.sorted_by.as_deref() == Some(wanted.as_str()),
            })
            .collect();
        let tasks = decide(&candidates, limits, eagerness, self.parts.clock.now());
        let member = |at: usize| files.get(at).map(|file| Arc::clone(file));
        let of = |task: Vec<usize>| task.into_iter().filter_map(member).collect();
        tasks.into_iter().map(|task| CompactionTask { files: of(task), base: base.clone() }).collect()
    }

    /// Rewrites the files of one task. The rows stay; readers of older versions keep their files until vacuum.
    pub(crate) async fn compact(
        &self,
        work: CompactionTask,
        context: RewriteContext,
    ) -> Result<RewriteReport, StorageError> {
        let cancel = context.cancel.clone();
        let action = || format!("compaction of table files '{}'", self.parts.path);
        let (rows, order) =
            merged(&work, &context.task).await.map_err(|error| StorageError::engine(action(), error))?;
        let read = Arc::new(AtomicU64::new(0));
        let rows = counted(rows, &work, &read, &context);
        let options = WriteOptions { order, context: context.task.clone() };
        // Cancelling stops the rows in the middle: whatever error that makes, the reason is ours.
        let mut staged = match self.write_files(rows, options).await {
            Err(_) if cancel.is_cancelled() => return Err(StorageError::Cancelled { action: action() }),
            other => other?,
        };
        let (read, written) = (read.load(Ordering::Relaxed), staged.iter().map(|file| file.rows).sum::<u64>());
        if read != written || work.rows().is_some_and(|rows| rows != written) {
            self.discard(staged).await;
            let known = work.rows().map_or_else(|| "an unknown number of".to_owned(), |rows| rows.to_string());
            let message = format!("{} of {known} rows read {read} and wrote {written}; nothing was changed", action());
            return Err(StorageError::Damaged { message });
        }
        for file in &mut staged {
            file.add.data_change = false;
            file.add.tags.insert(ROWS_UNTIL_TAG.to_owned(), work.rows_until().to_string());
        }
        let mut report = RewriteReport {
            files_in: work.files.len() as u64,
            files_out: staged.len() as u64,
            bytes_in: work.bytes(),
            bytes_out: staged.iter().map(|file| file.bytes).sum(),
            rows: written,
            committed: false,
        };
        let change = FileChange {
            removed: work.files,
            added: staged,
            rows: Rows::Stay,
            operation: "OPTIMIZE",
            info: info_of(&report),
        };
        report.committed = self.commit_change(change).await?.is_some();
        Ok(report)
    }

    /// Commits the change; `None`, and the new files deleted, when a file to be removed is not in the table any more.
    pub(super) async fn commit_change(&self, change: FileChange) -> Result<Option<TableVersion>, StorageError> {
        let committed = self.try_commit_change(&change).await;
        match &committed {
            Ok(Some(_)) => {}
            // It may have landed: never deleted.
            Err(StorageError::CommitUnknown { .. }) => {
                self.in_doubt.lock().extend(change.added.iter().map(|file| file.add.path.clone()));
            }
            Ok(None) | Err(_) => self.discard(change.added).await,
        }
        committed
    }

    async fn try_commit_change(&self, change: &FileChange) -> Result<Option<TableVersion>, StorageError> {
        let _turn = self.turn().await?;
        let commit_id = Uuid::new_v4();
        for _ in 0..RACES_MAX {
            let base = self.refresh().await?;
            if change.removed.iter().any(|file| base.index().file(&file.relative).is_none()) {
                return Ok(None);
            }
            let version = TableVersion(base.version().0 + 1);
            let content = action::render(&self.change_actions(&base, change, commit_id))?;
            if self.parts.put_commit(version, commit_id, content.clone()).await? == Put::Ours {
                let rows = change.added.iter().map(|file| file.rows).sum();
                let told = Told { operation: change.operation, files: change.added.len(), rows };
                self.after_commit(version, content, told).await;
                return Ok(Some(version));
            }
        }
        Err(StorageError::Crowded { table: self.parts.path.clone() })
    }

    fn change_actions(&self, base: &TableSnapshot, change: &FileChange, commit_id: Uuid) -> Vec<Action> {
        let at = self.parts.clock.now().max(base.committed_at());
        let info = CommitInfo::new(change.operation, at, commit_id, change.info.clone());
        let removed = change.removed.iter().map(|file| Action::Remove(removal(base, file, (change.rows, at))));
        let added = change.added.iter().map(|file| Action::Add(file.add.clone()));
        std::iter::once(Action::CommitInfo(info)).chain(removed).chain(added).collect()
    }
}

fn info_of(report: &RewriteReport) -> BTreeMap<String, serde_json::Value> {
    let RewriteReport { files_in, files_out, bytes_in, bytes_out, rows, .. } = *report;
    let numbers = [
        ("files_in", files_in),
        ("files_out", files_out),
        ("bytes_in", bytes_in),
        ("bytes_out", bytes_out),
        ("rows", rows),
    ];
    numbers.into_iter().map(|(name, number)| (name.to_owned(), number.into())).collect()
}

/// The rows of exactly these files: one sorted stream per file, merged; or in any order, when a file is not sorted.
async fn merged(
    work: &CompactionTask,
    task: &Arc<TaskContext>,
) -> Result<(SendableRecordBatchStream, InputOrder), DataFusionError> {
    // As many partitions as files: each is a sorted stream of its own.
    let mut config = task.session_config().clone().with_target_partitions(work.files.len().max(1));
    configure_scans(config.options_mut());
    let session = SessionContext::new_with_config_rt(config, task.runtime_env());
    let provider = LakeTable::of_files(work.base.index(), &work.files);
    let scan = provider.scan(&session.state(), None, &[], None).await?;
    let schema = scan.schema();
    let options = SortOptions { descending: false, nulls_first: false };
    let columns = work.base.spec().file_sort_columns();
    let keys = columns.iter().map(|name| {
        let column = Column::new_with_schema(name, &schema)?;
        Ok(PhysicalSortExpr::new(Arc::new(column), options))
    });
    let order = LexOrdering::new(keys.collect::<Result<Vec<_>, DataFusionError>>()?);
    let (plan, input): (Arc<dyn ExecutionPlan>, InputOrder) = match order {
        None => (Arc::new(CoalescePartitionsExec::new(scan)), InputOrder::Sorted),
        Some(order) if scan.equivalence_properties().ordering_satisfy(order.clone())? => {
            (Arc::new(SortPreservingMergeExec::new(order, scan)), InputOrder::Sorted)
        }
        Some(_) => (Arc::new(CoalescePartitionsExec::new(scan)), InputOrder::Unsorted),
    };
    Ok((plan.execute(0, session.task_ctx())?, input))
}

/// The same rows, counted, told about, ending in an error once cancelled.
fn counted(
    rows: SendableRecordBatchStream,
    work: &CompactionTask,
    read: &Arc<AtomicU64>,
    context: &RewriteContext,
) -> SendableRecordBatchStream {
    let (cancel, read) = (context.cancel.clone(), read.clone());
    let rows_total = work.rows().unwrap_or_default().max(1);
    let bytes_total = work.bytes();
    let progress: Arc<dyn Fn(u64) + Send + Sync> = context.progress.clone();
    let schema = rows.schema();
    let batches = rows.map(move |batch| {
        let batch = batch?;
        if cancel.is_cancelled() {
            return Err(DataFusionError::Execution("cancelled".to_owned()));
        }
        let count = batch.num_rows() as u64;
        read.fetch_add(count, Ordering::Relaxed);
        progress(bytes_total.saturating_mul(count) / rows_total);
        Ok(batch)
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, batches))
}

//! [`Maintainer`]: one turn for one table, and the statements `OPTIMIZE` and `VACUUM`. One piece of work at a time.
//!
//! A turn is short: one compaction task at most, so that all tables get theirs; it says whether more is waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::TaskContext;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::MaintenanceConfig;
use super::board::{Cost, Work};
use crate::base::{Clock, Span, Timestamp};
use crate::storage::table::{CompactionLimits, CompactionTask, Eagerness, RewriteContext, RewriteReport, VacuumReport};
use crate::storage::{Lake, StorageError, Table};
use crate::telemetry::metrics;

/// Between two looks for dropped tables: each lists a folder.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// A table to be kept in shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Folder below `tables/`.
    pub path: String,
    /// Rows older than this go; `None` = never.
    pub retention: Option<Span>,
}

/// What `OPTIMIZE` did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OptimizeReport {
    pub files_before: u64,
    pub files_after: u64,
    /// Tasks committed, and those given up because other commits took their files.
    pub tasks: u64,
    pub superseded: u64,
    pub rows: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// Does the work. Share one per process.
pub struct Maintainer {
    lake: Lake,
    config: MaintenanceConfig,
    target_bytes: u64,
    clock: Clock,
    /// Memory pool and spill folder.
    task: Arc<TaskContext>,
    /// Held while working.
    turn: tokio::sync::Mutex<()>,
    /// When work comes next; absent = now.
    due: Mutex<BTreeMap<(String, Work), Timestamp>>,
    /// When dropped tables are looked for next.
    sweep_due: Mutex<Timestamp>,
}

impl Maintainer {
    /// `task` gives memory, spill folder and the lake's files.
    ///
    /// # Errors
    /// Settings by which files could be deleted that are needed.
    pub fn new(
        lake: Lake,
        config: MaintenanceConfig,
        clock: Clock,
        task: Arc<TaskContext>,
    ) -> Result<Arc<Self>, StorageError> {
        config.check()?;
        let target_bytes = lake.target_file_bytes();
        let (turn, due, sweep_due) = (tokio::sync::Mutex::default(), Mutex::default(), Mutex::new(clock.now()));
        Ok(Arc::new(Self { lake, config, target_bytes, clock, task, turn, due, sweep_due }))
    }

    /// Time between two looks at all tables; `None` when tables are not to be changed by themselves.
    pub fn interval(&self) -> Option<Span> {
        self.config.enabled.then_some(self.config.interval)
    }

    /// Does what is due for one table, one compaction task at most. Whether more compaction is waiting. Errors are written
    /// on the board and logged; the same work is tried again after `maintenance.retry_after`.
    pub async fn turn(&self, subject: &Subject, cancel: &CancellationToken) -> bool {
        let _turn = self.turn.lock().await;
        let table = match self.lake.open_table(&subject.path).await {
            Ok(table) => table,
            Err(StorageError::TableNotFound { .. }) => return false,
            Err(error) => {
                tracing::warn!(table = %subject.path, error = %crate::base::chain(&error), "maintenance cannot open it");
                return false;
            }
        };
        if let Some(retention) = subject.retention
            && self.take_due(&subject.path, Work::Retention, self.config.retention_every)
        {
            let done = async { table.expire(retention.duration()).await.map(|report| Cost::from(&report)) };
            self.run(&table, Work::Retention, 0, done).await;
        }
        let more = self.compact_once(&table, cancel).await;
        if !cancel.is_cancelled() && self.take_due(&subject.path, Work::Vacuum, self.config.vacuum_every) {
            let retention = self.config.vacuum_retention.duration();
            let done = async { table.vacuum(retention, cancel).await.map(|report| Cost::from(&report)) };
            self.run(&table, Work::Vacuum, 0, done).await;
        }
        if !cancel.is_cancelled() && self.take_due(&subject.path, Work::LogCleanup, self.config.log_cleanup_every) {
            // A version whose files are there can be opened.
            let retention = self.config.log_retention.max(self.config.vacuum_retention).duration();
            let done = async {
                let (files_in, bytes_in) = table.clean_log(retention, cancel).await?;
                Ok(Cost { files_in, bytes_in, ..Cost::default() })
            };
            self.run(&table, Work::LogCleanup, 0, done).await;
        }
        self.tell_files(&table);
        more
    }

    /// Deletes files of tables that were dropped `maintenance.retain_min` ago, but of none among `subjects`. Errors are logged,
    /// and it is tried again later.
    pub async fn sweep(&self, subjects: &[Subject]) {
        let now = self.clock.now();
        if now < *self.sweep_due.lock() {
            return;
        }
        *self.sweep_due.lock() = now.plus(SWEEP_EVERY);
        let named = subjects.iter().map(|subject| subject.path.as_str()).collect();
        if let Err(error) = self.lake.sweep(self.config.retain_min.duration(), &named).await {
            tracing::warn!(error = %crate::base::chain(&error), "files of dropped tables remain; they are not read any more");
        }
    }

    /// Forgets tables that are no more.
    pub fn forget_all_but(&self, subjects: &[Subject]) {
        let paths: BTreeSet<&str> = subjects.iter().map(|subject| subject.path.as_str()).collect();
        self.due.lock().retain(|(path, _), _| paths.contains(path.as_str()));
        self.lake.board().retain(|path| paths.contains(path));
    }

    /// Merges everything that can be merged, waiting for its turn.
    ///
    /// # Errors
    /// Of the first task that fails; those before it stay.
    pub async fn optimize(&self, path: &str, cancel: &CancellationToken) -> Result<OptimizeReport, StorageError> {
        let table = self.lake.open_table(path).await?;
        let mut report =
            OptimizeReport { files_before: table.refresh().await?.file_count() as u64, ..Default::default() };
        for task in table.compaction_tasks(&self.limits(), Eagerness::Everything) {
            if cancel.is_cancelled() {
                return Err(StorageError::Cancelled { action: format!("OPTIMIZE of table files '{path}'") });
            }
            let _turn = self.turn.lock().await;
            let done = self.compact(&table, task, cancel).await?;
            report.tasks += u64::from(done.committed);
            report.superseded += u64::from(!done.committed);
            if done.committed {
                report.rows += done.rows;
                report.bytes_in += done.bytes_in;
                report.bytes_out += done.bytes_out;
            }
        }
        report.files_after = table.refresh().await?.file_count() as u64;
        self.tell_files(&table);
        Ok(report)
    }

    /// Deletes what no version within `retain` (or `maintenance.vacuum_retention`) needs.
    ///
    /// # Errors
    /// A time shorter than `maintenance.retain_min`: files that running loads will commit could go.
    pub async fn vacuum(
        &self,
        path: &str,
        retain: Option<Span>,
        cancel: &CancellationToken,
    ) -> Result<VacuumReport, StorageError> {
        let retain = retain.unwrap_or(self.config.vacuum_retention);
        if retain < self.config.retain_min {
            return Err(StorageError::Invalid {
                message: format!(
                    "RETAIN '{retain}' is shorter than maintenance.retain_min = '{}': it could delete files that running \
                     loads are about to commit, or that running queries read",
                    self.config.retain_min
                ),
            });
        }
        let table = self.lake.open_table(path).await?;
        let _turn = self.turn.lock().await;
        let run = self.lake.board().begin(path, Work::Vacuum, self.clock.now(), 0);
        let done = table.vacuum(retain.duration(), cancel).await;
        run.end(done.as_ref().map(Cost::from));
        done
    }

    async fn compact_once(&self, table: &Table, cancel: &CancellationToken) -> bool {
        if !self.is_due(table.path(), Work::Compact) {
            return false;
        }
        if let Err(error) = table.snapshot().await {
            tracing::warn!(table = %table.path(), error = %crate::base::chain(&error), "maintenance cannot read the log");
            return false;
        }
        let mut tasks = table.compaction_tasks(&self.limits(), Eagerness::WhatPays).into_iter();
        let Some(first) = tasks.next() else { return false };
        match self.compact(table, first, cancel).await {
            Ok(_) => tasks.next().is_some(),
            Err(error) => {
                self.failed(table.path(), Work::Compact, &error);
                false
            }
        }
    }

    async fn compact(
        &self,
        table: &Table,
        task: CompactionTask,
        cancel: &CancellationToken,
    ) -> Result<RewriteReport, StorageError> {
        let run = self.lake.board().begin(table.path(), Work::Compact, self.clock.now(), task.bytes());
        let context = RewriteContext { task: self.task.clone(), cancel: cancel.clone(), progress: run.progress() };
        let done = Box::pin(table.compact(task, context)).await;
        run.end(done.as_ref().map(Cost::from));
        done
    }

    /// Runs `work`, writes down what came of it.
    async fn run<F>(&self, table: &Table, work: Work, bytes_total: u64, action: F)
    where
        F: Future<Output = Result<Cost, StorageError>>,
    {
        let run = self.lake.board().begin(table.path(), work, self.clock.now(), bytes_total);
        let done = Box::pin(action).await;
        run.end(done.as_ref().map(|cost| *cost));
        if let Err(error) = done {
            self.failed(table.path(), work, &error);
        }
    }

    fn failed(&self, path: &str, work: Work, error: &StorageError) {
        if matches!(error, StorageError::Cancelled { .. }) {
            return;
        }
        tracing::warn!(table = path, work = work.as_str(), error = %crate::base::chain(error), "maintenance failed");
        self.set_due(path, work, self.config.retry_after.duration());
    }

    fn is_due(&self, path: &str, work: Work) -> bool {
        let due = self.due.lock().get(&(path.to_owned(), work)).copied();
        due.is_none_or(|due| due <= self.clock.now())
    }

    /// Whether `work` is due; if so it comes again after `every`.
    fn take_due(&self, path: &str, work: Work, every: Span) -> bool {
        let is_due = self.is_due(path, work);
        if is_due {
            self.set_due(path, work, every.duration());
        }
        is_due
    }

    fn set_due(&self, path: &str, work: Work, after: Duration) {
        let at = self.clock.now().plus(after);
        self.due.lock().insert((path.to_owned(), work), at);
        self.lake.board().set_due(path, work, at);
    }

    fn limits(&self) -> CompactionLimits {
        CompactionLimits {
            target_bytes: self.target_bytes,
            files_min: self.config.files_min,
            small_files_max: self.config.small_files_max,
            settled_after: self.config.settled_after.duration(),
            task_bytes: self.config.task_size.bytes(),
            task_files: self.config.task_files,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges")]
    fn tell_files(&self, table: &Table) {
        let (files, small) = (table.current().file_count(), table.current().small_file_count(self.target_bytes));
        let labels = [("table", table.path())];
        metrics().set("table_files", "Files of the newest version", &labels, files as f64);
        metrics().set("table_small_files", "Files of less than half the target size", &labels, small as f64);
    }
}

//! The one door for rows: requests, statements and files all come in here.
//!
//! ```text
//! append         requests    ─┐
//! append_stream  INSERT      ─┼► Batch<Decoded> ► Batch<Valid> ► Batch<Unique> ► files ► one commit ► answer
//! load           files       ─┘         │rejects          │rejects       │counted
//! delete         DELETE      ─► the rows that stay, in new files ────────────────────────────► one commit ► answer
//! ```
//!
//! - **ACK-1** every function here returns only after its rows are in a committed version.
//! - **GC-1** one request, statement or file is one commit.
//! - **DED-1** an event key is committed at most once (`dedup`, `key_index`, `writer`).
//! - **LATE-1** what is not accepted is in the rejects table, and counted (`rejects`).

use std::sync::{Arc, OnceLock};

use arrow::record_batch::RecordBatch;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use tokio_util::sync::CancellationToken;

use super::admission::Admission;
use super::arrivals::Arrivals;
use super::batch::Rejection;
use super::key_budget::KeyBudget;
use super::landing::{LandingReport, Landings};
use super::rejects::RejectLog;
use super::replay::{ReplayLog, ReplayReport};
use super::request::AppendRequest;
use super::target::Targets;
use super::{DeleteRequest, IngestConfig, IngestError};
use crate::base::{Clock, Tasks};
use crate::catalog::{Catalog, Object};
use crate::storage::{DeleteProgress, DeleteReport, Lake, Leases, Locations, TableVersion};
use crate::telemetry::metrics;

/// What ingest is made of.
pub struct IngestParts {
    pub lake: Lake,
    pub catalog: Arc<Catalog>,
    pub config: IngestConfig,
    pub clock: Clock,
    /// Memory and spill space for work outside a statement.
    pub task: Arc<TaskContext>,
    /// Where commits run.
    pub tasks: Tasks,
}

/// Cheap to clone; clones share writers and key indexes.
#[derive(Clone)]
pub struct Ingestor(Arc<Core>);

pub(super) struct Core {
    pub lake: Lake,
    pub config: IngestConfig,
    pub task: Arc<TaskContext>,
    pub targets: Targets,
    pub rejects: Arc<RejectLog>,
    pub admission: Admission,
    pub arrivals: Arrivals,
    pub clock: Clock,
    pub tasks: Tasks,
    /// Which tables' requests this process takes; unset: all.
    pub leases: OnceLock<Leases>,
    pub replays: ReplayLog,
    pub landings: Landings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    Parquet,
    Csv,
    Tsv,
    Ndjson,
}

/// What became of the rows of one request.
#[derive(Clone, Debug)]
pub struct AppendReport {
    pub accepted: u64,
    pub duplicates: u64,
    pub rejected: Vec<Rejection>,
    /// The version that holds the accepted rows; the present one when none was.
    pub version: TableVersion,
    /// The producer sent this before: this is what it was answered then.
    pub replayed: bool,
}

/// Files to load.
#[derive(Clone, Debug)]
pub struct LoadRequest {
    pub table: String,
    /// Paths, globs, `s3://…` patterns.
    pub from: Vec<String>,
    /// By extension when `None`.
    pub format: Option<FileFormat>,
    /// (source column, table column); see `decode::mapping` for the rules.
    pub map: Vec<(String, String)>,
    /// `PATTERN[@OFFSET]`; see `decode::time`.
    pub time_format: Option<String>,
    /// Bad rows tolerated per file; `ingest.max_rejects` when `None`.
    pub max_rejects: Option<u64>,
    /// false: columns are named `column_1`… (headerless CSV and TSV).
    pub header: bool,
    pub delimiter: Option<u8>,
    /// Where files have to be; `None` = anywhere.
    pub within: Option<Locations>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileStatus {
    Loaded,
    AlreadyLoaded,
}

/// What became of one file.
#[derive(Clone, Debug)]
pub struct FileReport {
    pub file: String,
    pub status: FileStatus,
    /// Rows accepted.
    pub rows: u64,
    pub duplicates: u64,
    pub rejected: u64,
    pub version: TableVersion,
}

/// Told how far a load is.
pub trait LoadProgress: Send + Sync {
    /// Size of all files, once, at the start.
    fn total_bytes(&self, bytes: u64);
    /// More bytes read and rows accepted.
    fn advance(&self, bytes: u64, rows: u64);
    fn phase(&self, name: &str);
}

impl Ingestor {
    pub fn new(parts: IngestParts) -> Self {
        let IngestParts { lake, catalog, config, clock, task, tasks } = parts;
        let budget = KeyBudget::new(config.key_index_size);
        let landings = Landings::new(lake.clone(), catalog.clone(), clock.clone(), config.landing_files);
        let targets = Targets::new(lake.clone(), catalog, clock.clone(), budget);
        let rejects = Arc::new(RejectLog::new(lake.clone(), clock.clone()));
        let admission = Admission::new(config.queue_size);
        let replays = ReplayLog::new(lake.clone(), clock.clone());
        Self(Arc::new(Core {
            lake,
            config,
            task,
            targets,
            rejects,
            admission,
            arrivals: Arrivals::default(),
            clock,
            tasks,
            leases: OnceLock::new(),
            replays,
            landings,
        }))
    }

    pub(super) fn core(&self) -> &Core {
        &self.0
    }

    /// One request: all its valid rows in one commit, before this returns (ACK-1, GC-1). Bad rows are rejected one by one.
    ///
    /// # Errors
    /// When nothing could be committed: unknown table, a body that is no JSON array, storage trouble.
    pub async fn append(&self, request: AppendRequest) -> Result<AppendReport, IngestError> {
        self.0.lake.check_writable()?;
        let table = request.table.clone();
        let report = Box::pin(self.0.append(request)).await?;
        if !report.replayed {
            count(&table, report.accepted, report.duplicates, report.rejected.len() as u64);
        }
        Ok(report)
    }

    /// Typed rows in table column order (SQL INSERT, later Arrow over Flight): all of them, or an error and none.
    /// Duplicates by event key are dropped and counted.
    ///
    /// # Errors
    /// Names the first row that breaks NOT NULL, a CHECK or a time limit.
    pub async fn append_stream(
        &self,
        table: &str,
        rows: SendableRecordBatchStream,
        task: Arc<TaskContext>,
        cancel: CancellationToken,
    ) -> Result<AppendReport, IngestError> {
        self.0.lake.check_writable()?;
        let work = Box::pin(self.0.append_stream(table, rows, task, cancel.clone()));
        let report = cancel.run_until_cancelled(work).await.ok_or(IngestError::Cancelled)??;
        count(table, report.accepted, report.duplicates, 0);
        Ok(report)
    }

    /// The same into a table that no name leads to yet.
    ///
    /// # Errors
    /// As [`Self::append_stream`].
    pub async fn fill(
        &self,
        table: &Arc<Object>,
        rows: SendableRecordBatchStream,
        task: Arc<TaskContext>,
        cancel: CancellationToken,
    ) -> Result<AppendReport, IngestError> {
        self.0.lake.check_writable()?;
        let target = self.0.targets.open(table).await?;
        let work = Box::pin(self.0.insert(target, rows, task, cancel.clone()));
        let report = cancel.run_until_cancelled(work).await.ok_or(IngestError::Cancelled)??;
        count(&table.name, report.accepted, report.duplicates, 0);
        Ok(report)
    }

    /// Deletes rows, all or none, in one commit. Rows committed meanwhile stay, unless files that it must change were rewritten
    /// meanwhile: then it looks again, and takes those that the condition holds for.
    ///
    /// # Errors
    /// A condition that fails on a row, storage trouble, cancelled: nothing has changed.
    pub async fn delete(
        &self,
        request: DeleteRequest,
        progress: Arc<dyn Fn(DeleteProgress) + Send + Sync>,
        cancel: CancellationToken,
    ) -> Result<DeleteReport, IngestError> {
        self.0.lake.check_writable()?;
        Box::pin(self.0.delete(request, progress, cancel)).await
    }

    /// One look at the landing folder of a table: loads what is new there, each file once. One call at a time per table.
    ///
    /// # Errors
    /// A folder that cannot be listed, trouble with the record. A file that cannot be loaded is on record instead.
    pub async fn poll_landing(&self, table: &str, cancel: CancellationToken) -> Result<LandingReport, IngestError> {
        Box::pin(self.0.poll_landing(table, self.0.task.clone(), cancel)).await
    }

    /// Every landed file: on record, or on its way. The rows of `system.ingest`.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub async fn landed_files(&self) -> Result<RecordBatch, IngestError> {
        self.0.landings.files(&self.0.task).await
    }

    /// Reads rejected rows again and appends those that are good now, each once, however often it is tried (RUN-1).
    /// `rows` are of `system.rejects`, those of an interrupted replay first; see [`super::replay`].
    ///
    /// # Errors
    /// Storage trouble; what was replayed before it stays.
    pub async fn replay(
        &self,
        table: &str,
        rows: SendableRecordBatchStream,
        task: Arc<TaskContext>,
        cancel: CancellationToken,
    ) -> Result<ReplayReport, IngestError> {
        let work = Box::pin(self.0.replay(table, rows, task));
        let report = cancel.run_until_cancelled(work).await.ok_or(IngestError::Cancelled)??;
        count(table, report.replayed, report.duplicates, 0);
        Ok(report)
    }

    /// Loads files, each exactly once by content, each in one commit. Files loaded before an error stay loaded.
    ///
    /// # Errors
    /// At the first file that cannot be loaded; nothing of that file is in the table.
    pub async fn load(
        &self,
        request: LoadRequest,
        progress: Arc<dyn LoadProgress>,
        task: Arc<TaskContext>,
        cancel: CancellationToken,
    ) -> Result<Vec<FileReport>, IngestError> {
        self.0.lake.check_writable()?;
        Box::pin(self.0.load(request, progress, task, cancel)).await
    }
}

/// Counts the rows of one request.
pub(super) fn count(table: &str, accepted: u64, duplicates: u64, rejected: u64) {
    let labels = [("table", table)];
    metrics().count("ingest_rows_accepted", "Rows committed", &labels, accepted);
    metrics().count("ingest_rows_duplicate", "Rows dropped: their event key was committed before", &labels, duplicates);
    metrics().count("ingest_rows_rejected", "Rows put into the rejects table", &labels, rejected);
}

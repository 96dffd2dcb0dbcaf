//! Landing folders: `WITH (landing='dir' | 's3://bucket/prefix/')`. New files there are loaded, each exactly once.
//!
//! ```text
//! poll ─ list ─ decide (pure): new, settled, in order, within the rate ─► load (exactly once by content) ─► tables/_ingest
//!                    └─ pending: still being written, waiting for a retry
//! ```
//! RUN-1: a file is on record only after its load. Killed in between, it is found new again, and the load finds its
//! content committed. A bad file is on record with its error and does not stop the next; an error that may pass is tried
//! again, later and later. A file is new again when its size, time or ETag differs from the one on record: mended files
//! are put under their old name.
//!
//! Not here: when to poll (`jobs`).

mod decide;
mod log;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::execution::TaskContext;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::ingestor::Core;
use super::{IngestError, LoadProgress, LoadRequest};
use crate::base::{Classify, Clock, Kind, Timestamp};
use crate::catalog::{Catalog, Landing};
use crate::storage::{ExternalFile, Lake};
use crate::telemetry::metrics;

use decide::{FolderState, Mark, Pending};
use log::{FileRow, LandingLog};

/// Folder of the record below `tables/`.
pub const INGEST_PATH: &str = "_ingest";

/// Landing folders of all tables: what is on record, and what is going on.
pub struct Landings {
    clock: Clock,
    catalog: Arc<Catalog>,
    log: LandingLog,
    /// One for each file that may be loaded at once: a load keeps a thread that itself waits for other threads.
    turns: Semaphore,
    folders: Mutex<HashMap<String, Folder>>,
}

#[derive(Default)]
struct Folder {
    state: FolderState,
    /// The table what is on record was read for, by when it was made: a table made again has loaded nothing.
    known_for: Option<Timestamp>,
    /// Files not on record yet, as `system.ingest` shows them.
    live: Vec<FileRow>,
}

/// What one look at a table's landing folder did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LandingReport {
    pub loaded: u64,
    pub failed: u64,
    /// Files that are there and not loaded yet.
    pub pending: u64,
}

struct Silent;

impl LoadProgress for Silent {
    fn total_bytes(&self, _bytes: u64) {}
    fn advance(&self, _bytes: u64, _rows: u64) {}
    fn phase(&self, _name: &str) {}
}

impl Landings {
    pub fn new(lake: Lake, catalog: Arc<Catalog>, clock: Clock, files_at_once: usize) -> Self {
        let turns = Semaphore::new(files_at_once.clamp(1, Semaphore::MAX_PERMITS));
        Self { log: LandingLog::new(lake), catalog, clock, turns, folders: Mutex::default() }
    }

    /// Waits for its turn to load a file.
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        let turn = self.turns.acquire().await.ok();
        let free = self.turns.available_permits() as f64;
        metrics().set("ingest_landing_free", "Landed files that could be loaded besides those that are", &[], free);
        turn
    }

    fn with<T>(&self, table: &str, work: impl FnOnce(&mut Folder) -> T) -> T {
        work(self.folders.lock().entry(table.to_owned()).or_default())
    }

    /// Every file on record, and those on their way; columns as [`log::columns`].
    pub async fn files(&self, task: &Arc<TaskContext>) -> Result<RecordBatch, IngestError> {
        let live: Vec<FileRow> = self.folders.lock().values().flat_map(|folder| folder.live.clone()).collect();
        self.log.all(&live, task).await
    }

    /// Reads what is on record of a table, once.
    async fn know(&self, table: &str, task: &Arc<TaskContext>) -> Result<(), IngestError> {
        let made_at = self.catalog.snapshot().relation(table)?.created_at;
        if self.with(table, |folder| folder.known_for == Some(made_at)) {
            return Ok(());
        }
        let marks = self.log.handled(table, made_at, task).await?;
        self.with(table, |folder| {
            *folder = Folder { known_for: Some(made_at), ..Folder::default() };
            folder.state.handled.extend(marks);
        });
        Ok(())
    }
}

impl Core {
    /// One look at the landing folder of a table; loads what is new. Not to be called twice at once for one table.
    pub(super) async fn poll_landing(
        &self,
        table: &str,
        task: Arc<TaskContext>,
        cancel: CancellationToken,
    ) -> Result<LandingReport, IngestError> {
        let target = self.targets.resolve(table).await?;
        let Some(landing) = target.definition.ingest.landing.clone() else {
            self.landings.folders.lock().remove(table);
            return Ok(LandingReport::default());
        };
        self.landings.know(table, &task).await?;
        let found = match self.lake.list_landing(&landing.from).await {
            Ok(found) => found,
            Err(error) => {
                let row = FileRow::folder(table, &landing.from, error.public_message(), self.landings.clock.now());
                self.landings.with(table, |folder| folder.live = vec![row]);
                return Err(error.into());
            }
        };
        let marks: Vec<(String, Mark)> = found.iter().map(|file| (file.path.clone(), Mark::of(file))).collect();
        let now = self.landings.clock.now();
        let decided = self.landings.with(table, |folder| {
            let decided = folder.state.decide(&marks, landing.order, now);
            let row = |path: &String, mark: &Mark, why: &str| FileRow::waiting(table, path, mark, why);
            folder.live = decided.ready.iter().map(|(path, mark)| row(path, mark, "")).collect();
            folder.live.extend(decided.pending.iter().map(|Pending { path, mark, why }| row(path, mark, why)));
            decided
        });
        let mut report = LandingReport { pending: decided.pending.len() as u64, ..LandingReport::default() };
        for (path, mark) in decided.ready {
            let now = self.landings.clock.now();
            let may_begin =
                !cancel.is_cancelled() && self.landings.with(table, |folder| folder.state.may_begin(landing.rate, now));
            let file = found.iter().find(|file| file.path == path);
            let (true, Some(file)) = (may_begin, file) else {
                report.pending += 1;
                continue;
            };
            let _turn = self.landings.turn().await;
            self.land(table, &landing, (file, mark), &mut report, (&task, &cancel)).await?;
        }
        Ok(report)
    }

    /// Loads one file and puts it on record.
    async fn land(
        &self,
        table: &str,
        landing: &Landing,
        (file, mark): (&ExternalFile, Mark),
        report: &mut LandingReport,
        (task, cancel): (&Arc<TaskContext>, &CancellationToken),
    ) -> Result<(), IngestError> {
        let landings = &self.landings;
        let started_at = landings.clock.now();
        landings.with(table, |folder| {
            if let Some(row) = folder.live.iter_mut().find(|row| row.file == file.path) {
                row.begin(started_at);
            }
        });
        let request = request(table, landing);
        let loaded = match request {
            Ok(request) => {
                let work = self.load_files(request, vec![file.clone()], Arc::new(Silent), task.clone(), cancel.clone());
                Box::pin(work).await
            }
            Err(error) => Err(error),
        };
        let now = landings.clock.now();
        let row = match loaded {
            Ok(reports) => {
                report.loaded += 1;
                FileRow::finished(table, (file, &mark), reports.first(), (started_at, now))
            }
            Err(error @ (IngestError::Cancelled | IngestError::NotOwner { .. })) => return Err(error),
            Err(error) if may_pass(error.kind()) => {
                report.pending += 1;
                tracing::warn!(table, file = %file.path, %error, "a landed file cannot be loaded now; it is tried again");
                let text = error.public_message();
                landings.with(table, |folder| {
                    let not_before = folder.state.retry_later(&file.path, &mark, now);
                    if let Some(row) = folder.live.iter_mut().find(|row| row.file == file.path) {
                        row.retry(&text, not_before);
                    }
                });
                return Ok(());
            }
            Err(error) => {
                report.failed += 1;
                tracing::warn!(table, file = %file.path, %error, "a landed file cannot be loaded");
                FileRow::failed(table, (file, &mark), error.public_message(), (started_at, now))
            }
        };
        let status = row.status;
        landings.log.add(&row, task).await?;
        landings.with(table, |folder| {
            folder.state.handle(&file.path, mark);
            folder.live.retain(|live| live.file != file.path);
        });
        metrics().count("landing_files", "Files of landing folders", &[("table", table), ("status", status)], 1);
        Ok(())
    }
}

fn request(table: &str, landing: &Landing) -> Result<LoadRequest, IngestError> {
    Ok(LoadRequest {
        table: table.to_owned(),
        from: vec![landing.from.clone()],
        format: landing.format.as_deref().map(str::parse).transpose()?,
        map: landing.map.clone(),
        time_format: landing.time_format.clone(),
        max_rejects: None,
        header: true,
        delimiter: None,
        within: None,
    })
}

/// Whether the same file may load later.
fn may_pass(kind: Kind) -> bool {
    match kind {
        Kind::ResourceExhausted | Kind::Unavailable | Kind::DeadlineExceeded | Kind::Conflict | Kind::Internal => true,
        Kind::InvalidArgument
        | Kind::NotFound
        | Kind::AlreadyExists
        | Kind::FailedPrecondition
        | Kind::Unauthenticated
        | Kind::PermissionDenied
        | Kind::Cancelled
        | Kind::Unimplemented
        | Kind::DataLoss => false,
    }
}

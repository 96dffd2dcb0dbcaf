//! `load` and COPY INTO: files → rows, each file exactly once by its content, in one commit.
//!
//! ```text
//! hash content ─ committed before? ─► AlreadyLoaded
//!      └─ decode ─ validate ─ dedup ─┐ blocking thread
//!                  sort ─ write files ◄┘ bounded channel
//!                          └─ rejects commit ─ data commit, both under transaction load:<hash>
//! ```
//!
//! RUN-1: nothing is visible before the data commit, and that commit happens once per content: a load killed at any
//! instant and run again leaves the state of one run.

mod file;
mod pipeline;
mod source;

use std::sync::Arc;

use datafusion::execution::TaskContext;
use tokio_util::sync::CancellationToken;

use super::decode::{ColumnMap, TimeReader};
use super::ingestor::{Core, count};
use super::target::Target;
use super::{FileReport, IngestError, LoadProgress, LoadRequest};
use crate::catalog::OnError;
use crate::storage::ExternalFile;

/// What the files of one request share.
struct Load {
    request: LoadRequest,
    target: Target,
    map: ColumnMap,
    times: TimeReader,
    max_rejects: u64,
    max_row_bytes: usize,
    progress: Arc<dyn LoadProgress>,
    task: Arc<TaskContext>,
    cancel: CancellationToken,
}

impl Core {
    pub(super) async fn load(
        &self,
        request: LoadRequest,
        progress: Arc<dyn LoadProgress>,
        task: Arc<TaskContext>,
        cancel: CancellationToken,
    ) -> Result<Vec<FileReport>, IngestError> {
        // A wrong table or map is said before files are looked for.
        let target = self.targets.resolve(&request.table).await?;
        ColumnMap::new(&request.map, &target.columns)?;
        let files = self.find_files(&request).await?;
        self.load_files(request, files, progress, task, cancel).await
    }

    /// Loads these files, in this order; `request.from` is not looked at.
    pub(super) async fn load_files(
        &self,
        request: LoadRequest,
        files: Vec<ExternalFile>,
        progress: Arc<dyn LoadProgress>,
        task: Arc<TaskContext>,
        cancel: CancellationToken,
    ) -> Result<Vec<FileReport>, IngestError> {
        for file in &files {
            source::format_of(&request, &file.path)?;
        }
        let target = self.targets.resolve(&request.table).await?;
        let options = &target.definition.ingest;
        let map = ColumnMap::new(&request.map, &target.columns)?.with_unknown(options.unknown_fields);
        let times = match &request.time_format {
            Some(pattern) => TimeReader::pattern(pattern).map_err(|message| IngestError::Invalid { message })?,
            None => TimeReader::standard(),
        };
        progress.total_bytes(files.iter().map(|file| file.bytes).sum());
        let max_rejects = request.max_rejects.unwrap_or(match options.on_error {
            OnError::Reject => self.config.max_rejects,
            OnError::Fail => 0,
        });
        let max_row_bytes = self.config.max_row_size.as_usize();
        let load = Arc::new(Load { request, target, map, times, max_rejects, max_row_bytes, progress, task, cancel });
        let mut reports = Vec::with_capacity(files.len());
        for file in files {
            if load.cancel.is_cancelled() {
                return Err(IngestError::Cancelled);
            }
            let loaded = Box::pin(self.load_file(&load, &file)).await;
            let report = self.told(&load.target, loaded).await?;
            count(&load.target.name, report.rows, report.duplicates, report.rejected);
            reports.push(report);
        }
        Ok(reports)
    }

    /// The files of all patterns, each once.
    async fn find_files(&self, request: &LoadRequest) -> Result<Vec<ExternalFile>, IngestError> {
        let mut files: Vec<ExternalFile> = Vec::new();
        for pattern in &request.from {
            let found = self.lake.list_external(pattern, request.within.as_ref()).await?;
            if found.is_empty() {
                return Err(IngestError::Invalid { message: format!("no file matches '{pattern}'") });
            }
            for file in found {
                if !files.iter().any(|known| known.path == file.path) {
                    files.push(file);
                }
            }
        }
        if files.is_empty() {
            return Err(IngestError::Invalid { message: "no file to load was named".to_owned() });
        }
        Ok(files)
    }
}

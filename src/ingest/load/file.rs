//! One file, exactly once: hash, decode, write, commit.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use tokio::runtime::Handle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::pipeline::{CHANNEL_BATCHES, Kept, Passed, Pipeline, Rejections, Sink};
use super::{Load, source};
use crate::ingest::append::{DEDUP_ATTEMPTS, blocking};
use crate::ingest::dedup::Dedup;
use crate::ingest::ingestor::Core;
use crate::ingest::snapshot::Upserted;
use crate::ingest::validate::Arrival;
use crate::ingest::writer::{CommitLabel, Sealed, Staged, WriterGuard};
use crate::ingest::{FileReport, FileStatus, IngestError};
use crate::storage::{ExternalFile, InputOrder, LocalFile, StorageError, TableVersion, Transaction, WriteOptions};

const HASH_READ_BYTES: usize = 1 << 20;

/// Content that is loaded at most once.
struct Content {
    name: String,
    bytes: u64,
    local: LocalFile,
    transaction: Transaction,
}

/// Written, not committed.
struct Written {
    staged: Staged,
    rejections: Rejections,
    rows: u64,
    duplicates: u64,
}

impl Core {
    pub(super) async fn load_file(&self, load: &Arc<Load>, file: &ExternalFile) -> Result<FileReport, IngestError> {
        load.progress.phase("hashing");
        let local = file.local().await?;
        let hash = content_hash(local.path.clone(), load.cancel.clone()).await.map_err(|error| named(error, file))?;
        let transaction = Transaction { app_id: format!("load:{hash}"), version: 1 };
        let content = Content { name: file.path.clone(), bytes: file.bytes, local, transaction };
        let snapshot = load.target.writer.table.refresh().await?;
        if snapshot.transaction_version(&content.transaction.app_id).is_some() {
            load.progress.advance(content.bytes, 0);
            return Ok(already(&content, snapshot.version()));
        }
        load.progress.phase("loading");
        let report = match load.target.snapshot_key() {
            Some(_) => self.load_snapshot(load, &content).await,
            None => self.load_events(load, &content).await,
        };
        let report = report.map_err(|error| named(error, file))?;
        let FileReport { file, status, rows, duplicates, rejected, version } = &report;
        tracing::info!(table = %load.target.name, file, ?status, rows, duplicates, rejected, %version, "file loaded");
        Ok(report)
    }

    async fn load_events(&self, load: &Arc<Load>, content: &Content) -> Result<FileReport, IngestError> {
        // First without the lock: a long load lets others write meanwhile. When somebody committed some of the same
        // events, it is done again with the lock held.
        let mut held: Option<WriterGuard> = None;
        for _ in 0..DEDUP_ATTEMPTS {
            if held.is_none() {
                load.target.writer.lock().await.advance(&load.task).await?;
            }
            let written = self.write_file(load, content).await?;
            load.progress.phase("committing");
            let guard = match held.take() {
                Some(guard) => guard,
                None => load.target.writer.lock().await,
            };
            let Written { staged, rejections, rows, duplicates } = written;
            let rejected = rejections.count;
            self.commit_rejections(rejections, content).await?;
            match guard.seal(staged, label(content, rows, duplicates, rejected), &load.task).await? {
                Sealed::Committed(version) => {
                    let file = content.name.clone();
                    return Ok(FileReport { file, status: FileStatus::Loaded, rows, duplicates, rejected, version });
                }
                Sealed::AlreadyCommitted(version) => return Ok(already(content, version)),
                Sealed::Repeats => {
                    guard.advance(&load.task).await?;
                    held = Some(guard);
                }
            }
        }
        Err(StorageError::Crowded { table: load.target.name.clone() }.into())
    }

    /// Cancelled after this point, rejections may be on record of a file that is not loaded yet; the next run adds none.
    async fn load_snapshot(&self, load: &Arc<Load>, content: &Content) -> Result<FileReport, IngestError> {
        let passed = self.pass(load, content, Sink::Held { batches: Vec::new(), bytes: 0 }).await?;
        load.progress.phase("committing");
        let Passed { kept, rejections, rows } = passed;
        let rejected = rejections.count;
        self.commit_rejections(rejections, content).await?;
        let batches = match kept {
            Kept::Held(batches) => batches,
            Kept::Unique(_) => Vec::new(),
        };
        let label = label(content, rows, 0, rejected);
        Ok(match self.upsert(&load.target, batches, label, &load.task).await? {
            Upserted::Committed { accepted, superseded, version } => FileReport {
                file: content.name.clone(),
                status: FileStatus::Loaded,
                rows: accepted,
                duplicates: superseded,
                rejected,
                version,
            },
            Upserted::AlreadyCommitted(version) => already(content, version),
        })
    }

    /// LATE-1: on record before the rows that came with them, once per content.
    async fn commit_rejections(&self, rejections: Rejections, content: &Content) -> Result<(), IngestError> {
        if rejections.staged.is_empty() {
            return Ok(());
        }
        self.rejects.commit(rejections.staged, Some(content.transaction.clone())).await
    }

    /// Runs the file through decoding and validation into `sink`.
    async fn pass(&self, load: &Arc<Load>, content: &Content, sink: Sink) -> Result<Passed, IngestError> {
        let pipeline = Pipeline {
            load: load.clone(),
            file: content.name.clone(),
            file_bytes: content.bytes,
            validator: self.targets.validator(&load.target, Arrival::Backfill),
            sink,
            rejects: self.rejects.clone(),
            runtime: Handle::current(),
        };
        let path = content.local.path.clone();
        blocking(move || {
            let source = source::open(&pipeline.load, &path, &pipeline.file)?;
            pipeline.run(source)
        })
        .await
    }

    async fn write_file(&self, load: &Arc<Load>, content: &Content) -> Result<Written, IngestError> {
        let (sender, receiver) = tokio::sync::mpsc::channel(CHANNEL_BATCHES);
        let dedup = Box::new(load.target.dedup(&load.task)?);
        let passing = self.pass(load, content, Sink::Unique { dedup, sender });
        let rows = RecordBatchStreamAdapter::new(load.target.columns.clone(), ReceiverStream::new(receiver));
        let options = WriteOptions { order: InputOrder::Unsorted, context: load.task.clone() };
        let table = &load.target.writer.table;
        let (passed, files) = tokio::join!(passing, table.write_files(Box::pin(rows), options));
        let (passed, files) = match (passed, files) {
            (Ok(passed), Ok(files)) => (passed, files),
            (Ok(passed), Err(error)) => {
                self.rejects.discard(passed.rejections.staged).await;
                return Err(error.into());
            }
            (Err(error), files) => {
                table.discard(files.unwrap_or_default()).await;
                return Err(error);
            }
        };
        let Passed { kept, rejections, rows } = passed;
        let (duplicates, pending) = match kept {
            Kept::Unique(dedup) => (dedup.duplicates(), Dedup::into_pending(*dedup)),
            Kept::Held(_) => (0, None),
        };
        Ok(Written { staged: Staged { files, pending }, rejections, rows, duplicates })
    }
}

fn already(content: &Content, version: TableVersion) -> FileReport {
    let file = content.name.clone();
    FileReport { file, status: FileStatus::AlreadyLoaded, rows: 0, duplicates: 0, rejected: 0, version }
}

fn label(content: &Content, rows: u64, duplicates: u64, rejected: u64) -> CommitLabel {
    let info = BTreeMap::from([
        ("file".to_owned(), content.name.clone().into()),
        ("rows".to_owned(), rows.into()),
        ("duplicates".to_owned(), duplicates.into()),
        ("rejected".to_owned(), rejected.into()),
    ]);
    CommitLabel {
        operation: "LOAD",
        transaction: Some(content.transaction.clone()),
        producers: Vec::new(),
        fence: None,
        info,
    }
}

/// Puts the file's name before a message about it.
fn named(error: IngestError, file: &ExternalFile) -> IngestError {
    match error {
        IngestError::Invalid { message } => IngestError::BadFile { file: file.path.clone(), message },
        other => other,
    }
}

/// blake3 of the content, in hexadecimal.
async fn content_hash(path: PathBuf, cancel: CancellationToken) -> Result<String, IngestError> {
    blocking(move || hash_file(&path, &cancel)).await
}

fn hash_file(path: &Path, cancel: &CancellationToken) -> Result<String, IngestError> {
    let unreadable = |error| IngestError::Invalid { message: format!("cannot be read: {error}") };
    let mut file = File::open(path).map_err(unreadable)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; HASH_READ_BYTES];
    loop {
        let read = file.read(&mut buffer).map_err(unreadable)?;
        if read == 0 {
            return Ok(hasher.finalize().to_hex().to_string());
        }
        if cancel.is_cancelled() {
            return Err(IngestError::Cancelled);
        }
        hasher.update(&buffer[..read]);
    }
}

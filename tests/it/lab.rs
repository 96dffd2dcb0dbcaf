//! An engine over a lake of its own, without servers: what query tests stand on.
//!
//! INSERT and DELETE commit by themselves here: what `ingest` adds (keys, checks, rejects) is tested with ingest.

use std::collections::BTreeMap;
use std::sync::Arc;

use adlake::base::{Classify, Clock, Tasks, Timestamp};
use adlake::catalog::{Catalog, CopyInto, Maintain, Refresh, Replay};
use adlake::config;
use adlake::materialize::{RefreshParts, Refresher};
use adlake::query::{
    Answer, CommandContext, CommandError, Commands, DeleteRows, Engine, EngineParts, Origin, Outcome, QueryError,
    Request, Session, WriteReport, explained,
};
use adlake::storage::{
    CommitMode, CommitRequest, DeleteOptions, DeleteReport, InputOrder, Lake, LakeLocation, StorageError, WriteOptions,
};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;
use tempfile::TempDir;

/// 2026-01-02T03:04:05Z, where clocks of these tests stand.
pub const NOW: Timestamp = Timestamp(1_767_323_045_000_000);

pub struct Lab {
    pub engine: Engine,
    pub lake: Lake,
    pub catalog: Arc<Catalog>,
    pub session: Arc<Session>,
    pub tasks: Tasks,
    pub folder: TempDir,
}

impl Lab {
    pub async fn open() -> Self {
        Self::with(&[]).await
    }

    pub async fn with(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let own = [("storage.poll_interval", "0 s"), ("query.threads", "2")];
        let own = own.into_iter().chain(settings.iter().copied());
        let mut overrides = crate::place::settings(folder.path());
        overrides.extend(own.map(|(key, value)| (key.into(), value.into())));
        let loaded = config::load(None, &[], &overrides).unwrap();
        let clock = Clock::manual(NOW);
        let location: LakeLocation = crate::place::location(folder.path()).parse().unwrap();
        let lake = Lake::open(&location, &loaded.config.storage, clock.clone()).await.unwrap();
        let catalog = Catalog::open(&lake, clock.clone()).await.unwrap();
        let tasks = Tasks::new();
        let parts = EngineParts {
            lake: lake.clone(),
            catalog: catalog.clone(),
            config: loaded.config.query.clone(),
            settings: vec![("query.threads".into(), "2".into(), "test".into())],
            clock: clock.clone(),
            tasks: tasks.clone(),
        };
        let engine = Engine::start(parts).await.unwrap();
        let refresher = Refresher::new(RefreshParts {
            engine: engine.clone(),
            lake: lake.clone(),
            catalog: catalog.clone(),
            clock,
            slice_rows: loaded.config.materialize.slice_rows,
        });
        engine.plug(Arc::new(Writer { lake: lake.clone(), catalog: catalog.clone(), refresher }));
        let session = Session::new("lab", "tester", Origin::Internal);
        Self { engine, lake, catalog, session, tasks, folder }
    }

    pub fn request(&self, sql: &str) -> Request {
        Request::new(sql, &self.session)
    }

    /// Runs a statement that must succeed, to its end.
    pub async fn run(&self, sql: &str) -> Answered {
        self.try_run(sql).await.unwrap_or_else(|error| panic!("{sql}\n{error}"))
    }

    pub async fn try_run(&self, sql: &str) -> Result<Answered, QueryError> {
        self.try_request(self.request(sql)).await
    }

    pub async fn try_request(&self, request: Request) -> Result<Answered, QueryError> {
        let Answer { schema, outcome, details, .. } = self.engine.execute(request).await?;
        Ok(match outcome {
            Outcome::Rows(stream) => {
                let batches = stream.try_collect::<Vec<RecordBatch>>().await?;
                assert!(
                    batches.iter().all(|batch| batch.schema() == schema),
                    "rows have another schema than announced"
                );
                Answered { rows: table(&batches), batches, affected: None, message: String::new() }
            }
            Outcome::Done { rows, message } => Answered {
                rows: details.map(|details| table(&[details])).unwrap_or_default(),
                batches: Vec::new(),
                affected: rows,
                message,
            },
        })
    }

    /// The rows of a query as text, cells joined by a bar.
    pub async fn rows(&self, sql: &str) -> Vec<String> {
        self.run(sql).await.rows.into_iter().map(|row| row.join("|")).collect()
    }

    /// Message of a statement that must fail.
    pub async fn error(&self, sql: &str) -> String {
        match self.try_run(sql).await {
            Err(error) => format!("{}: {}", error.kind(), error.public_message()),
            Ok(answered) => panic!("{sql} gave {:?} {}", answered.rows, answered.message),
        }
    }
}

pub struct Answered {
    pub rows: Vec<Vec<String>>,
    pub batches: Vec<RecordBatch>,
    pub affected: Option<u64>,
    pub message: String,
}

/// Cells as text; null is `NULL`.
fn table(batches: &[RecordBatch]) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("NULL").with_display_error(true);
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<ArrayFormatter> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|column| column.value(row).to_string()).collect());
        }
    }
    rows
}

/// INSERT as one plain commit, DELETE, REFRESH and what tells of it as they are.
struct Writer {
    lake: Lake,
    catalog: Arc<Catalog>,
    refresher: Refresher,
}

#[async_trait]
impl Commands for Writer {
    async fn insert(
        &self,
        table: &str,
        rows: SendableRecordBatchStream,
        context: CommandContext,
    ) -> Result<WriteReport, CommandError> {
        let failed = |error: adlake::storage::StorageError| CommandError::from_error(&error);
        let object = self.catalog.snapshot().relation(table).unwrap().clone();
        let table = self.lake.open_table(object.table_path.as_ref().unwrap()).await.map_err(failed)?;
        let options = WriteOptions { order: InputOrder::Unsorted, context: context.task };
        let files = match table.write_files(rows, options).await {
            Ok(files) => files,
            Err(adlake::storage::StorageError::Engine { source, .. }) => {
                return Err(CommandError::from_error(&QueryError::from(*source)));
            }
            Err(error) => return Err(failed(error)),
        };
        if context.cancel.is_cancelled() {
            return Err(CommandError::from_error(&QueryError::Cancelled));
        }
        let accepted = files.iter().map(|file| file.rows).sum();
        let request = CommitRequest {
            files,
            mode: CommitMode::Append,
            transactions: Vec::new(),
            fence: None,
            expected: None,
            operation: "INSERT",
            info: BTreeMap::new(),
        };
        table.commit(request).await.map_err(failed)?;
        Ok(WriteReport { accepted, duplicates: 0, rejected: 0 })
    }

    async fn delete(&self, delete: DeleteRows, context: CommandContext) -> Result<DeleteReport, CommandError> {
        let object = self.catalog.snapshot().relation(&delete.table).unwrap().clone();
        let table = self.lake.open_table(object.table_path.as_ref().unwrap()).await.unwrap();
        let options = DeleteOptions { cancel: context.cancel, progress: Arc::new(|_| {}) };
        let deleted = table.delete_rows((delete.base, &delete.rows), &options, || async {}).await;
        deleted.map_err(|error| match error {
            StorageError::Engine { source, .. } => CommandError::from_error(&QueryError::from(*source)),
            other => CommandError::from_error(&other),
        })
    }

    async fn copy_into(&self, _copy: CopyInto, _context: CommandContext) -> Result<RecordBatch, CommandError> {
        let message = "COPY is tested with ingest".to_owned();
        Err(CommandError::new(adlake::base::Kind::Unimplemented, message))
    }

    async fn maintain(
        &self,
        _maintain: Maintain,
        _context: CommandContext,
    ) -> Result<(RecordBatch, String), CommandError> {
        let message = "OPTIMIZE and VACUUM are tested with the app".to_owned();
        Err(CommandError::new(adlake::base::Kind::Unimplemented, message))
    }

    async fn replay(&self, _replay: Replay, _context: CommandContext) -> Result<WriteReport, CommandError> {
        let message = "REPLAY is tested with ingest".to_owned();
        Err(CommandError::new(adlake::base::Kind::Unimplemented, message))
    }

    async fn refresh(&self, refresh: Refresh, context: CommandContext) -> Result<u64, CommandError> {
        let report = self.refresher.refresh(&refresh.view, &refresh.scope, context.task, context.cancel).await;
        report.map(|report| report.rows).map_err(|error| CommandError::from_error(&error))
    }

    async fn explain_refresh(&self, view: &str, _context: CommandContext) -> Result<RecordBatch, CommandError> {
        let status = self.refresher.status(view).await.map_err(|error| CommandError::from_error(&error))?;
        explained(status.explained())
    }

    async fn verify(
        &self,
        view: &str,
        range: Option<(String, String)>,
        context: CommandContext,
    ) -> Result<RecordBatch, CommandError> {
        let found = self.refresher.verify(view, range.as_ref(), context.cancel).await;
        found.map_err(|error| CommandError::from_error(&error))
    }
}

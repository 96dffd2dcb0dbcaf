//! The `Commands` plug: INSERT, DELETE, COPY and REPLAY go to ingest, REFRESH to materialize, OPTIMIZE and VACUUM to storage.
//! Translation only.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::execution::SendableRecordBatchStream;

use crate::base::{Kind, Span};
use crate::catalog::{Catalog, CopyInto, Maintain, MaintainWork, ObjectKind, Refresh, Replay};
use crate::ingest::{
    AppendReport, DeleteRequest, FileReport, FileStatus, IngestError, Ingestor, LoadProgress, LoadRequest, ReplayReport,
};
use crate::materialize::Refresher;
use crate::query::{
    CommandContext, CommandError, Commands, DeleteRows, Engine, Progress, QueryError, WriteReport, explained,
};
use crate::storage::{DeleteProgress, DeleteReport, Maintainer, StorageError};

/// What query reaches through its plug.
pub(super) struct Wiring {
    pub ingestor: Ingestor,
    pub refresher: Refresher,
    pub maintainer: Arc<Maintainer>,
    pub catalog: Arc<Catalog>,
    pub engine: Engine,
}

#[async_trait]
impl Commands for Wiring {
    async fn insert(
        &self,
        table: &str,
        rows: SendableRecordBatchStream,
        context: CommandContext,
    ) -> Result<WriteReport, CommandError> {
        let report = self.ingestor.append_stream(table, rows, context.task, context.cancel).await;
        let AppendReport { accepted, duplicates, rejected, .. } = report.map_err(inserting)?;
        Ok(WriteReport { accepted, duplicates, rejected: rejected.len() as u64 })
    }

    async fn delete(&self, delete: DeleteRows, context: CommandContext) -> Result<DeleteReport, CommandError> {
        let DeleteRows { table, base, rows } = delete;
        let told = context.progress;
        told.phase("deleting");
        let progress = Arc::new(move |step: DeleteProgress| match step {
            DeleteProgress::Found { bytes } => told.total_bytes(bytes),
            DeleteProgress::Done { bytes, rows_deleted } => told.advance(bytes, rows_deleted),
            DeleteProgress::Committing => told.phase("committing"),
        });
        let deleted = self.ingestor.delete(DeleteRequest { table, base, rows }, progress, context.cancel).await;
        deleted.map_err(deleting)
    }

    async fn copy_into(&self, copy: CopyInto, context: CommandContext) -> Result<RecordBatch, CommandError> {
        let request = LoadRequest::from_options(copy.table, vec![copy.from], &copy.options)
            .map_err(|error| CommandError::from_error(&error))?;
        let request = LoadRequest { within: context.reach.locations(), ..request };
        let progress = Arc::new(Forward(context.progress));
        let reports = self.ingestor.load(request, progress, context.task, context.cancel).await;
        report_batch(&reports.map_err(|error| CommandError::from_error(&error))?)
    }

    async fn replay(&self, replay: Replay, context: CommandContext) -> Result<WriteReport, CommandError> {
        let sql = replay_query(&replay);
        let rejects = self.engine.open_query(&sql, context.cancel.clone()).await;
        let rows = rejects.map_err(|error| CommandError::from_error(&error))?.stream;
        let report = self.ingestor.replay(&replay.table, rows, context.task, context.cancel).await;
        let ReplayReport { replayed, duplicates, rejected } = report.map_err(inserting)?;
        Ok(WriteReport { accepted: replayed, duplicates, rejected })
    }

    async fn landed_files(&self) -> Result<Option<RecordBatch>, CommandError> {
        let files = self.ingestor.landed_files().await;
        files.map(Some).map_err(|error| CommandError::from_error(&error))
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

    async fn maintain(
        &self,
        maintain: Maintain,
        context: CommandContext,
    ) -> Result<(RecordBatch, String), CommandError> {
        let Maintain { table, work } = maintain;
        let object = self.catalog.snapshot().relation(&table).cloned();
        let object = object.map_err(|error| CommandError::from_error(&error))?;
        let Some(path) = &object.table_path else {
            let message = match object.kind {
                ObjectKind::MaterializedView => format!("materialized view '{table}' has no files yet"),
                kind => format!("'{table}' is a {kind}; only tables and materialized views have files"),
            };
            return Err(CommandError::new(Kind::InvalidArgument, message));
        };
        match work {
            MaintainWork::Optimize => self.optimize(path, &context).await,
            MaintainWork::Vacuum { retain } => self.vacuum(path, retain, &context).await,
        }
    }
}

impl Wiring {
    async fn optimize(&self, path: &str, context: &CommandContext) -> Result<(RecordBatch, String), CommandError> {
        let done = self.maintainer.optimize(path, &context.cancel).await;
        let done = done.map_err(|error| CommandError::from_error(&error))?;
        let row = one_row(&[
            ("files_before", done.files_before),
            ("files_after", done.files_after),
            ("tasks", done.tasks),
            ("superseded", done.superseded),
            ("rows", done.rows),
            ("bytes_in", done.bytes_in),
            ("bytes_out", done.bytes_out),
        ])?;
        Ok((row, format!("{} files before, {} after", done.files_before, done.files_after)))
    }

    async fn vacuum(
        &self,
        path: &str,
        retain: Option<Span>,
        context: &CommandContext,
    ) -> Result<(RecordBatch, String), CommandError> {
        let done = self.maintainer.vacuum(path, retain, &context.cancel).await;
        let done = done.map_err(|error| CommandError::from_error(&error))?;
        let row = one_row(&[
            ("files_deleted", done.files_deleted),
            ("bytes_deleted", done.bytes_deleted),
            ("files_kept", done.files_kept),
        ])?;
        Ok((row, format!("{} files deleted", done.files_deleted)))
    }
}

/// A report of numbers.
fn one_row(numbers: &[(&str, u64)]) -> Result<RecordBatch, CommandError> {
    let column = |number: u64| -> ArrayRef { Arc::new(Int64Array::from(vec![i64::try_from(number).ok()])) };
    let columns = numbers.iter().map(|(name, number)| (*name, column(*number), true));
    RecordBatch::try_from_iter_with_nullable(columns)
        .map_err(|error| CommandError::new(Kind::Internal, format!("cannot report the work: {error}")))
}

/// The rejects to replay: first whole the ones an interrupted replay of the table had begun, then those asked for.
fn replay_query(replay: &Replay) -> String {
    let table = replay.table.replace('\'', "''");
    let predicate = replay.predicate.as_deref().unwrap_or("TRUE");
    format!(
        "SELECT reject_id, format, read_as, \"row\", raw, CASE WHEN status = 'replaying' THEN replay_id END AS pending \
         FROM system.rejects WHERE table_name = '{table}' AND reject_id IS NOT NULL \
         AND (status = 'replaying' OR (status <> 'replayed' AND (\n{predicate}\n))) \
         ORDER BY pending NULLS LAST, rejected_at, source, line"
    )
}

/// An error of the query whose rows were inserted is query's own, whatever carried it here.
fn inserting(error: IngestError) -> CommandError {
    let error = match error {
        IngestError::Source(inner) => return CommandError::from_error(&QueryError::from(*inner)),
        other => other,
    };
    let told = CommandError::from_error(&error);
    match error.root() {
        IngestError::Busy { retry_after, .. } => CommandError { retry_after: Some(*retry_after), ..told },
        IngestError::NotOwner { http, grpc, .. } => CommandError { owner: Some((http.clone(), grpc.clone())), ..told },
        _ => told,
    }
}

/// A condition that fails on a row is query's own error, whatever carried it here.
fn deleting(error: IngestError) -> CommandError {
    match error {
        IngestError::Storage(StorageError::Engine { source, .. }) => {
            CommandError::from_error(&QueryError::from(*source))
        }
        other => CommandError::from_error(&other),
    }
}

/// Hands ingest's progress to the statement's.
struct Forward(Arc<dyn Progress>);

impl LoadProgress for Forward {
    fn total_bytes(&self, bytes: u64) {
        self.0.total_bytes(bytes);
    }

    fn advance(&self, bytes: u64, rows: u64) {
        self.0.advance(bytes, rows);
    }

    fn phase(&self, name: &str) {
        self.0.phase(name);
    }
}

/// One row per file: file, status, rows, duplicates, rejected, version.
fn report_batch(reports: &[FileReport]) -> Result<RecordBatch, CommandError> {
    let number = |pick: fn(&FileReport) -> u64| -> ArrayRef {
        Arc::new(reports.iter().map(|report| i64::try_from(pick(report)).ok()).collect::<Int64Array>())
    };
    let status = |report: &FileReport| match report.status {
        FileStatus::Loaded => "loaded",
        FileStatus::AlreadyLoaded => "already loaded",
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(reports.iter().map(|report| Some(report.file.as_str())).collect::<StringArray>()),
        Arc::new(reports.iter().map(|report| Some(status(report))).collect::<StringArray>()),
        number(|report| report.rows),
        number(|report| report.duplicates),
        number(|report| report.rejected),
        number(|report| report.version.0),
    ];
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let count = |name: &str| Field::new(name, DataType::Int64, true);
    let fields =
        vec![text("file"), text("status"), count("rows"), count("duplicates"), count("rejected"), count("version")];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|error| CommandError::new(Kind::Internal, format!("cannot report the load: {error}")))
}

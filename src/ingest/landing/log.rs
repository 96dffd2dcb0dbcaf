//! The record of landed files: the table `tables/_ingest`, one row per file that was loaded or failed. `system.ingest`
//! shows it, with the files on their way.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use datafusion::execution::TaskContext;

use super::INGEST_PATH;
use super::decide::Mark;
use crate::base::Timestamp;
use crate::ingest::own_rows::own_rows;
use crate::ingest::{FileReport, FileStatus, IngestError};
use crate::storage::{ExternalFile, Lake, OwnCommit, OwnTable};

/// One file.
#[derive(Clone, Debug)]
pub struct FileRow {
    pub table: String,
    pub file: String,
    pub status: &'static str,
    mark: Mark,
    counts: Option<[u64; 4]>,
    error: Option<String>,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
}

fn moment() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Columns of the record; all nullable, so that later versions can add some.
pub fn columns() -> SchemaRef {
    let field = |(name, data_type): (&str, DataType)| Field::new(name, data_type, true);
    let fields = [
        ("source", DataType::Utf8),
        ("table_name", DataType::Utf8),
        ("file", DataType::Utf8),
        ("status", DataType::Utf8),
        ("rows", DataType::Int64),
        ("duplicates", DataType::Int64),
        ("rejected", DataType::Int64),
        ("bytes", DataType::Int64),
        ("error", DataType::Utf8),
        ("started_at", moment()),
        ("finished_at", moment()),
        ("version", DataType::Int64),
        ("modified_at", moment()),
        ("tag", DataType::Utf8),
    ];
    Arc::new(Schema::new(fields.into_iter().map(field).collect::<Vec<_>>()))
}

impl FileRow {
    fn new(table: &str, file: &str, status: &'static str, mark: &Mark) -> Self {
        Self {
            table: table.to_owned(),
            file: file.to_owned(),
            status,
            mark: mark.clone(),
            counts: None,
            error: None,
            started_at: None,
            finished_at: None,
        }
    }

    /// A folder that cannot be listed.
    pub fn folder(table: &str, folder: &str, error: String, now: Timestamp) -> Self {
        let mark = Mark { bytes: 0, modified_at: now, tag: String::new() };
        Self { error: Some(error), ..Self::new(table, folder, "unreadable", &mark) }
    }

    pub fn waiting(table: &str, file: &str, mark: &Mark, why: &str) -> Self {
        let error = (!why.is_empty()).then(|| why.to_owned());
        Self { error, ..Self::new(table, file, "pending", mark) }
    }

    pub fn begin(&mut self, now: Timestamp) {
        (self.status, self.error, self.started_at) = ("loading", None, Some(now));
    }

    /// It is tried again.
    pub fn retry(&mut self, error: &str, not_before: Timestamp) {
        (self.status, self.error) = ("pending", Some(format!("{error}; tried again at {not_before}")));
    }

    pub fn finished(
        table: &str,
        (file, mark): (&ExternalFile, &Mark),
        report: Option<&FileReport>,
        (started_at, finished_at): (Timestamp, Timestamp),
    ) -> Self {
        let status = match report.map(|report| report.status) {
            Some(FileStatus::AlreadyLoaded) => "already loaded",
            Some(FileStatus::Loaded) | None => "loaded",
        };
        let counts = report.map(|report| [report.rows, report.duplicates, report.rejected, report.version.0]);
        let row = Self::new(table, &file.path, status, mark);
        Self { counts, started_at: Some(started_at), finished_at: Some(finished_at), ..row }
    }

    pub fn failed(
        table: &str,
        (file, mark): (&ExternalFile, &Mark),
        error: String,
        (started_at, finished_at): (Timestamp, Timestamp),
    ) -> Self {
        let row = Self::new(table, &file.path, "failed", mark);
        Self { error: Some(error), started_at: Some(started_at), finished_at: Some(finished_at), ..row }
    }
}

fn batch(rows: &[FileRow]) -> Result<RecordBatch, IngestError> {
    let text = |pick: &dyn Fn(&FileRow) -> Option<String>| -> ArrayRef {
        Arc::new(rows.iter().map(pick).collect::<StringArray>())
    };
    let number = |pick: &dyn Fn(&FileRow) -> Option<u64>| -> ArrayRef {
        let numbers = rows.iter().map(|row| pick(row).and_then(|number| i64::try_from(number).ok()));
        Arc::new(numbers.collect::<Int64Array>())
    };
    let time = |pick: &dyn Fn(&FileRow) -> Option<Timestamp>| -> ArrayRef {
        let times = rows.iter().map(|row| pick(row).map(Timestamp::micros));
        Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    };
    let count = |at: usize| number(&move |row| row.counts.map(|counts| counts[at]));
    let arrays = vec![
        text(&|_| Some("landing".to_owned())),
        text(&|row| Some(row.table.clone())),
        text(&|row| Some(row.file.clone())),
        text(&|row| Some(row.status.to_owned())),
        count(0),
        count(1),
        count(2),
        number(&|row| Some(row.mark.bytes)),
        text(&|row| row.error.clone()),
        time(&|row| row.started_at),
        time(&|row| row.finished_at),
        count(3),
        time(&|row| Some(row.mark.modified_at)),
        text(&|row| Some(row.mark.tag.clone())),
    ];
    RecordBatch::try_new(columns(), arrays).map_err(|error| damaged(&error))
}

fn damaged(error: &dyn std::fmt::Display) -> IngestError {
    IngestError::Internal { message: format!("cannot keep the record of landed files: {error}") }
}

pub struct LandingLog {
    table: OwnTable,
}

impl LandingLog {
    pub fn new(lake: Lake) -> Self {
        Self { table: OwnTable::new(lake, INGEST_PATH, columns()) }
    }

    pub async fn add(&self, row: &FileRow, task: &Arc<TaskContext>) -> Result<(), IngestError> {
        let files = self.table.stage(batch(std::slice::from_ref(row))?, task).await?;
        self.table.commit(files, OwnCommit { operation: "LAND", transaction: None, expected: None }).await?;
        Ok(())
    }

    async fn recorded(&self, task: &Arc<TaskContext>) -> Result<Vec<RecordBatch>, IngestError> {
        let columns = columns();
        let names: Vec<&str> = columns.fields().iter().map(|field| field.name().as_str()).collect();
        let rows = own_rows(&self.table, &names, task).await?;
        let batches = rows.map(|(_, batches)| batches).unwrap_or_default();
        let plain = |batch: RecordBatch| {
            let pairs = batch.columns().iter().zip(columns.fields());
            let arrays = pairs.map(|(array, field)| cast(array, field.data_type())).collect::<Result<_, _>>();
            arrays.and_then(|arrays| RecordBatch::try_new(columns.clone(), arrays)).map_err(|error| damaged(&error))
        };
        batches.into_iter().map(plain).collect()
    }

    /// Files of a table that are on record since it was made, the newest mark of each last.
    pub async fn handled(
        &self,
        table: &str,
        made_at: Timestamp,
        task: &Arc<TaskContext>,
    ) -> Result<Vec<(String, Mark)>, IngestError> {
        let mut found: Vec<(i64, String, Mark)> = Vec::new();
        for batch in self.recorded(task).await? {
            let text = |column: usize| batch.column(column).as_string::<i32>().clone();
            let time = |column: usize| batch.column(column).as_primitive::<TimestampMicrosecondType>().clone();
            let (tables, files, tags) = (text(1), text(2), text(13));
            let (finished, modified) = (time(10), time(12));
            let bytes = batch.column(7).as_primitive::<Int64Type>();
            for row in (0..batch.num_rows()).filter(|row| tables.is_valid(*row) && tables.value(*row) == table) {
                let mark = Mark {
                    bytes: u64::try_from(bytes.value(row)).unwrap_or_default(),
                    modified_at: Timestamp(modified.value(row)),
                    tag: tags.value(row).to_owned(),
                };
                if finished.value(row) < made_at.micros() {
                    continue;
                }
                found.push((finished.value(row), files.value(row).to_owned(), mark));
            }
        }
        found.sort_by_key(|(at, ..)| *at);
        Ok(found.into_iter().map(|(_, file, mark)| (file, mark)).collect())
    }

    /// The record, and `live` behind it.
    pub async fn all(&self, live: &[FileRow], task: &Arc<TaskContext>) -> Result<RecordBatch, IngestError> {
        let mut batches = self.recorded(task).await?;
        batches.push(batch(live)?);
        concat_batches(&columns(), &batches).map_err(|error| damaged(&error))
    }
}

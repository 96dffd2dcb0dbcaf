//! Tables over a lake in a temporary folder, written and read back, by ourselves and by delta-rs.

mod changing;
mod committing;
mod deleting;
mod faults;
mod maintaining;
mod maintaining_at_random;
mod replacing;
mod slices;
mod writing;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionContext;
use futures::stream;
use tempfile::TempDir;

use super::*;
pub(super) use crate::storage::test_config as config;

use crate::base::{ByteSize, Clock, Span, Timestamp};
use crate::storage::{Lake, LakeLocation, Partitioning, StorageConfig, StorageError, TableSpec, Transform, testing};

pub(super) const HOUR: i64 = 3_600_000_000;

pub(super) struct Fixture {
    pub folder: TempDir,
    pub lake: Lake,
}

pub(super) async fn open_lake(folder: &TempDir, config: &StorageConfig) -> Lake {
    testing::test_lake(folder, config, Clock::manual(Timestamp(1_700_000_000_000_000))).await
}

pub(super) async fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let lake = open_lake(&folder, &config()).await;
    Fixture { folder, lake }
}

pub(super) fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// `clicks (event_id, event_time, ad_id, price)`, by day, sorted by ad and time.
pub(super) fn clicks() -> TableSpec {
    TableSpec {
        path: "clicks".to_owned(),
        columns: Arc::new(Schema::new(vec![
            Field::new("event_id", DataType::Utf8, false),
            Field::new("event_time", utc(), true),
            Field::new("ad_id", DataType::Utf8, true),
            Field::new("price", DataType::Int64, true),
        ])),
        event_time: Some("event_time".to_owned()),
        event_key: Some("event_id".to_owned()),
        partition_by: vec![Partitioning { column: "event_time".to_owned(), transform: Transform::Day }],
        sort_by: vec!["ad_id".to_owned(), "event_time".to_owned()],
        bloom_columns: vec!["ad_id".to_owned()],
    }
}

/// Rows `from..to`: one an hour, a null ad every tenth, unsorted by ad.
pub(super) fn rows(from: i64, to: i64) -> RecordBatch {
    let numbers = || from..to;
    let ad = |n: i64| (n % 10 != 3).then(|| format!("ad{}", (n * 7) % 10));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(numbers().map(|n| format!("e{n}")))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(numbers().map(|n| n * HOUR)).with_timezone("UTC")),
        Arc::new(StringArray::from_iter(numbers().map(ad))),
        Arc::new(Int64Array::from_iter_values(numbers())),
    ];
    RecordBatch::try_new(clicks().columns, columns).unwrap()
}

pub(super) fn stream_of(batches: Vec<RecordBatch>) -> SendableRecordBatchStream {
    let schema = batches[0].schema();
    Box::pin(RecordBatchStreamAdapter::new(schema, stream::iter(batches.into_iter().map(Ok))))
}

pub(super) fn unsorted() -> WriteOptions {
    WriteOptions { order: InputOrder::Unsorted, context: Arc::new(TaskContext::default()) }
}

pub(super) async fn staged(table: &Table, batch: RecordBatch) -> Vec<StagedFile> {
    table.write_files(stream_of(vec![batch]), unsorted()).await.unwrap()
}

pub(super) fn request(files: Vec<StagedFile>) -> CommitRequest {
    CommitRequest {
        files,
        mode: CommitMode::Append,
        transactions: Vec::new(),
        fence: None,
        expected: None,
        operation: "INSERT",
        info: BTreeMap::new(),
    }
}

pub(super) fn as_transaction(mut request: CommitRequest, app_id: &str, version: i64) -> CommitRequest {
    request.transactions.push(Transaction { app_id: app_id.to_owned(), version });
    request
}

/// One line per row of the answer, through our own provider.
pub(super) async fn query(lake: &Lake, table: &Table, sql: &str) -> Vec<String> {
    let context = SessionContext::new();
    lake.register(&context.runtime_env());
    let provider = table.snapshot().await.unwrap().provider();
    // `register_table` is for `query` alone; this is the same under another name.
    let plan = context.read_table(provider).unwrap();
    let plan = plan.into_view();
    let catalog = context.catalog("datafusion").unwrap().schema("public").unwrap();
    catalog.register_table("t".to_owned(), plan).unwrap();
    lines(&context.sql(sql).await.unwrap().collect().await.unwrap())
}

pub(super) fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let shown = arrow::util::pretty::pretty_format_batches(batches).unwrap().to_string();
    let rows = shown.lines().filter(|line| line.starts_with('|')).skip(1);
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned())
        .collect()
}

/// Files of the table below the lake, without the log.
pub(super) fn data_files(folder: &TempDir) -> usize {
    let pattern = format!("{}/tables/*/**/*.parquet", folder.path().display());
    glob::glob(&pattern)
        .unwrap()
        .filter(|path| !path.as_ref().unwrap().display().to_string().contains("_delta_log"))
        .count()
}

/// The same table as delta-rs sees it: version, sorted file paths.
pub(super) async fn by_delta_rs(table: &Table) -> (u64, Vec<String>) {
    let mut delta = deltalake_core::DeltaTable::new(table.parts.log_store.clone());
    delta.load().await.unwrap();
    let mut files: Vec<String> = delta.get_file_uris().unwrap().collect();
    files.sort();
    (delta.version().unwrap(), files)
}

//! One Parquet file: row groups come in, a [`StagedFile`] comes out when the last byte is in the store.
//!
//! Small pages, a page index, dictionaries and bloom filters make point queries read little; the declared sort order and
//! statistics make range queries skip row groups.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use parking_lot::Mutex;
use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, ArrowWriter};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::encode::encode;
use super::split::{PartitionKey, RowGroup};
use super::stats::stats_json;
use super::{PAGE_ROWS, StagedFile, WritePlan};
use crate::storage::StorageError;
use crate::storage::spec::SORTED_BY_TAG;
use crate::storage::table::action::AddFile;

/// Rate of false "may be here" answers of bloom filters.
const BLOOM_FALSE_RATE: f64 = 0.01;

/// Writes the groups that come in; `written` counts encoded bytes. No rows, no file: the result then has none.
pub(super) async fn write(
    plan: Arc<WritePlan>,
    key: PartitionKey,
    mut groups: mpsc::Receiver<RowGroup>,
    written: Arc<AtomicU64>,
) -> Result<StagedFile, StorageError> {
    let name = file_name(&plan, &key);
    let Some(first) = groups.recv().await else { return Ok(staged(&plan, key, name, 0, 0, String::new())) };
    let path = Path::from(format!("{}/{name}", plan.folder));
    let action = format!("write file '{path}'");
    let mut file = OpenFile::new(&plan, &path, first.rows).map_err(|error| encoding(&action, error))?;
    let mut next = Some(first);
    while let Some(group) = next {
        file.add(group).await.map_err(|error| encoding(&action, error))?;
        written.store(file.writer.bytes_written() as u64, Ordering::Relaxed);
        next = groups.recv().await;
    }
    let (metadata, bytes) = file.close().await.map_err(|error| encoding(&action, error))?;
    let stats = stats_json(&plan.file_schema, &metadata).map_err(|error| encoding(&action, error))?;
    let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or_default();
    Ok(staged(&plan, key, name, rows, bytes, stats))
}

fn encoding(action: &str, error: ParquetError) -> StorageError {
    StorageError::engine(action, error.into())
}

struct OpenFile {
    plan: Arc<WritePlan>,
    writer: SerializedFileWriter<Tail>,
    factory: ArrowRowGroupWriterFactory,
    tail: Tail,
    upload: BufWriter,
    groups: usize,
}

impl OpenFile {
    fn new(plan: &Arc<WritePlan>, path: &Path, first_rows: usize) -> Result<Self, ParquetError> {
        let tail = Tail::default();
        let properties = properties(plan, first_rows)?;
        let writer = ArrowWriter::try_new(tail.clone(), plan.file_schema.clone(), Some(properties))?;
        let (writer, factory) = writer.into_serialized_writer()?;
        let upload = BufWriter::new(plan.store.clone(), path.clone());
        Ok(Self { plan: plan.clone(), writer, factory, tail, upload, groups: 0 })
    }

    async fn add(&mut self, group: RowGroup) -> Result<(), ParquetError> {
        let columns = self.factory.create_column_writers(self.groups)?;
        let schema = self.plan.file_schema.clone();
        let chunks = encode(schema, self.writer.schema_descr(), columns, group).await?;
        let mut row_group = self.writer.next_row_group()?;
        for chunk in chunks {
            chunk.append_to_row_group(&mut row_group)?;
        }
        row_group.close()?;
        self.groups += 1;
        self.upload_tail().await
    }

    async fn upload_tail(&mut self) -> Result<(), ParquetError> {
        let bytes = self.tail.take();
        self.upload.put(bytes).await.map_err(|error| ParquetError::External(Box::new(error)))
    }

    async fn close(mut self) -> Result<(ParquetMetaData, u64), ParquetError> {
        let metadata = self.writer.finish()?;
        let bytes = self.writer.bytes_written() as u64;
        self.upload_tail().await?;
        self.upload.shutdown().await?;
        Ok((metadata, bytes))
    }
}

/// What the Parquet writer has written and the store has not got yet.
#[derive(Clone, Default)]
struct Tail(Arc<Mutex<Vec<u8>>>);

impl Tail {
    fn take(&self) -> Bytes {
        std::mem::take(&mut *self.0.lock()).into()
    }
}

impl Write for Tail {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn properties(plan: &WritePlan, row_group_rows: usize) -> Result<WriterProperties, ParquetError> {
    let level = ZstdLevel::try_new(plan.config.compression_level)?;
    let path = |name: &str| ColumnPath::new(vec![name.to_owned()]);
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_created_by(concat!("adlake ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_max_row_group_row_count(None)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_sorting_columns(Some(sorting_columns(plan)));
    let keys = plan.spec.event_key.iter();
    for name in keys.clone().chain(&plan.spec.bloom_columns) {
        if plan.file_schema.index_of(name).is_ok() {
            builder = builder
                .set_column_bloom_filter_enabled(path(name), true)
                .set_column_bloom_filter_fpp(path(name), BLOOM_FALSE_RATE)
                .set_column_bloom_filter_max_ndv(path(name), row_group_rows.max(1) as u64);
        }
    }
    for name in keys {
        // Every value differs: a dictionary is only built to be thrown away.
        builder = builder.set_column_dictionary_enabled(path(name), false);
    }
    Ok(builder.build())
}

/// Sort columns as Parquet counts columns: by leaf.
fn sorting_columns(plan: &WritePlan) -> Vec<SortingColumn> {
    let leaves_before =
        |at: usize| plan.file_schema.fields().iter().take(at).map(|field| leaves(field.data_type())).sum();
    let places = plan.sort_columns.iter().filter_map(|name| plan.file_schema.index_of(name).ok());
    let columns = places.map(leaves_before).filter_map(|leaf: usize| i32::try_from(leaf).ok());
    columns.map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: false }).collect()
}

fn leaves(data_type: &arrow::datatypes::DataType) -> usize {
    use arrow::datatypes::DataType;
    match data_type {
        DataType::Struct(fields) => fields.iter().map(|field| leaves(field.data_type())).sum(),
        DataType::List(item) | DataType::Map(item, _) => leaves(item.data_type()),
        _ => 1,
    }
}

/// `event_time_day=2024-05-01/part-<time-ordered id>.parquet`; no folders when a value would need escaping.
fn file_name(plan: &WritePlan, key: &PartitionKey) -> String {
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let named = plan.partition_fields.iter().zip(key);
    let folders = named.map(|(field, value)| match value.as_deref() {
        _ if !plain(field.name()) => None,
        None => Some(format!("{}=__HIVE_DEFAULT_PARTITION__/", field.name())),
        Some(value) if plain(value) => Some(format!("{}={value}/", field.name())),
        Some(_) => None,
    });
    let folders = folders.collect::<Option<String>>().unwrap_or_default();
    format!("{folders}part-{}.parquet", Uuid::now_v7())
}

fn staged(plan: &WritePlan, key: PartitionKey, path: String, rows: u64, bytes: u64, stats: String) -> StagedFile {
    let partition_values = plan.partition_fields.iter().map(|field| field.name().clone()).zip(key).collect();
    let mut tags = BTreeMap::new();
    if !plan.sort_columns.is_empty() {
        tags.insert(SORTED_BY_TAG.to_owned(), plan.sort_columns.join(","));
    }
    let add = AddFile {
        path,
        partition_values,
        size: bytes,
        modification_time: plan.clock.now().millis(),
        data_change: true,
        stats,
        tags,
    };
    StagedFile { rows, bytes, add }
}

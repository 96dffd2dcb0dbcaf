//! For tests: a table whose log is written line by line, so that every shape of it can be had.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::execution::cache::default_cache::DefaultCache;
use datafusion::execution::object_store::ObjectStoreUrl;
use deltalake_core::kernel::StructType;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

use super::{FileIndex, TableRoot};
use crate::storage::spec::{SPEC_PROPERTY, to_property};
use crate::storage::{Partitioning, StorageError, TableSpec, Transform};

/// A table in memory.
pub(crate) struct TestTable {
    pub root: TableRoot,
    pub spec: TableSpec,
    pub version: u64,
}

impl TestTable {
    /// Version 0: protocol and metadata.
    pub async fn create(spec: TableSpec) -> TestTable {
        Self::create_in(Arc::new(InMemory::new()), spec).await
    }

    pub async fn create_in(store: Arc<dyn ObjectStore>, spec: TableSpec) -> TestTable {
        let root = TableRoot {
            name: spec.path.as_str().into(),
            store,
            store_url: ObjectStoreUrl::parse("adlake://lake").unwrap(),
            prefix: Path::from(format!("tables/{}", spec.path)),
            metadata_cache: Arc::new(DefaultCache::new(1 << 20)),
        };
        let table = TestTable { root, spec, version: 0 };
        let lines = vec![protocol(&[]), metadata(&table.spec), commit_info(0)];
        table.put_commit(0, &lines).await;
        table
    }

    /// The next version.
    pub async fn commit(&mut self, mut lines: Vec<Value>) -> u64 {
        self.version += 1;
        lines.push(commit_info(self.version));
        self.put_commit(self.version, &lines).await;
        self.version
    }

    pub async fn put_commit(&self, version: u64, lines: &[Value]) {
        let text: Vec<String> = lines.iter().map(Value::to_string).collect();
        let path = self.root.log_file(&super::log::commit_name(version));
        self.root.store.put(&path, PutPayload::from(text.join("\n"))).await.unwrap();
    }

    /// Writes a Parquet file at an encoded path and gives its size. The log does not know it yet.
    pub async fn put_parquet(&self, encoded: &str, batch: &RecordBatch) -> u64 {
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(batch).unwrap();
        writer.close().unwrap();
        let size = bytes.len() as u64;
        let path = self.root.data_file(&Path::from_url_path(encoded).unwrap());
        self.root.store.put(&path, PutPayload::from(Bytes::from(bytes))).await.unwrap();
        size
    }

    pub async fn load(&self) -> Result<Arc<FileIndex>, StorageError> {
        FileIndex::load(&self.root).await.map(Arc::new)
    }
}

/// `id BIGINT, k BIGINT, s VARCHAR, t TIMESTAMP, d DECIMAL(12,2), country VARCHAR` partitioned by `country, day(t)`.
pub(crate) fn spec() -> TableSpec {
    TableSpec {
        path: "clicks".to_owned(),
        columns: Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("country", DataType::Utf8, true),
            Field::new("k", DataType::Int64, true),
            Field::new("s", DataType::Utf8, true),
            Field::new("t", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
            Field::new("d", DataType::Decimal128(12, 2), true),
        ])),
        event_time: Some("t".to_owned()),
        event_key: Some("id".to_owned()),
        partition_by: vec![
            Partitioning { column: "country".to_owned(), transform: Transform::Identity },
            Partitioning { column: "t".to_owned(), transform: Transform::Day },
        ],
        sort_by: vec!["k".to_owned(), "t".to_owned()],
        bloom_columns: Vec::new(),
    }
}

pub(crate) fn metadata(spec: &TableSpec) -> Value {
    let schema: StructType = spec.physical_schema().as_ref().try_into_kernel().unwrap();
    json!({"metaData": {
        "id": "5fba94ed-9794-4965-ba6e-6ee3c0d22af9",
        "format": {"provider": "parquet", "options": {}},
        "schemaString": serde_json::to_string(&schema).unwrap(),
        "partitionColumns": spec.partition_columns(),
        "configuration": {SPEC_PROPERTY: to_property(spec).unwrap()},
        "createdTime": 1_700_000_000_000_i64,
    }})
}

pub(crate) fn protocol(reader_features: &[&str]) -> Value {
    match reader_features {
        [] => json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}),
        features => json!({"protocol": {
            "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features,
        }}),
    }
}

fn commit_info(version: u64) -> Value {
    json!({"commitInfo": {"timestamp": 1_700_000_000_000 + 1_000 * version, "operation": "WRITE"}})
}

pub(crate) fn add(encoded: &str, size: u64, partition_values: &Value, stats: &Value) -> Value {
    json!({"add": {
        "path": encoded, "size": size, "partitionValues": partition_values, "modificationTime": 1_700_000_000_000_i64,
        "dataChange": true, "stats": stats.to_string(),
    }})
}

pub(crate) fn remove(encoded: &str) -> Value {
    json!({"remove": {"path": encoded, "deletionTimestamp": 1_700_000_000_000_i64, "dataChange": true}})
}

pub(crate) fn txn(app_id: &str, version: i64) -> Value {
    json!({"txn": {"appId": app_id, "version": version}})
}

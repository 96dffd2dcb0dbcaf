//! The lines adlake writes into a Delta log, one JSON object each.
//!
//! Source: <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#actions>. The fields here are stored; a test pins
//! their spelling.

use std::collections::BTreeMap;

use arrow::datatypes::Schema;
use deltalake_core::kernel::StructType;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::base::Timestamp;
use crate::storage::spec::{SPEC_PROPERTY, has_zoneless_timestamp, to_property};
use crate::storage::{StorageError, TableSpec};

/// Delta's name for timestamps without time zone.
pub(super) const ZONELESS_FEATURE: &str = "timestampNtz";

/// One line of a commit.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Action {
    CommitInfo(CommitInfo),
    Protocol(serde_json::Value),
    MetaData(serde_json::Value),
    Txn(Txn),
    Remove(RemoveFile),
    Add(AddFile),
}

/// Who committed what, when. Always the first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CommitInfo {
    /// Milliseconds since 1970.
    #[serde(default)]
    pub timestamp: i64,
    #[serde(default)]
    pub operation: String,
    #[serde(default)]
    pub operation_parameters: serde_json::Value,
    #[serde(default)]
    pub engine_info: String,
    #[serde(default)]
    pub is_blind_append: bool,
    /// What only adlake's commits have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adlake: Option<OwnInfo>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OwnInfo {
    /// Unique per commit, so that a writer recognises its own.
    pub commit_id: Uuid,
    pub info: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Txn {
    pub app_id: String,
    pub version: i64,
    pub last_updated: i64,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AddFile {
    /// Relative to the table's folder, URL-encoded.
    pub path: String,
    pub partition_values: BTreeMap<String, Option<String>>,
    pub size: u64,
    pub modification_time: i64,
    pub data_change: bool,
    pub stats: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RemoveFile {
    /// As in the file's `add`.
    pub path: String,
    pub deletion_timestamp: i64,
    pub data_change: bool,
    pub size: u64,
    /// Where rows go with the file: how many, and the extremes of their times, which is what views need to know of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stats: Option<String>,
}

/// The lines of a commit as the content of its file.
pub(super) fn render(actions: &[Action]) -> Result<bytes::Bytes, StorageError> {
    let mut text = Vec::new();
    for action in actions {
        serde_json::to_writer(&mut text, action)
            .map_err(|error| StorageError::Invalid { message: format!("cannot write a line of the log: {error}") })?;
        text.push(b'\n');
    }
    Ok(text.into())
}

impl CommitInfo {
    pub fn new(operation: &str, at: Timestamp, commit_id: Uuid, info: BTreeMap<String, serde_json::Value>) -> Self {
        Self {
            timestamp: at.millis(),
            operation: operation.to_owned(),
            operation_parameters: serde_json::Value::Object(serde_json::Map::new()),
            engine_info: concat!("adlake/", env!("CARGO_PKG_VERSION")).to_owned(),
            is_blind_append: false,
            adlake: Some(OwnInfo { commit_id, info }),
        }
    }
}

/// The least protocol that allows the table's types: everybody's, unless a timestamp has no time zone.
pub(super) fn protocol(spec: &TableSpec) -> serde_json::Value {
    if spec.columns.fields().iter().any(|field| has_zoneless_timestamp(field.data_type())) {
        return with_zoneless_timestamps(&[], &[]);
    }
    serde_json::json!({"minReaderVersion": 1, "minWriterVersion": 2})
}

/// A protocol of named features: those given, and timestamps without time zone.
pub(super) fn with_zoneless_timestamps(reader: &[String], writer: &[String]) -> serde_json::Value {
    let with = |features: &[String]| {
        let own = (!features.iter().any(|name| name == ZONELESS_FEATURE)).then(|| ZONELESS_FEATURE.to_owned());
        features.iter().cloned().chain(own).collect::<Vec<_>>()
    };
    serde_json::json!({
        "minReaderVersion": 3,
        "minWriterVersion": 7,
        "readerFeatures": with(reader),
        "writerFeatures": with(writer),
    })
}

/// Columns as a Delta schema.
pub(super) fn delta_schema(columns: &Schema) -> Result<serde_json::Value, StorageError> {
    let unusable =
        |reason: String| StorageError::Invalid { message: format!("these columns cannot be stored: {reason}") };
    let schema: StructType = columns.try_into_kernel().map_err(|error| unusable(error.to_string()))?;
    serde_json::to_value(&schema).map_err(|error| unusable(error.to_string()))
}

/// The metadata of a new table.
pub(super) fn metadata(spec: &TableSpec, at: Timestamp) -> Result<serde_json::Value, StorageError> {
    Ok(serde_json::json!({
        "id": Uuid::new_v4(),
        "format": {"provider": "parquet", "options": {}},
        "schemaString": delta_schema(&spec.physical_schema())?.to_string(),
        "partitionColumns": spec.partition_columns(),
        "createdTime": at.millis(),
        "configuration": {
            SPEC_PROPERTY: to_property(spec)?,
            // Statistics are written for every column; others who append shall do the same.
            "delta.dataSkippingNumIndexedCols": "-1",
            // How long checkpoints name removed files. Compaction removes one per commit, so the default (a week) would make
            // every checkpoint of a busy table as long as its history. Our vacuum reads the log instead.
            "delta.deletedFileRetentionDuration": "interval 1 hour",
        },
    }))
}

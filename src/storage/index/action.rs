//! The lines of a Delta commit, as far as reading needs them.
//!
//! One line is one action: `{"add": {…}}`. Rows of a checkpoint have the same shape. Unknown actions and fields are
//! skipped; what must not be skipped is announced by the protocol (`features`).
//! Source: <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#actions>

use std::collections::HashMap;

use object_store::path::Path;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::storage::StorageError;

/// One line of the log; at most one field is set.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogLine {
    pub add: Option<AddFile>,
    pub remove: Option<RemoveFile>,
    pub meta_data: Option<TableMetadata>,
    pub protocol: Option<Protocol>,
    pub txn: Option<Txn>,
    pub commit_info: Option<CommitInfo>,
    /// Part of a V2 checkpoint.
    pub sidecar: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AddFile {
    /// URL-encoded, relative to the table's folder.
    pub path: String,
    #[serde(default)]
    pub partition_values: HashMap<String, Option<String>>,
    pub size: u64,
    #[serde(default)]
    pub modification_time: i64,
    /// False when the rows were in the table before, in other files.
    #[serde(default = "by_default")]
    pub data_change: bool,
    pub stats: Option<String>,
    #[serde(default)]
    pub tags: Option<HashMap<String, Option<String>>>,
    pub deletion_vector: Option<IgnoredAny>,
    /// Not in the log: see [`super::DataFile::rows_until`].
    #[serde(skip)]
    pub rows_until: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RemoveFile {
    /// As in [`AddFile`], and so is what tells of the rows, where a writer tells it.
    pub path: String,
    #[serde(default)]
    pub partition_values: Option<HashMap<String, Option<String>>>,
    pub stats: Option<String>,
    /// False when the rows are still in the table, in other files.
    #[serde(default = "by_default")]
    pub data_change: bool,
}

fn by_default() -> bool {
    true
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(super) struct TableMetadata {
    pub schema_string: String,
    #[serde(default)]
    pub partition_columns: Vec<String>,
    #[serde(default)]
    pub configuration: HashMap<String, String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(super) struct Protocol {
    pub min_reader_version: i32,
    #[serde(default)]
    pub reader_features: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Txn {
    pub app_id: String,
    pub version: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CommitInfo {
    pub timestamp: Option<i64>,
    pub in_commit_timestamp: Option<i64>,
}

impl CommitInfo {
    /// Milliseconds since 1970.
    pub fn time(&self) -> Option<i64> {
        self.in_commit_timestamp.or(self.timestamp)
    }
}

/// Parses newline-delimited actions. `source` names the file in errors.
pub(super) fn parse_lines(source: &str, bytes: &[u8]) -> Result<Vec<LogLine>, StorageError> {
    let mut lines = Vec::new();
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        lines.push(serde_json::from_slice(line).map_err(|error| StorageError::Damaged {
            message: format!("line {} of log file '{source}' is not a Delta action: {error}", number + 1),
        })?);
    }
    Ok(lines)
}

/// The decoded path of a data file, relative to the table's folder.
pub(super) fn relative_path(table: &str, encoded: &str) -> Result<Path, StorageError> {
    if encoded.starts_with('/') || encoded.contains("://") {
        return Err(StorageError::Invalid {
            message: format!(
                "table '{table}' uses Delta feature 'files outside the table folder' which adlake cannot read yet"
            ),
        });
    }
    Path::from_url_path(encoded).map_err(|error| StorageError::Damaged {
        message: format!("the log of table '{table}' names a file that cannot exist: {error}"),
    })
}

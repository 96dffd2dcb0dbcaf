//! The stored form of a [`TableSpec`]: one versioned JSON property of the Delta metadata, next to the Delta schema.
//!
//! The schema (names, types, nullability) is Delta's own; the property holds what Delta has no word for. A Delta table
//! made by somebody else has no property: it reads as a plain table, partitioned by its columns, in no order.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema};
use serde::{Deserialize, Serialize};

use super::super::StorageError;
use super::{Partitioning, TableSpec, Transform};

/// Name of the property in the Delta metadata's `configuration`.
pub(crate) const SPEC_PROPERTY: &str = "adlake.spec";

const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSpec {
    format: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_key: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    partition_by: Vec<StoredPartitioning>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sort_by: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    bloom_columns: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredPartitioning {
    column: String,
    transform: StoredTransform,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredTransform {
    Identity,
    Hour,
    Day,
    Month,
}

/// The value of [`SPEC_PROPERTY`].
pub(crate) fn to_property(spec: &TableSpec) -> Result<String, StorageError> {
    let partition_by = spec.partition_by.iter().map(|part| StoredPartitioning {
        column: part.column.clone(),
        transform: match part.transform {
            Transform::Identity => StoredTransform::Identity,
            Transform::Hour => StoredTransform::Hour,
            Transform::Day => StoredTransform::Day,
            Transform::Month => StoredTransform::Month,
        },
    });
    let stored = StoredSpec {
        format: FORMAT,
        event_time: spec.event_time.clone(),
        event_key: spec.event_key.clone(),
        partition_by: partition_by.collect(),
        sort_by: spec.sort_by.clone(),
        bloom_columns: spec.bloom_columns.clone(),
    };
    serde_json::to_string(&stored)
        .map_err(|error| StorageError::Invalid { message: format!("cannot write the table's definition: {error}") })
}

/// The spec of the table in folder `path` from its Delta metadata. `physical` is the Delta schema as Arrow.
pub(crate) fn from_metadata(
    path: &str,
    physical: &Schema,
    partition_columns: &[String],
    configuration: &HashMap<String, String>,
) -> Result<TableSpec, StorageError> {
    let stored = match configuration.get(SPEC_PROPERTY) {
        Some(text) => parse(path, text)?,
        None => foreign(partition_columns),
    };
    let partition_by = stored.partition_by.into_iter().map(|part| Partitioning {
        column: part.column,
        transform: match part.transform {
            StoredTransform::Identity => Transform::Identity,
            StoredTransform::Hour => Transform::Hour,
            StoredTransform::Day => Transform::Day,
            StoredTransform::Month => Transform::Month,
        },
    });
    let partition_by: Vec<Partitioning> = partition_by.collect();
    let hidden: Vec<String> =
        partition_by.iter().filter(|part| part.is_hidden()).map(Partitioning::partition_column).collect();
    let columns = physical.fields().iter().filter(|field| !hidden.contains(field.name())).map(without_metadata);
    Ok(TableSpec {
        path: path.to_owned(),
        columns: Arc::new(Schema::new(columns.collect::<Vec<_>>())),
        event_time: stored.event_time,
        event_key: stored.event_key,
        partition_by,
        sort_by: stored.sort_by,
        bloom_columns: stored.bloom_columns,
    })
}

fn parse(path: &str, text: &str) -> Result<StoredSpec, StorageError> {
    let damaged = |reason: String| StorageError::Damaged {
        message: format!("property '{SPEC_PROPERTY}' of table files '{path}' is not readable: {reason}"),
    };
    let stored: StoredSpec = serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
    if stored.format != FORMAT {
        return Err(damaged(format!("format {} is newer than this program; update adlake", stored.format)));
    }
    Ok(stored)
}

fn foreign(partition_columns: &[String]) -> StoredSpec {
    let partition_by = partition_columns
        .iter()
        .map(|column| StoredPartitioning { column: column.clone(), transform: StoredTransform::Identity });
    StoredSpec {
        format: FORMAT,
        event_time: None,
        event_key: None,
        partition_by: partition_by.collect(),
        sort_by: Vec::new(),
        bloom_columns: Vec::new(),
    }
}

fn without_metadata(field: &FieldRef) -> FieldRef {
    if field.metadata().is_empty() {
        return field.clone();
    }
    Arc::new(Field::new(field.name(), field.data_type().clone(), field.is_nullable()))
}

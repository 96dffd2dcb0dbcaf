//! What a table is, physically: columns, partitioning, order. Stored in the Delta metadata, so a table describes itself.
//!
//! ```text
//! TableSpec (what the user declared)          physical (what Delta stores)
//!   columns            ───────────────────►     columns
//!   partition_by  day(event_time)  ───────►   + event_time_day DATE, a hidden partition column
//! ```
//!
//! A hidden partition column is an ordinary Delta partition column to other readers; adlake never shows it. Values of
//! partition columns are in the log, not in the Parquet files.
//!
//! Not here: computing partition values of rows (`table/write`), reading them (`index`).

mod partition;
mod stored;
mod types;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use super::StorageError;
use crate::base::suggestion;

pub(crate) use partition::{partition_arrays, partition_end};
pub(crate) use stored::{SPEC_PROPERTY, from_metadata, to_property};
pub use types::storable_type;
pub(crate) use types::{has_zoneless_timestamp, storable_field};

/// Tag of an `add` action whose file is sorted: the columns, joined by commas, ascending, nulls last.
pub(crate) const SORTED_BY_TAG: &str = "adlake.sortedBy";

/// Tag of an `add` action that brings no new rows (compaction): all of them were in the table by this version.
pub(crate) const ROWS_UNTIL_TAG: &str = "adlake.rowsUntil";

/// A table's physical definition.
#[derive(Clone, Debug, PartialEq)]
pub struct TableSpec {
    /// Folder below `tables/`.
    pub path: String,
    /// Columns as users see them: no hidden partition columns.
    pub columns: SchemaRef,
    pub event_time: Option<String>,
    pub event_key: Option<String>,
    pub partition_by: Vec<Partitioning>,
    /// Ascending, nulls last.
    pub sort_by: Vec<String>,
    /// Columns with bloom filters besides `event_key`.
    pub bloom_columns: Vec<String>,
}

/// `day(event_time)` or a plain column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partitioning {
    pub column: String,
    pub transform: Transform,
}

/// How a partition value comes from a column's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform {
    /// The value itself. The column is a partition column of the Delta table.
    Identity,
    /// Start of the UTC hour, a timestamp.
    Hour,
    /// The UTC day, a date.
    Day,
    /// First day of the UTC month, a date.
    Month,
}

impl Transform {
    /// The word in `day(event_time)`; `None` for the plain column.
    pub fn function(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Hour => Some("hour"),
            Self::Day => Some("day"),
            Self::Month => Some("month"),
        }
    }
}

impl Partitioning {
    /// The Delta partition column: the column itself, or a hidden one such as `event_time_day`.
    pub fn partition_column(&self) -> String {
        match self.transform.function() {
            None => self.column.clone(),
            Some(function) => format!("{}_{function}", self.column),
        }
    }

    /// Whether the partition column exists only for partitioning.
    pub fn is_hidden(&self) -> bool {
        self.transform != Transform::Identity
    }
}

impl TableSpec {
    /// The column called `name`.
    pub fn column(&self, name: &str) -> Option<&FieldRef> {
        self.columns.fields().iter().find(|field| field.name() == name)
    }

    /// Columns and hidden partition columns, in the order of the Delta schema.
    pub fn physical_schema(&self) -> SchemaRef {
        let hidden = self.partition_by.iter().filter(|part| part.is_hidden()).map(|part| self.partition_field(part));
        let columns = self.columns.fields().iter().cloned();
        Arc::new(Schema::new(columns.chain(hidden).collect::<Vec<_>>()))
    }

    /// What the Parquet files hold: the columns without those that are partition columns.
    pub fn file_schema(&self) -> SchemaRef {
        let partitions: BTreeSet<String> = self.partition_columns().into_iter().collect();
        let fields = self.columns.fields().iter().filter(|field| !partitions.contains(field.name())).cloned();
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// Names of the Delta partition columns, in `partition_by` order.
    pub fn partition_columns(&self) -> Vec<String> {
        self.partition_by.iter().map(Partitioning::partition_column).collect()
    }

    /// The field of one partition column.
    pub fn partition_field(&self, part: &Partitioning) -> FieldRef {
        let source = self.column(&part.column);
        let source_type = source.map_or(DataType::Null, |field| field.data_type().clone());
        let data_type = match part.transform {
            Transform::Identity => source_type,
            Transform::Hour => source_type,
            Transform::Day | Transform::Month => DataType::Date32,
        };
        Arc::new(Field::new(part.partition_column(), data_type, source.is_none_or(|field| field.is_nullable())))
    }

    /// The columns files are sorted by, without partition columns (constant within a file).
    pub fn file_sort_columns(&self) -> Vec<String> {
        let partitions = self.partition_columns();
        self.sort_by.iter().filter(|name| !partitions.contains(name)).cloned().collect()
    }

    /// The same table, proved storable: types mapped to what Delta keeps (`VARCHAR` of any layout to `Utf8`, timestamps
    /// to microseconds in UTC), every name resolved. The error names the column and what to write instead.
    pub fn storable(mut self) -> Result<TableSpec, StorageError> {
        self.columns = types::storable_schema(&self.columns)?;
        self.check_path()?;
        let event_time = self.event_time.iter().map(|name| ("event_time", name));
        let event_key = self.event_key.iter().map(|name| ("event_key", name));
        let sort_by = self.sort_by.iter().map(|name| ("sort_by", name));
        let blooms = self.bloom_columns.iter().map(|name| ("bloom_columns", name));
        for (role, name) in event_time.chain(event_key).chain(sort_by).chain(blooms) {
            let field = self.require(role, name)?;
            check_role(role, field)?;
        }
        self.check_partitions()?;
        Ok(self)
    }

    fn check_path(&self) -> Result<(), StorageError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if self.path.is_empty() || self.path.starts_with('.') || !self.path.chars().all(plain) {
            return Err(StorageError::Invalid {
                message: format!("'{}' cannot be a table's folder; use letters, digits, '_', '-' and '.'", self.path),
            });
        }
        Ok(())
    }

    fn check_partitions(&self) -> Result<(), StorageError> {
        let mut seen = BTreeSet::new();
        for part in &self.partition_by {
            let field = self.require("partition_by", &part.column)?;
            check_transform(part, field)?;
            let name = part.partition_column();
            if part.is_hidden() && self.columns.fields().iter().any(|field| field.name().eq_ignore_ascii_case(&name)) {
                let function = part.transform.function().unwrap_or_default();
                return Err(invalid(format!(
                    "column '{name}' has the name that partition_by='{function}({})' needs for itself; rename the column",
                    part.column
                )));
            }
            if !seen.insert(name.clone()) {
                return Err(invalid(format!("partition_by names '{}' twice", part.column)));
            }
        }
        if self.file_schema().fields().is_empty() {
            return Err(invalid("partition_by names every column; leave at least one that is not".to_owned()));
        }
        Ok(())
    }

    fn require(&self, role: &str, name: &str) -> Result<&FieldRef, StorageError> {
        self.column(name).ok_or_else(|| {
            let names = self.columns.fields().iter().map(|field| field.name().as_str());
            invalid(format!("{role} names unknown column '{name}'{}", suggestion(name, names)))
        })
    }
}

fn invalid(message: String) -> StorageError {
    StorageError::Invalid { message }
}

/// A column may play a role only with a type that fits it.
fn check_role(role: &str, field: &Field) -> Result<(), StorageError> {
    let data_type = field.data_type();
    let (fits, want) = match role {
        "event_time" => (matches!(data_type, DataType::Timestamp(..)), "TIMESTAMP WITH TIME ZONE"),
        "event_key" => (!data_type.is_nested() && !data_type.is_floating(), "VARCHAR, BIGINT or another exact type"),
        _ => (!data_type.is_nested(), "a plain type, not a list, struct or map"),
    };
    if fits {
        return Ok(());
    }
    Err(invalid(format!("{role} column '{}' has type {data_type}; it needs {want}", field.name())))
}

fn check_transform(part: &Partitioning, field: &Field) -> Result<(), StorageError> {
    let data_type = field.data_type();
    let (fits, want) = match part.transform {
        Transform::Identity => (
            !data_type.is_nested() && !data_type.is_floating() && *data_type != DataType::Binary,
            "text, a whole number, a decimal, a date, a timestamp or a boolean",
        ),
        Transform::Hour => (matches!(data_type, DataType::Timestamp(..)), "a timestamp"),
        Transform::Day | Transform::Month => {
            (matches!(data_type, DataType::Timestamp(..) | DataType::Date32), "a timestamp or date")
        }
    };
    if fits {
        return Ok(());
    }
    Err(invalid(format!("partition_by column '{}' has type {data_type}; it needs {want}", field.name())))
}

#[cfg(test)]
mod tests;

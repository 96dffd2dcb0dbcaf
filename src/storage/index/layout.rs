//! How a table's columns lie in its files: one per version of the Delta metadata, shared by all its snapshots.
//!
//! ```text
//!   schema        what queries see: spec.columns, text and bytes as views (DataFusion's fastest layout)
//!   file_columns  the same without the columns whose values are in the log (plain partition columns)
//!   table order   file_columns, then plain partition columns: the order of DataFusion's scan and of all statistics here
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::datasource::table_schema::TableSchema;
use deltalake_core::kernel::StructType;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoArrow;

use super::action::TableMetadata;
use crate::storage::spec::{self, Partitioning};
use crate::storage::{StorageError, TableSpec};

/// See the module.
#[derive(Debug)]
pub(crate) struct Layout {
    pub spec: TableSpec,
    pub schema: SchemaRef,
    pub table_schema: TableSchema,
    /// The columns in table order, for resolving expressions.
    pub resolver: DFSchema,
    /// For each column of `schema` its place in table order.
    pub places: Vec<usize>,
    /// Hidden partition columns and the place of the column each is computed from.
    pub hidden: Vec<(Partitioning, usize)>,
    /// Places of the columns files are sorted by.
    pub sort_places: Vec<usize>,
}

impl Layout {
    /// From the metadata of the table in folder `table`.
    pub(super) fn from_metadata(table: &str, metadata: &TableMetadata) -> Result<Layout, StorageError> {
        let physical = physical_schema(table, &metadata.schema_string)?;
        let spec = spec::from_metadata(table, &physical, &metadata.partition_columns, &metadata.configuration)?;
        Self::new(spec).map_err(|error| StorageError::Engine {
            action: format!("lay out the columns of table '{table}'"),
            source: Box::new(error),
        })
    }

    fn new(spec: TableSpec) -> datafusion::error::Result<Layout> {
        let fields: Vec<FieldRef> = spec.columns.fields().iter().map(as_view).collect();
        let in_log = spec.partition_columns();
        let (partition, file): (Vec<FieldRef>, Vec<FieldRef>) =
            fields.iter().cloned().partition(|field| in_log.contains(field.name()));
        let table_schema =
            TableSchema::builder(Arc::new(Schema::new(file))).with_table_partition_cols(partition.clone()).build();
        let ordered = table_schema.table_schema().clone();
        let place = |name: &str| ordered.index_of(name).ok();
        let places = fields.iter().filter_map(|field| place(field.name())).collect();
        let hidden = spec.partition_by.iter().filter(|part| part.is_hidden());
        let hidden = hidden.filter_map(|part| place(&part.column).map(|at| (part.clone(), at))).collect();
        Ok(Layout {
            schema: Arc::new(Schema::new(fields)),
            resolver: DFSchema::try_from(ordered.as_ref().clone())?,
            places,
            hidden,
            sort_places: spec.file_sort_columns().iter().filter_map(|name| place(name)).collect(),
            table_schema,
            spec,
        })
    }

    /// The fields in table order.
    pub fn ordered(&self) -> &SchemaRef {
        self.table_schema.table_schema()
    }

    /// How many columns are in the files.
    pub fn file_column_count(&self) -> usize {
        self.table_schema.file_schema().fields().len()
    }

    /// For each place here, the place of the same column (name and type) in `older`.
    pub fn places_in(&self, older: &Layout) -> Vec<Option<usize>> {
        let known: HashMap<(&str, &DataType), usize> = older
            .ordered()
            .fields()
            .iter()
            .enumerate()
            .map(|(place, field)| ((field.name().as_str(), field.data_type()), place))
            .collect();
        let fields = self.ordered().fields().iter();
        fields.map(|field| known.get(&(field.name().as_str(), field.data_type())).copied()).collect()
    }
}

fn physical_schema(table: &str, schema_string: &str) -> Result<Schema, StorageError> {
    let damaged = |reason: String| StorageError::Damaged {
        message: format!("the schema in the log of table '{table}' is not readable: {reason}"),
    };
    let delta: StructType = serde_json::from_str(schema_string).map_err(|error| damaged(error.to_string()))?;
    (&delta).try_into_arrow().map_err(|error| damaged(error.to_string()))
}

fn as_view(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        _ => return field.clone(),
    };
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()))
}

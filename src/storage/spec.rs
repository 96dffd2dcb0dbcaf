//! What a table is, physically: columns, partitioning, order. Stored in the Delta metadata as `adlake.*` properties, so a table describes itself.
use arrow::datatypes::SchemaRef;
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform {
    Identity,
    Hour,
    Day,
    Month,
}

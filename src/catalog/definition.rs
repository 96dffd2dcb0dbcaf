//! The typed content of each kind of object.
use crate::base::Span;
use crate::storage::Partitioning;
use arrow::datatypes::{DataType, SchemaRef};

#[derive(Clone, Debug)]
pub enum Definition {
    Table(TableDefinition),
    View(ViewDefinition),
    MaterializedView(MaterializedViewDefinition),
    Endpoint(EndpointDefinition),
}

#[derive(Clone, Debug)]
pub struct TableDefinition {
    pub columns: SchemaRef,
    pub kind: TableKind,
    pub partition_by: Vec<Partitioning>,
    pub sort_by: Vec<String>,
    /// SQL boolean expressions over the columns, with the name a reject names.
    pub checks: Vec<(String, String)>,
}
#[derive(Clone, Debug)]
pub enum TableKind {
    Plain,
    /// `event_time=…`; an event older than `lateness` or further ahead than `clock_skew` is rejected.
    Event {
        event_time: String,
        event_key: Option<String>,
        lateness: Option<Span>,
        clock_skew: Option<Span>,
    },
    /// `kind='snapshot', key='…'`: each load is the new state of its keys.
    Snapshot {
        key: Vec<String>,
    },
}
#[derive(Clone, Debug)]
pub struct ViewDefinition {
    pub query: String,
}
#[derive(Clone, Debug)]
pub struct MaterializedViewDefinition {
    pub query: String,
    pub partition_by: Vec<Partitioning>,
    pub sort_by: Vec<String>,
}
#[derive(Clone, Debug)]
pub struct EndpointDefinition {
    /// `/v1/ads/{ad_id}/aggregated_count`
    pub path: String,
    pub parameters: Vec<EndpointParameter>,
    /// Columns `?filter=column:value` may name.
    pub filters: Vec<String>,
    /// The query; parameters appear as `$name`.
    pub query: String,
    /// The leading comment of the CREATE statement: the OpenAPI description.
    pub description: String,
}
#[derive(Clone, Debug)]
pub struct EndpointParameter {
    pub name: String,
    pub data_type: DataType,
    /** SQL expression text; `None` = required */
    pub default: Option<String>,
}

//! The typed content of each kind of object: what a CREATE statement says, after its checks.

use std::str::FromStr;

use arrow::datatypes::{DataType, SchemaRef};

use super::statement::{FILTERS_FUNCTION, replace_filters};
use super::{CatalogError, IngestOptions, ObjectKind, RefreshTrigger, Rewrite, StrategyOption};
use crate::base::{Percent, Span};
use crate::storage::Partitioning;

#[derive(Clone, Debug, PartialEq)]
pub enum Definition {
    Table(TableDefinition),
    View(ViewDefinition),
    MaterializedView(MaterializedViewDefinition),
    Endpoint(EndpointDefinition),
}

impl Definition {
    pub fn kind(&self) -> ObjectKind {
        match self {
            Self::Table(_) => ObjectKind::Table,
            Self::View(_) => ObjectKind::View,
            Self::MaterializedView(_) => ObjectKind::MaterializedView,
            Self::Endpoint(_) => ObjectKind::Endpoint,
        }
    }
}

/// A table. Every column that `kind`, `partition_by`, `sort_by` and `checks` name exists.
#[derive(Clone, Debug, PartialEq)]
pub struct TableDefinition {
    pub columns: SchemaRef,
    pub kind: TableKind,
    pub partition_by: Vec<Partitioning>,
    pub sort_by: Vec<String>,
    /// The name a reject names (the expression's text when none was given), and the SQL boolean expression over the columns.
    /// A row is taken unless the expression is false (NULL passes, as in the standard).
    pub checks: Vec<(String, String)>,
    pub ingest: IngestOptions,
}

#[derive(Clone, Debug, PartialEq)]
pub enum TableKind {
    Plain,
    /// `event_time=…`: a NOT NULL TIMESTAMP WITH TIME ZONE column. An event older than `lateness` or further ahead than
    /// `clock_skew` is rejected; without them any age is taken.
    Event {
        event_time: String,
        /// NOT NULL; within the table each value is committed at most once (DED-1).
        event_key: Option<String>,
        lateness: Option<Span>,
        clock_skew: Option<Span>,
        /// Rows whose event time is older than this are removed, a partition at a time; at least `lateness`.
        retention: Option<Span>,
    },
    /// `kind='snapshot', key='…'`: each load is the new state of its keys. Key columns are NOT NULL.
    Snapshot {
        key: Vec<String>,
    },
}

/// A stored query.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewDefinition {
    pub query: String,
}

/// A stored query with its rows. `partition_by` and `sort_by` are checked against the query's columns when it is planned, not
/// here. With [`StrategyOption::Full`] the trigger is not continuous and `rewrite` is off.
#[derive(Clone, Debug, PartialEq)]
pub struct MaterializedViewDefinition {
    pub query: String,
    pub partition_by: Vec<Partitioning>,
    pub sort_by: Vec<String>,
    pub trigger: RefreshTrigger,
    pub strategy: StrategyOption,
    pub rewrite: Rewrite,
    /// A late change of a group whose time is older than this is a restatement, which is reported.
    pub restate_after: Span,
    /// Share of the queries answered from the view that are computed again from its table and compared; `None` = none.
    pub verify: Option<Percent>,
}

/// A published query: `GET path?parameter=…&filter=column:value`.
///
/// **Filters.** The query of an endpoint with `filters='country, device'` contains the pseudo-predicate `adlake_filters()`
/// exactly where filters apply (CREATE refuses it otherwise). To run it, the server replaces the call:
/// [`EndpointDefinition::query_with_filters`] with a predicate over the declared columns, whose values are bound parameters,
/// such as `country IN ($filter_1, $filter_2) AND device = $filter_3`; or `TRUE` without filters. The columns must be visible,
/// unqualified, where the call stands.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointDefinition {
    /// `/v1/ads/{ad_id}/aggregated_count`; each `{name}` is a parameter without default.
    pub path: String,
    /// In order of declaration; each is used in the query.
    pub parameters: Vec<EndpointParameter>,
    /// Columns `?filter=column:value` may name.
    pub filters: Vec<String>,
    /// The query; parameters appear as `$name`.
    pub query: String,
    /// The form of the reply.
    pub result: EndpointResult,
    /// The leading comment of the CREATE statement: the OpenAPI description.
    pub description: String,
}

/// `WITH (result = 'rows' | 'object')`: what an endpoint's reply looks like, whatever the number of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndpointResult {
    /// `{"rows":[{…},…]}`.
    #[default]
    Rows,
    /// The query's one row as an object; no row is "not found", a second one an error of the definition.
    Object,
}

impl FromStr for EndpointResult {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "rows" => Ok(Self::Rows),
            "object" => Ok(Self::Object),
            _ => Err(format!("'{text}' is neither 'rows' nor 'object'")),
        }
    }
}

impl EndpointDefinition {
    /// The query with every `adlake_filters()` replaced by `(predicate)`. Comments and strings are left alone.
    pub fn query_with_filters(&self, predicate: &str) -> Result<String, CatalogError> {
        replace_filters(&self.query, predicate)
    }

    /// What stands in the query for the filters.
    pub const FILTERS_FUNCTION: &'static str = FILTERS_FUNCTION;
}

#[derive(Clone, Debug, PartialEq)]
pub struct EndpointParameter {
    pub name: String,
    pub data_type: DataType,
    /// SQL expression text, such as `now() - INTERVAL '1 hour'`; `None` = required.
    pub default: Option<String>,
    /// What values the server takes.
    pub range: ParameterRange,
}

/// `CHECK (count BETWEEN 1 AND 1000)`, `CHECK (count >= 1)`: bounds, inclusive, as written. Of numbers only; a literal
/// default is within.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParameterRange {
    pub least: Option<String>,
    pub most: Option<String>,
}

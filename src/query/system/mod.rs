//! The `system` and `information_schema` schemas: what an operator or a client asks, SQL answers.
//!
//! One file per table; each says its columns and builds its rows when it is read. Rows are of the moment of reading; no
//! snapshot of the lake is kept. `system.rejects` is a table of the lake that `ingest` writes; it is empty until there is one.

mod columns;
mod commits;
mod functions;
mod information;
mod ingest;
mod late_events;
mod leases;
mod maintenance;
mod objects;
mod queries;
mod rejects;
mod rows;
mod settings;
mod tables;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DataFusionResult;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::QueryError;
use super::engine::Inner;
use super::fault::external;

pub(super) use columns::Columns;
pub(super) use rejects::rejects_view;

/// Schema of what adlake knows about itself.
pub(super) const SYSTEM: &str = "system";
/// Schema of the SQL standard.
pub(super) const INFORMATION_SCHEMA: &str = "information_schema";
/// The table of rows that were not accepted.
pub(super) const REJECTS: &str = "rejects";

/// A table whose rows are made when it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Columns,
    Commits,
    Functions,
    Ingest,
    LateEvents,
    Leases,
    Maintenance,
    Objects,
    Queries,
    Rejects,
    Settings,
    Tables,
    InformationColumns,
    InformationSchemata,
    InformationTables,
    InformationViews,
}

const TABLES: &[(&str, &str, Kind)] = &[
    (SYSTEM, "columns", Kind::Columns),
    (SYSTEM, "commits", Kind::Commits),
    (SYSTEM, "functions", Kind::Functions),
    (SYSTEM, "ingest", Kind::Ingest),
    (SYSTEM, "late_events", Kind::LateEvents),
    (SYSTEM, "leases", Kind::Leases),
    (SYSTEM, "maintenance", Kind::Maintenance),
    (SYSTEM, "objects", Kind::Objects),
    (SYSTEM, "queries", Kind::Queries),
    (SYSTEM, REJECTS, Kind::Rejects),
    (SYSTEM, "settings", Kind::Settings),
    (SYSTEM, "tables", Kind::Tables),
    (INFORMATION_SCHEMA, "columns", Kind::InformationColumns),
    (INFORMATION_SCHEMA, "schemata", Kind::InformationSchemata),
    (INFORMATION_SCHEMA, "tables", Kind::InformationTables),
    (INFORMATION_SCHEMA, "views", Kind::InformationViews),
];

/// Names of the tables of a schema.
pub(super) fn names(schema: &str) -> impl Iterator<Item = &'static str> + use<> {
    let schema = schema.to_owned();
    TABLES.iter().filter(move |(of, ..)| *of == schema).map(|(_, name, _)| *name)
}

/// The table of this name, if there is one.
pub(super) fn table(engine: &Arc<Inner>, schema: &str, name: &str) -> Option<Arc<dyn TableProvider>> {
    let (_, _, kind) = TABLES.iter().find(|(of, known, _)| *of == schema && *known == name)?;
    Some(Arc::new(SystemTable { kind: *kind, engine: engine.clone() }))
}

impl Kind {
    fn schema(self) -> SchemaRef {
        match self {
            Kind::Columns => columns::schema(),
            Kind::Commits => commits::schema(),
            Kind::Functions => functions::schema(),
            Kind::Ingest => ingest::schema(),
            Kind::LateEvents => late_events::schema(),
            Kind::Leases => leases::schema(),
            Kind::Maintenance => maintenance::schema(),
            Kind::Objects => objects::schema(),
            Kind::Queries => queries::schema(),
            Kind::Rejects => rejects::schema(),
            Kind::Settings => settings::schema(),
            Kind::Tables => tables::schema(),
            Kind::InformationColumns => information::columns_schema(),
            Kind::InformationSchemata => information::schemata_schema(),
            Kind::InformationTables => information::tables_schema(),
            Kind::InformationViews => information::views_schema(),
        }
    }

    async fn rows(self, engine: &Arc<Inner>) -> Result<RecordBatch, QueryError> {
        match self {
            Kind::Columns => columns::rows(engine),
            Kind::Commits => commits::rows(engine).await,
            Kind::Functions => functions::rows(engine),
            Kind::Ingest => ingest::rows(engine).await,
            Kind::LateEvents => late_events::rows(engine).await,
            Kind::Leases => leases::rows(engine).await,
            Kind::Maintenance => maintenance::rows(engine).await,
            Kind::Objects => objects::rows(engine),
            Kind::Queries => queries::rows(engine),
            Kind::Rejects => Ok(RecordBatch::new_empty(rejects::schema())),
            Kind::Settings => settings::rows(engine),
            Kind::Tables => tables::rows(engine).await,
            Kind::InformationColumns => information::columns(engine),
            Kind::InformationSchemata => information::schemata(),
            Kind::InformationTables => information::tables(engine),
            Kind::InformationViews => information::views(engine),
        }
    }
}

struct SystemTable {
    kind: Kind,
    engine: Arc<Inner>,
}

impl fmt::Debug for SystemTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SystemTable").field(&self.kind).finish()
    }
}

#[async_trait]
impl TableProvider for SystemTable {
    fn schema(&self) -> SchemaRef {
        self.kind.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let rows = self.kind.rows(&self.engine).await.map_err(external)?;
        let exec = MemorySourceConfig::try_new_exec(&[vec![rows]], self.kind.schema(), projection.cloned())?;
        Ok(exec)
    }
}

//! The `system` and `information_schema` schemas: what an operator or a client asks, SQL answers.
//!
//! One file per table; each says its columns and builds its rows when it is read. Rows are of the moment of reading; no
//! snapshot of the lake is kept. Some are tables of the lake (`kept`), which are empty here until there is one.

mod audit;
mod columns;
mod commits;
mod functions;
mod histories;
mod information;
mod ingest;
mod kept;
mod late_events;
mod leases;
mod limits;
mod lineage;
mod listeners;
mod maintenance;
mod objects;
mod queries;
mod rejects;
mod restatements;
mod rows;
mod security;
mod settings;
mod tables;
mod verifications;
mod views;
mod visible;

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
use super::postgres::{self, PG_CATALOG};
use super::viewer::Viewer;

pub(super) use columns::Columns;
pub(super) use kept::{KEPT, kept_view};
pub(super) use visible::reads;

/// Schema of what adlake knows about itself.
pub(super) const SYSTEM: &str = "system";
/// Schema of the SQL standard.
pub(super) const INFORMATION_SCHEMA: &str = "information_schema";
/// The table of what callers asked for.
const AUDIT: &str = "audit";
/// The table of rows that were not accepted.
const REJECTS: &str = "rejects";
/// The table of groups that late events changed.
const RESTATEMENTS: &str = "restatements";
/// The table of answers from views that were checked.
const VERIFICATIONS: &str = "verifications";

/// A table whose rows are made when it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Audit,
    Columns,
    Commits,
    Functions,
    Grants,
    Ingest,
    LateEvents,
    Leases,
    Limits,
    Lineage,
    Listeners,
    Maintenance,
    Masks,
    Objects,
    Policies,
    Queries,
    Rejects,
    Restatements,
    Roles,
    Settings,
    Tables,
    Tokens,
    Users,
    Verifications,
    Views,
    InformationColumns,
    InformationSchemata,
    InformationTables,
    InformationViews,
}

const TABLES: &[(&str, &str, Kind)] = &[
    (SYSTEM, AUDIT, Kind::Audit),
    (SYSTEM, "columns", Kind::Columns),
    (SYSTEM, "commits", Kind::Commits),
    (SYSTEM, "functions", Kind::Functions),
    (SYSTEM, "grants", Kind::Grants),
    (SYSTEM, "ingest", Kind::Ingest),
    (SYSTEM, "late_events", Kind::LateEvents),
    (SYSTEM, "leases", Kind::Leases),
    (SYSTEM, "limits", Kind::Limits),
    (SYSTEM, "lineage", Kind::Lineage),
    (SYSTEM, "listeners", Kind::Listeners),
    (SYSTEM, "maintenance", Kind::Maintenance),
    (SYSTEM, "masks", Kind::Masks),
    (SYSTEM, "objects", Kind::Objects),
    (SYSTEM, "policies", Kind::Policies),
    (SYSTEM, "queries", Kind::Queries),
    (SYSTEM, REJECTS, Kind::Rejects),
    (SYSTEM, RESTATEMENTS, Kind::Restatements),
    (SYSTEM, "roles", Kind::Roles),
    (SYSTEM, "settings", Kind::Settings),
    (SYSTEM, "tables", Kind::Tables),
    (SYSTEM, "tokens", Kind::Tokens),
    (SYSTEM, "users", Kind::Users),
    (SYSTEM, VERIFICATIONS, Kind::Verifications),
    (SYSTEM, "views", Kind::Views),
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

/// Schema, name and columns of every table that is not in the lake.
pub(super) fn schemas() -> impl Iterator<Item = (&'static str, &'static str, SchemaRef)> {
    TABLES.iter().map(|(schema, name, kind)| (*schema, *name, kind.schema()))
}

/// The table of this name, if there is one, with the rows that `viewer` may see.
pub(super) fn table(
    engine: &Arc<Inner>,
    (schema, name): (&str, &str),
    viewer: &Viewer,
) -> Option<Arc<dyn TableProvider>> {
    if schema == PG_CATALOG {
        return postgres::table(engine, name, viewer);
    }
    let (_, _, kind) = TABLES.iter().find(|(of, known, _)| *of == schema && *known == name)?;
    Some(Arc::new(SystemTable { kind: *kind, engine: engine.clone(), viewer: viewer.clone() }))
}

impl Kind {
    fn schema(self) -> SchemaRef {
        match self {
            Kind::Audit => audit::schema(),
            Kind::Columns => columns::schema(),
            Kind::Commits => commits::schema(),
            Kind::Functions => functions::schema(),
            Kind::Grants => security::grants_schema(),
            Kind::Ingest => ingest::schema(),
            Kind::LateEvents => late_events::schema(),
            Kind::Leases => leases::schema(),
            Kind::Limits => limits::schema(),
            Kind::Lineage => lineage::schema(),
            Kind::Listeners => listeners::schema(),
            Kind::Maintenance => maintenance::schema(),
            Kind::Masks => security::masks_schema(),
            Kind::Objects => objects::schema(),
            Kind::Policies => security::policies_schema(),
            Kind::Queries => queries::schema(),
            Kind::Rejects => rejects::schema(),
            Kind::Restatements => restatements::schema(),
            Kind::Roles => security::roles_schema(),
            Kind::Settings => settings::schema(),
            Kind::Tables => tables::schema(),
            Kind::Tokens => security::tokens_schema(),
            Kind::Users => security::users_schema(),
            Kind::Verifications => verifications::schema(),
            Kind::Views => views::schema(),
            Kind::InformationColumns => information::columns_schema(),
            Kind::InformationSchemata => information::schemata_schema(),
            Kind::InformationTables => information::tables_schema(),
            Kind::InformationViews => information::views_schema(),
        }
    }

    /// `is_shown`: the tables whose logs are worth looking at for the rows.
    async fn rows(
        self,
        engine: &Arc<Inner>,
        viewer: &Viewer,
        is_shown: &(dyn Fn(&str) -> bool + Send + Sync),
    ) -> Result<RecordBatch, QueryError> {
        match self {
            Kind::Columns => columns::rows(engine),
            Kind::Commits => commits::rows(engine, is_shown).await,
            Kind::Functions => functions::rows(engine),
            Kind::Grants => security::grants(engine),
            Kind::Ingest => ingest::rows(engine).await,
            Kind::LateEvents => late_events::rows(engine, is_shown).await,
            Kind::Leases => leases::rows(engine).await,
            Kind::Limits => limits::rows(engine),
            Kind::Lineage => lineage::rows(engine),
            Kind::Listeners => listeners::rows(engine),
            Kind::Maintenance => maintenance::rows(engine).await,
            Kind::Masks => security::masks(engine),
            Kind::Objects => objects::rows(engine),
            Kind::Policies => security::policies(engine),
            Kind::Queries => queries::rows(engine, viewer),
            Kind::Audit | Kind::Rejects | Kind::Restatements | Kind::Verifications => {
                Ok(RecordBatch::new_empty(self.schema()))
            }
            Kind::Roles => security::roles(engine),
            Kind::Settings => settings::rows(engine),
            Kind::Tables => tables::rows(engine).await,
            Kind::Tokens => security::tokens(engine),
            Kind::Users => security::users(engine),
            Kind::Views => views::rows(engine).await,
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
    viewer: Viewer,
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
        let catalog = self.engine.catalog.snapshot();
        let is_shown = |name: &str| visible::may_show(self.kind, &self.viewer, &catalog, name);
        let rows = self.kind.rows(&self.engine, &self.viewer, &is_shown).await.map_err(external)?;
        let rows = visible::visible(self.kind, rows, &self.viewer, &catalog).map_err(external)?;
        let exec = MemorySourceConfig::try_new_exec(&[vec![rows]], self.kind.schema(), projection.cloned())?;
        Ok(exec)
    }
}

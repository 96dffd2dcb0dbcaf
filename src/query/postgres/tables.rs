//! The tables of `pg_catalog`, each with its columns.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DataFusionResult;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::columns::{Cell, Row, batch, schema};
use super::names::{DATABASE_OID, OWNER_OID};
use super::{OWNER, empty, relations, types};
use crate::catalog::ObjectKind;
use crate::query::engine::Inner;
use crate::query::fault::external;
use crate::query::runtime::CATALOG;
use crate::query::viewer::Viewer;

/// Tables that have rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Table {
    AccessMethods,
    Attributes,
    Classes,
    Databases,
    MaterializedViews,
    Namespaces,
    Roles,
    Settings,
    Tables,
    Types,
    Users,
    Views,
    /// One without rows, with its columns.
    Empty(&'static str),
}

const TABLES: [(&str, Table); 12] = [
    ("pg_am", Table::AccessMethods),
    ("pg_attribute", Table::Attributes),
    ("pg_class", Table::Classes),
    ("pg_database", Table::Databases),
    ("pg_matviews", Table::MaterializedViews),
    ("pg_namespace", Table::Namespaces),
    ("pg_roles", Table::Roles),
    ("pg_settings", Table::Settings),
    ("pg_tables", Table::Tables),
    ("pg_type", Table::Types),
    ("pg_user", Table::Users),
    ("pg_views", Table::Views),
];

const CLASS: &str = "oid:n relname relnamespace:n reltype:n=0 reloftype:n=0 relowner:n=10 relam:n=2 relfilenode:n=0 \
    reltablespace:n=0 relpages:n=0 reltuples:n=-1 relallvisible:n=0 reltoastrelid:n=0 relhasindex:f=false relisshared:f=false \
    relpersistence:t=p relkind relnatts:n relchecks:n=0 relhasrules:f=false relhastriggers:f=false relhassubclass:f=false \
    relrowsecurity:f=false relforcerowsecurity:f=false relispopulated:f=true relreplident:t=d relispartition:f=false \
    relrewrite:n=0 relfrozenxid:n=0 relminmxid:n=0 relhasoids:f=false relacl:a reloptions:a relpartbound";
const ATTRIBUTE: &str = "attrelid:n attname atttypid:n attstattarget:n=-1 attlen:n attnum:n attndims:n=0 attcacheoff:n=-1 \
    atttypmod:n=-1 attbyval:f=false attalign:t=i attstorage:t=p attcompression:t= attnotnull:f atthasdef:f=false \
    atthasmissing:f=false attidentity:t= attgenerated:t= attisdropped:f=false attislocal:f=true attinhcount:n=0 \
    attcollation:n=0 attacl:a attoptions:a attfdwoptions:a attmissingval:a";
const TYPE: &str = "oid:n typname typnamespace:n typowner:n typlen:n typbyval:f typtype typcategory typispreferred:f=false \
    typisdefined:f=true typdelim:t=, typrelid:n=0 typsubscript:t=- typelem:n=0 typarray:n=0 typinput typoutput:t= \
    typreceive:t= typsend:t= typmodin:t=- typmodout:t=- typanalyze:t=- typalign:t=i typstorage:t=p typnotnull:f=false \
    typbasetype:n=0 typtypmod:n=-1 typndims:n=0 typcollation:n=0 typdefaultbin typdefault typacl:a";
const DATABASE: &str = "oid:n datname datdba:n=10 encoding:n=6 datlocprovider:t=c datistemplate:f=false datallowconn:f=true \
    datconnlimit:n=-1 datfrozenxid:n=0 datminmxid:n=0 dattablespace:n=1663 datcollate:t=C datctype:t=C daticulocale \
    daticurules datlocale datcollversion datlastsysoid:n=0 datacl:a";
const ROLE: &str = "rolname rolsuper:f=false rolinherit:f=true rolcreaterole:f=false rolcreatedb:f=false rolcanlogin:f=true \
    rolreplication:f=false rolconnlimit:n=-1 rolpassword rolvaliduntil rolbypassrls:f=false rolconfig:a oid:n";
const USER: &str = "usename usesysid:n usecreatedb:f=false usesuper:f=false userepl:f=false usebypassrls:f=false passwd \
    valuntil useconfig:a";

/// What `pg_settings` says; the rest is asked with SHOW.
const SETTINGS: [(&str, &str); 6] = [
    ("client_encoding", "UTF8"),
    ("server_encoding", "UTF8"),
    ("standard_conforming_strings", "on"),
    ("TimeZone", "UTC"),
    ("transaction_isolation", "read committed"),
    ("max_index_keys", "32"),
];

impl Table {
    fn columns(self) -> &'static str {
        match self {
            Self::AccessMethods => "oid:n amname amhandler:t=- amtype:t=t",
            Self::Attributes => ATTRIBUTE,
            Self::Classes => CLASS,
            Self::Databases => DATABASE,
            Self::MaterializedViews => {
                "schemaname matviewname matviewowner tablespace hasindexes:f=false ispopulated:f=true definition oid:n"
            }
            Self::Namespaces => "oid:n nspname nspowner:n=10 nspacl:a",
            Self::Roles => ROLE,
            Self::Settings => {
                "name setting unit category short_desc extra_desc context:t=internal vartype:t=string source:t=default \
                 min_val max_val enumvals:a boot_val reset_val sourcefile sourceline:n pending_restart:f=false"
            }
            Self::Tables => {
                "schemaname tablename tableowner tablespace hasindexes:f=false hasrules:f=false hastriggers:f=false \
                 rowsecurity:f=false"
            }
            Self::Types => TYPE,
            Self::Users => USER,
            Self::Views => "schemaname viewname viewowner definition oid:n",
            Self::Empty(columns) => columns,
        }
    }

    fn rows(self, engine: &Arc<Inner>, viewer: &Viewer) -> Vec<Row> {
        match self {
            Self::AccessMethods => vec![vec![("oid", Cell::Number(2)), ("amname", Cell::text("heap"))]],
            Self::Attributes => relations::attributes(engine, viewer),
            Self::Classes => relations::classes(engine, viewer),
            Self::Databases => vec![vec![("oid", Cell::Number(DATABASE_OID)), ("datname", Cell::text(CATALOG))]],
            Self::MaterializedViews => relations::of_kind(engine, viewer, ObjectKind::MaterializedView),
            Self::Namespaces => relations::namespaces(),
            Self::Roles => roles(viewer, ("rolname", "oid")),
            Self::Settings => {
                let row =
                    |(name, value): &(&str, &str)| vec![("name", Cell::text(*name)), ("setting", Cell::text(*value))];
                SETTINGS.iter().map(row).collect()
            }
            Self::Tables => relations::of_kind(engine, viewer, ObjectKind::Table),
            Self::Types => types::rows(),
            Self::Users => roles(viewer, ("usename", "usesysid")),
            Self::Views => relations::of_kind(engine, viewer, ObjectKind::View),
            Self::Empty(_) => Vec::new(),
        }
    }
}

/// The owner of everything, and the viewer; who else there is, `system.users` tells admins.
fn roles(viewer: &Viewer, (name, oid): (&'static str, &'static str)) -> Vec<Row> {
    let row = |who: &str, number: i64| vec![(name, Cell::text(who)), (oid, Cell::Number(number))];
    let mut rows = vec![row(OWNER, OWNER_OID)];
    if viewer.user() != OWNER {
        rows.push(row(viewer.user(), OWNER_OID + 1));
    }
    rows
}

/// The table of this name, if there is one, with the rows that `viewer` may see.
pub(in crate::query) fn table(engine: &Arc<Inner>, name: &str, viewer: &Viewer) -> Option<Arc<dyn TableProvider>> {
    let found = TABLES.iter().find(|(known, _)| *known == name).map(|(_, table)| *table);
    let table = found.or_else(|| empty::columns(name).map(Table::Empty))?;
    Some(Arc::new(PostgresTable { table, engine: engine.clone(), viewer: viewer.clone() }))
}

/// Whether there is a table of this name.
pub(super) fn is_table(name: &str) -> bool {
    TABLES.iter().any(|(known, _)| *known == name) || empty::columns(name).is_some()
}

struct PostgresTable {
    table: Table,
    engine: Arc<Inner>,
    viewer: Viewer,
}

impl fmt::Debug for PostgresTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresTable").field(&self.table).finish()
    }
}

#[async_trait]
impl TableProvider for PostgresTable {
    fn schema(&self) -> SchemaRef {
        schema(self.table.columns())
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
        let rows = batch(self.table.columns(), &self.table.rows(&self.engine, &self.viewer)).map_err(external)?;
        let exec = MemorySourceConfig::try_new_exec(&[vec![rows]], self.schema(), projection.cloned())?;
        Ok(exec)
    }
}

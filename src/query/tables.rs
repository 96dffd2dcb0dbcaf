//! Names to relations, before planning: one pinned snapshot per table, views by their text, system tables by name.
//!
//! ```text
//! statement ─► names it reads ─► catalog ─► views: their names too … ─► snapshots of all tables, opened together ─► Relations
//! ```
//! All I/O of a statement's planning happens here; afterwards [`Relations`] answers without waiting. A table named twice,
//! or reached through several views, has one version in one statement.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::TableReference;
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::TableSource;
use datafusion::sql::parser::Statement;
use datafusion::sql::resolve::resolve_table_references;
use futures::future::try_join_all;

use super::engine::Inner;
use super::planner::parse;
use super::runtime::{CATALOG, PUBLIC};
use super::{QueryError, system};
use crate::base::{Timestamp, suggestion};
use crate::catalog::{CatalogSnapshot, Definition, Object};
use crate::storage::{TableSnapshot, TableVersion, storable_type};

/// What a name stands for while a statement is planned.
pub(super) enum Relation {
    Table(Arc<dyn TableSource>),
    View {
        name: String,
        statement: Box<Statement>,
    },
    /// A materialized view that has no files yet: its columns are those its query gives, as stored.
    Planned {
        name: String,
        statement: Box<Statement>,
    },
}

/// Schema (lower case) and name.
type Key = (String, String);

/// Everything a statement may read.
pub(super) struct Relations {
    found: HashMap<Key, Relation>,
    catalog: Arc<CatalogSnapshot>,
    sources: BTreeMap<String, (TableVersion, Timestamp)>,
    /// Tables that are not in the lake, as `system.*`.
    has_live: bool,
    /// Everything committed before this moment is in the snapshots.
    pub(super) data_as_of: Timestamp,
}

impl Relations {
    /// # Errors
    /// `NotFound` with the nearest name.
    pub(super) fn find(&self, reference: &TableReference) -> Result<&Relation, QueryError> {
        let key = key_of(reference)?;
        self.found.get(&key).ok_or_else(|| not_found(&key, &self.catalog))
    }

    /// Tables read, and their versions.
    pub(super) fn sources(&self) -> Vec<(String, TableVersion)> {
        self.sources.iter().map(|(name, (version, _))| (name.clone(), *version)).collect()
    }

    /// Versions of the catalog and of every table read, as text; `None` when something is read that has no version.
    pub(super) fn state(&self) -> Option<String> {
        let mut state = format!("catalog@{}", self.catalog.version.0);
        for (name, (version, committed_at)) in &self.sources {
            // The moment tells a table from one of the same name and version in another lake.
            state.push_str(&format!(" {name}@{version}@{}", committed_at.0));
        }
        (!self.has_live).then_some(state)
    }

    /// Relations as the catalog describes them: no files are opened, tables are empty. For checking definitions and for
    /// listing columns.
    ///
    /// # Errors
    /// A stored query that cannot be parsed.
    pub(super) fn described(
        engine: &Arc<Inner>,
        catalog: &Arc<CatalogSnapshot>,
        wanted: Vec<TableReference>,
    ) -> Result<Self, QueryError> {
        let mut relations = Self::empty(engine, catalog.clone());
        relations.follow(engine, wanted, |object| match &object.definition {
            Definition::Table(table) => Found::Relation(empty_table(table.columns.clone())),
            Definition::MaterializedView(view) => Found::Planned(view.query.clone()),
            Definition::View(view) => Found::View(view.query.clone()),
            Definition::Endpoint(_) => Found::Nothing,
        })?;
        Ok(relations)
    }

    /// Relations with one snapshot per table.
    ///
    /// # Errors
    /// A table whose files cannot be opened; a stored query that cannot be parsed.
    pub(super) async fn pinned(engine: &Arc<Inner>, wanted: Vec<TableReference>) -> Result<Self, QueryError> {
        let mut catalog = engine.catalog.snapshot();
        if wanted.iter().any(|reference| is_unknown(engine, &catalog, reference)) {
            // Made by another process a moment ago?
            catalog = engine.catalog.refresh().await?;
        }
        let mut relations = Self::empty(engine, catalog);
        let mut tables = Vec::new();
        let with_rejects = wanted
            .iter()
            .any(|reference| key_of(reference).is_ok_and(|key| key.0 == system::SYSTEM && key.1 == system::REJECTS));
        relations.follow(engine, wanted, |object| match (&object.definition, &object.table_path) {
            (Definition::View(view), _) => Found::View(view.query.clone()),
            (_, Some(path)) => {
                tables.push((object.name.clone(), path.clone()));
                Found::Nothing
            }
            (_, None) => Found::Nothing,
        })?;
        let snapshots = try_join_all(tables.iter().map(|(_, path)| snapshot(engine, path))).await?;
        for ((name, _), snapshot) in tables.into_iter().zip(snapshots) {
            relations.sources.insert(name.clone(), (snapshot.version(), snapshot.committed_at()));
            let source = provider_as_source(snapshot.provider());
            relations.found.insert((PUBLIC.to_owned(), name), Relation::Table(source));
        }
        if with_rejects && let Some(view) = system::rejects_view(engine).await? {
            let key = |name: &str| (system::SYSTEM.to_owned(), name.to_owned());
            for (name, snapshot) in view.tables {
                let source = provider_as_source(snapshot.provider());
                relations.found.insert(key(name), Relation::Table(source));
            }
            let (name, statement) = (system::REJECTS.to_owned(), Box::new(parse(&view.query)?));
            relations.found.insert(key(system::REJECTS), Relation::View { name, statement });
        }
        Ok(relations)
    }

    fn empty(engine: &Inner, catalog: Arc<CatalogSnapshot>) -> Self {
        let data_as_of = engine.clock.now();
        Self { found: HashMap::new(), catalog, sources: BTreeMap::new(), has_live: false, data_as_of }
    }

    /// Follows names through views; `look` says what an object is.
    fn follow<F>(&mut self, engine: &Arc<Inner>, mut open: Vec<TableReference>, mut look: F) -> Result<(), QueryError>
    where
        F: FnMut(&Object) -> Found,
    {
        let catalog = self.catalog.clone();
        let mut visited = std::collections::HashSet::new();
        while let Some(reference) = open.pop() {
            let key = key_of(&reference)?;
            if !visited.insert(key.clone()) {
                continue;
            }
            if key.0 != PUBLIC {
                self.has_live = true;
                if let Some(provider) = system::table(engine, &key.0, &key.1) {
                    self.found.insert(key, Relation::Table(provider_as_source(provider)));
                }
                continue;
            }
            let Some(object) = catalog.relations.get(&key.1) else { continue };
            let name = key.1.clone();
            match look(object) {
                Found::Nothing => {}
                Found::Relation(relation) => {
                    self.found.insert(key, relation);
                }
                Found::View(query) => {
                    let statement = Box::new(parse(&query)?);
                    open.extend(references(&statement)?);
                    self.found.insert(key, Relation::View { name, statement });
                }
                Found::Planned(query) => {
                    let statement = Box::new(parse(&query)?);
                    open.extend(references(&statement)?);
                    self.found.insert(key, Relation::Planned { name, statement });
                }
            }
        }
        Ok(())
    }
}

enum Found {
    Nothing,
    Relation(Relation),
    View(String),
    Planned(String),
}

async fn snapshot(engine: &Inner, path: &str) -> Result<Arc<TableSnapshot>, QueryError> {
    let table = engine.lake.open_table(path).await?;
    Ok(table.snapshot().await?)
}

/// A source with columns and no rows.
pub(super) fn empty_table(columns: SchemaRef) -> Relation {
    Relation::Table(provider_as_source(Arc::new(EmptyTable::new(columns))))
}

/// The tables and views a statement names, without its own CTEs.
pub(super) fn references(statement: &Statement) -> Result<Vec<TableReference>, QueryError> {
    let (tables, _) = resolve_table_references(statement, true)?;
    Ok(tables)
}

/// Whether a statement reads nothing but what the process knows by itself, and so needs no turn.
pub(super) fn reads_only_system(references: &[TableReference]) -> bool {
    !references.is_empty()
        && references.iter().all(|reference| {
            reference.schema().is_some_and(|schema| schema == system::SYSTEM || schema == system::INFORMATION_SCHEMA)
                && reference.table() != system::REJECTS
        })
}

fn is_unknown(engine: &Inner, catalog: &CatalogSnapshot, reference: &TableReference) -> bool {
    let public = reference.schema().is_none_or(|schema| schema == PUBLIC);
    public && !catalog.relations.contains_key(reference.table()) && !engine.shared.has_table_function(reference.table())
}

fn key_of(reference: &TableReference) -> Result<Key, QueryError> {
    if let Some(catalog) = reference.catalog()
        && catalog != CATALOG
    {
        let hint = suggestion(catalog, [CATALOG]);
        return Err(QueryError::NotFound {
            message: format!("catalog '{catalog}' not found{hint}; there is one: {CATALOG}"),
        });
    }
    Ok((reference.schema().unwrap_or(PUBLIC).to_owned(), reference.table().to_owned()))
}

fn not_found((schema, name): &Key, catalog: &CatalogSnapshot) -> QueryError {
    let message = match schema.as_str() {
        PUBLIC => {
            let hint = suggestion(name, catalog.relations.keys().map(String::as_str));
            format!("table or view '{name}' not found{hint}")
        }
        system::SYSTEM | system::INFORMATION_SCHEMA => {
            let hint = suggestion(name, system::names(schema));
            format!("system table '{schema}.{name}' not found{hint}")
        }
        _ => {
            let hint = suggestion(schema, [PUBLIC, system::SYSTEM, system::INFORMATION_SCHEMA]);
            format!("schema '{schema}' not found{hint}")
        }
    };
    QueryError::NotFound { message }
}

/// The schema a query's rows have once they are stored: types as tables keep them, all nullable.
///
/// # Errors
/// Columns without a usable name; types a table cannot hold.
pub(super) fn storable(schema: &Schema) -> Result<SchemaRef, QueryError> {
    let invalid = |message| QueryError::Invalid { message };
    let mut fields: Vec<Field> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let name = field.name();
        if name.contains(|c: char| " ,;{}()\n\t=".contains(c)) {
            return Err(invalid(format!("column '{name}' cannot be stored under this name; give it one with AS")));
        }
        if fields.iter().any(|earlier| earlier.name().eq_ignore_ascii_case(name)) {
            return Err(invalid(format!("two columns are called '{name}'; rename one with AS")));
        }
        let data_type = match field.data_type() {
            // Counts and sums of unsigned columns; a value beyond BIGINT is an error when it is stored.
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => DataType::Int64,
            other => storable_type(other).map_err(|reason| invalid(format!("column '{name}' {reason}")))?,
        };
        fields.push(Field::new(name, data_type, true));
    }
    Ok(Arc::new(Schema::new(fields)))
}

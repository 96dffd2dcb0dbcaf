//! Names to relations, before planning: one pinned snapshot per table, views by their text, system tables by name.
//!
//! ```text
//! statement ─► names it reads ─► catalog ─► views: their names too … ─► snapshots of all tables, opened together ─► Relations
//! ```
//! All I/O of a statement's planning happens here; afterwards [`Relations`] answers without waiting. A table named twice,
//! or reached through several views, has one version in one statement.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::TableReference;
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::TableSource;
use datafusion::sql::parser::Statement;
use datafusion::sql::resolve::resolve_table_references;

use super::authorise::denied;
use super::engine::Inner;
use super::leak::Guard;
use super::planner::parse;
use super::postgres::PG_CATALOG;
use super::runtime::{CATALOG, PUBLIC};
use super::viewer::Viewer;
use super::views::{
    MadeOf, PartitionedToPin, Pinned, PinnedPartitioned, PinnedView, ToPin, ViewToPin, pin, stored_as_of,
};
use super::{QueryError, system};
use crate::auth::Reading;
use crate::base::{Timestamp, suggestion};
use crate::catalog::{CatalogSnapshot, Definition, MaterializedViewDefinition, Object, ObjectKind};
use crate::rollup::Strategy;
use crate::storage::{StorageError, TableSnapshot, TableVersion};

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
    /// The tables of the lake, by name.
    snapshots: BTreeMap<String, Arc<TableSnapshot>>,
    /// Views kept incrementally, by name.
    views: HashMap<String, PinnedView>,
    /// Views kept by partitions, by name.
    partitioned: HashMap<String, PinnedPartitioned>,
    /// Materialized views that are answered from what they are made of: policies hold there.
    recomputed: HashSet<String>,
    viewer: Viewer,
    /// Tables that are not in the lake, as `system.*`.
    has_live: bool,
    /// Of tables of `system` that the lake keeps, some rows are not this viewer's.
    hides_kept: bool,
    /// Everything committed before this moment is in the rows.
    pub(super) data_as_of: Timestamp,
    /// How old rows of views may be, as the session allows.
    pub(super) oldest: Option<Timestamp>,
}

impl Relations {
    /// # Errors
    /// `NotFound` with the nearest name.
    pub(super) fn find(&self, reference: &TableReference) -> Result<&Relation, QueryError> {
        let key = key_of(reference)?;
        self.found.get(&key).ok_or_else(|| not_found(&key, &self.catalog, &self.viewer))
    }

    pub(super) fn viewer(&self) -> &Viewer {
        &self.viewer
    }

    pub(super) fn is_public(reference: &TableReference) -> bool {
        reference.schema().is_none_or(|schema| schema == PUBLIC)
    }

    /// What of a relation may be named; what stands in a view (not `in_own_text`) is read by its maker's right.
    ///
    /// # Errors
    /// `NotFound`, as for a name that does not exist, when the viewer may read nothing of it.
    pub(super) fn reading(&self, reference: &TableReference, in_own_text: bool) -> Result<Reading, QueryError> {
        if !in_own_text || self.viewer.caller().is_none() {
            return Ok(Reading::All);
        }
        let key = key_of(reference)?;
        let reading = match key.0.as_str() {
            PUBLIC => self.viewer.reading(&key.1),
            // What `system.rejects` is made of.
            _ if key.1.starts_with('_') => Reading::Nothing,
            _ => Reading::All,
        };
        match reading {
            Reading::Nothing if key.0 == PUBLIC && self.viewer.may_see(&key.1) && self.found.contains_key(&key) => {
                Err(denied(format!("you may not read '{}'", key.1)))
            }
            Reading::Nothing => Err(not_found(&key, &self.catalog, &self.viewer)),
            some => Ok(some),
        }
    }

    /// A materialized view whose stored rows this viewer may not have.
    pub(super) fn is_recomputed(&self, name: &str) -> bool {
        self.recomputed.contains(name)
    }

    /// How far the viewer's own filters have to be kept from rows that policies hide.
    pub(super) fn guard(&self) -> Guard {
        let protected =
            self.found.iter().filter(|((schema, name), _)| schema == PUBLIC && self.viewer.has_policies(name));
        let guards = protected.map(|(_, relation)| match relation {
            Relation::Table(_) => Guard::Tables,
            Relation::View { .. } | Relation::Planned { .. } => Guard::Views,
        });
        // Rows of a kept table are put together from several.
        let of_kept = if self.hides_kept { Guard::Views } else { Guard::Open };
        guards.max().unwrap_or(Guard::Open).max(of_kept)
    }

    /// Whether plans and counts of everything read here may be shown.
    pub(super) fn are_whole(&self) -> bool {
        let mut public = self.found.keys().filter(|(schema, _)| schema == PUBLIC);
        // A plan names the view it was answered from, which need not be one it reads.
        let mut views = self.catalog.relations.values().filter(|object| object.kind == ObjectKind::MaterializedView);
        !self.hides_kept
            && public.all(|(_, name)| self.viewer.sees_whole(&self.catalog, name))
            && views.all(|view| self.viewer.may_see(&view.name))
    }

    pub(super) fn has_pinned_views(&self) -> bool {
        !self.views.is_empty()
    }

    /// The stored rows of a view that is kept incrementally.
    pub(super) fn pinned_view(&self, name: &str) -> Option<&PinnedView> {
        self.views.get(name)
    }

    /// The stored rows of a view that is kept by partitions.
    pub(super) fn pinned_partitioned(&self, name: &str) -> Option<&PinnedPartitioned> {
        self.partitioned.get(name)
    }

    /// A table of the lake, at the version this statement reads.
    pub(super) fn snapshot(&self, name: &str) -> Option<&Arc<TableSnapshot>> {
        self.snapshots.get(name)
    }

    pub(super) fn catalog(&self) -> &Arc<CatalogSnapshot> {
        &self.catalog
    }

    /// Tables read, and their versions.
    pub(super) fn sources(&self) -> Vec<(String, TableVersion)> {
        self.sources.iter().map(|(name, (version, _))| (name.clone(), *version)).collect()
    }

    /// Rows of all tables read.
    pub(super) fn source_rows(&self) -> u64 {
        self.snapshots.values().map(|snapshot| snapshot.row_count()).sum()
    }

    /// Versions of the catalog and of every table read, as text; `None` when something is read that has no version.
    pub(super) fn state(&self) -> Option<String> {
        let is_behind = self.views.values().any(|view| view.as_of.is_some());
        let mut state = format!("catalog@{}", self.catalog.version.0);
        for (name, (version, committed_at)) in &self.sources {
            // The moment tells a table from one of the same name and version in another lake.
            state.push_str(&format!(" {name}@{version}@{}", committed_at.0));
        }
        if let Some(fingerprint) = self.viewer.fingerprint() {
            state.push_str(&format!(" for {fingerprint}"));
        }
        (!self.has_live && !is_behind).then_some(state)
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
        Self::described_through(engine, catalog, wanted, &|_, _| false)
    }

    /// As [`Self::described`], with the materialized views that `is_looked_through` names being what their queries are.
    ///
    /// # Errors
    /// As there.
    pub(super) fn described_through(
        engine: &Arc<Inner>,
        catalog: &Arc<CatalogSnapshot>,
        wanted: Vec<TableReference>,
        is_looked_through: &dyn Fn(&str, &MaterializedViewDefinition) -> bool,
    ) -> Result<Self, QueryError> {
        let mut relations = Self::empty(engine, catalog.clone(), Viewer::trusted());
        relations.follow(engine, wanted, |object| match &object.definition {
            Definition::Table(table) => Found::Relation(empty_table(table.columns.clone())),
            Definition::MaterializedView(view) if is_looked_through(&object.name, view) => {
                Found::View(view.query.clone())
            }
            Definition::MaterializedView(view) => Found::Planned(view.query.clone()),
            Definition::View(view) => Found::View(view.query.clone()),
            Definition::Endpoint(_) => Found::Nothing,
        })?;
        Ok(relations)
    }

    /// Every relation as a table without rows, views too: a plan over them ends at the names that its statement has.
    ///
    /// # Errors
    /// Another catalog than ours.
    pub(super) fn by_columns(engine: &Arc<Inner>, wanted: Vec<TableReference>) -> Result<Self, QueryError> {
        let mut relations = Self::empty(engine, engine.catalog.snapshot(), Viewer::trusted());
        relations.follow(engine, wanted, |object| match engine.columns.of(engine, &object.name) {
            Ok(columns) => Found::Relation(empty_table(columns)),
            Err(_) => Found::Nothing,
        })?;
        Ok(relations)
    }

    /// Relations with one snapshot per table.
    ///
    /// # Errors
    /// A table whose files cannot be opened; a stored query that cannot be parsed.
    pub(super) async fn pinned(
        engine: &Arc<Inner>,
        wanted: Vec<TableReference>,
        viewer: &Viewer,
    ) -> Result<Self, QueryError> {
        Self::pinned_since(engine, wanted, viewer, None).await
    }

    /// As [`Relations::pinned`]; rows of views may be true for a moment as early as `oldest`.
    ///
    /// # Errors
    /// As [`Relations::pinned`].
    pub(super) async fn pinned_since(
        engine: &Arc<Inner>,
        wanted: Vec<TableReference>,
        viewer: &Viewer,
        oldest: Option<Timestamp>,
    ) -> Result<Self, QueryError> {
        let mut catalog = engine.catalog.snapshot();
        if wanted.iter().any(|reference| is_unknown(engine, &catalog, reference)) {
            // Made by another process a moment ago?
            catalog = engine.catalog.refresh().await?;
        }
        loop {
            let gone = match Self::pinned_by(engine, &catalog, wanted.clone(), viewer, oldest).await {
                Err(QueryError::Storage(error @ StorageError::TableNotFound { .. })) => error,
                pinned => return pinned,
            };
            // Dropped or replaced a moment ago?
            let newer = engine.catalog.refresh().await?;
            if newer.version == catalog.version {
                return Err(gone.into());
            }
            catalog = newer;
        }
    }

    async fn pinned_by(
        engine: &Arc<Inner>,
        catalog: &Arc<CatalogSnapshot>,
        wanted: Vec<TableReference>,
        viewer: &Viewer,
        oldest: Option<Timestamp>,
    ) -> Result<Self, QueryError> {
        let mut relations = Self { oldest, ..Self::empty(engine, catalog.clone(), viewer.clone()) };
        let (mut read, mut whole_views, mut recomputed) = (ToPin::default(), Vec::new(), HashSet::new());
        relations.follow(engine, wanted, |object| match (&object.definition, &object.table_path) {
            (Definition::View(view), _) => Found::View(view.query.clone()),
            (Definition::MaterializedView(view), Some(_)) if viewer.is_restricted(catalog, &object.name) => {
                recomputed.insert(object.name.clone());
                Found::View(view.query.clone())
            }
            (Definition::MaterializedView(view), Some(path)) => {
                let (name, path) = (object.name.clone(), path.clone());
                match engine.designs.of(engine, catalog, (&object.name, view)).as_deref().map(|found| &found.strategy) {
                    Ok(Strategy::Incremental(design)) => {
                        read.views.push(ViewToPin { name, path, design: design.clone() });
                        Found::View(view.query.clone())
                    }
                    Ok(Strategy::Partition(design)) => {
                        read.partitioned.push(PartitionedToPin { name, path, design: design.clone() });
                        Found::View(view.query.clone())
                    }
                    Ok(Strategy::Full(_)) => {
                        whole_views.push(name.clone());
                        read.tables.insert(name, path);
                        Found::Nothing
                    }
                    // Planning the statement says what is wrong with it.
                    Err(_) => Found::View(view.query.clone()),
                }
            }
            (_, Some(path)) => {
                read.tables.insert(object.name.clone(), path.clone());
                Found::Nothing
            }
            (_, None) => Found::Nothing,
        })?;
        let Pinned { tables, views, partitioned, seen } = pin(engine, catalog, read, oldest).await?;
        let moments = seen.into_iter().chain(views.iter().filter_map(|view| view.as_of));
        relations.data_as_of = moments.fold(relations.data_as_of, Timestamp::min);
        relations.take(tables, &whole_views);
        relations.recomputed = recomputed;
        relations.views = views.into_iter().map(|view| (view.name.clone(), view)).collect();
        relations.partitioned = partitioned.into_iter().map(|view| (view.name.clone(), view)).collect();
        relations.find_kept(engine).await?;
        Ok(relations)
    }

    /// Tables at their versions. Rows of a view kept by the full strategy that were made of something else are left out: the view is
    /// as it was before its first refresh.
    fn take(&mut self, tables: BTreeMap<String, Arc<TableSnapshot>>, whole_views: &[String]) {
        for (name, snapshot) in tables {
            self.sources.insert(name.clone(), (snapshot.version(), snapshot.committed_at()));
            let (key, rows) = ((PUBLIC.to_owned(), name.clone()), snapshot.provider());
            if whole_views.contains(&name) {
                if !MadeOf::today(&self.catalog, &name).is_of(&snapshot) {
                    self.data_as_of = Timestamp::default();
                    self.found.insert(key, empty_table(rows.schema()));
                    continue;
                }
                self.data_as_of = self.data_as_of.min(stored_as_of(&snapshot));
            }
            self.found.insert(key, Relation::Table(provider_as_source(rows)));
            self.snapshots.insert(name, snapshot);
        }
    }

    /// Puts the rows that the lake keeps of `system` tables in the place of the empty ones.
    async fn find_kept(&mut self, engine: &Arc<Inner>) -> Result<(), QueryError> {
        let key = |name: &str| (system::SYSTEM.to_owned(), name.to_owned());
        for name in system::KEPT {
            if !self.found.contains_key(&key(name)) {
                continue;
            }
            let view = system::kept_view(engine, name, (&self.viewer, &self.catalog)).await?;
            let Some(view) = view else { continue };
            self.hides_kept |= view.is_limited;
            for (hidden, rows) in view.tables {
                self.found.insert(key(hidden), Relation::Table(provider_as_source(rows)));
            }
            let statement = Box::new(parse(&view.query)?);
            // Its whole name: a view of the user's may have the same one.
            let whole = format!("{}.{name}", system::SYSTEM);
            self.found.insert(key(name), Relation::View { name: whole, statement });
        }
        Ok(())
    }

    fn empty(engine: &Inner, catalog: Arc<CatalogSnapshot>, viewer: Viewer) -> Self {
        let data_as_of = engine.clock.now();
        let (found, sources, snapshots, views, partitioned, recomputed) = Default::default();
        Self {
            found,
            catalog,
            sources,
            snapshots,
            views,
            partitioned,
            recomputed,
            viewer,
            has_live: false,
            hides_kept: false,
            data_as_of,
            oldest: None,
        }
    }

    /// Follows names through views; `look` says what an object is.
    fn follow<F>(&mut self, engine: &Arc<Inner>, mut open: Vec<TableReference>, mut look: F) -> Result<(), QueryError>
    where
        F: FnMut(&Object) -> Found,
    {
        let catalog = self.catalog.clone();
        let mut visited = HashSet::new();
        while let Some(reference) = open.pop() {
            let key = key_of(&reference)?;
            if !visited.insert(key.clone()) {
                continue;
            }
            if key.0 != PUBLIC {
                self.has_live = true;
                if let Some(provider) = system::table(engine, (&key.0, &key.1), &self.viewer) {
                    self.found.insert(key, Relation::Table(provider_as_source(provider)));
                }
                continue;
            }
            let Some(object) = catalog.relations.get(&key.1) else { continue };
            let name = key.1.clone();
            match look(object) {
                Found::Nothing => {}
                Found::Relation(relation) => drop(self.found.insert(key, relation)),
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

/// A source with columns and no rows.
pub(super) fn empty_table(columns: SchemaRef) -> Relation {
    Relation::Table(provider_as_source(Arc::new(EmptyTable::new(columns))))
}

/// The tables and views a statement names, without its own CTEs.
pub(super) fn references(statement: &Statement) -> Result<Vec<TableReference>, QueryError> {
    let (tables, _) = resolve_table_references(statement, true)?;
    Ok(tables)
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

fn not_found((schema, name): &Key, catalog: &CatalogSnapshot, viewer: &Viewer) -> QueryError {
    let message = match schema.as_str() {
        PUBLIC => return viewer.not_found(name, catalog),
        system::SYSTEM | system::INFORMATION_SCHEMA => {
            let hint = suggestion(name, system::names(schema));
            format!("system table '{schema}.{name}' not found{hint}")
        }
        PG_CATALOG => format!("table '{schema}.{name}' not found"),
        _ => {
            let hint = suggestion(schema, [PUBLIC, system::SYSTEM, system::INFORMATION_SCHEMA]);
            format!("schema '{schema}' not found{hint}")
        }
    };
    QueryError::NotFound { message }
}

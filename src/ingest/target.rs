//! The table rows go into: its definition, its columns as stored, its writer.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::execution::TaskContext;
use parking_lot::Mutex;

use super::IngestError;
use super::bucket::Buckets;
use super::dedup::Dedup;
use super::key_budget::KeyBudget;
use super::validate::{Arrival, Rules, Validator};
use super::writer::Writer;
use crate::base::Clock;
use crate::catalog::{Catalog, CatalogError, CatalogSnapshot, Definition, Object, TableDefinition, TableKind};
use crate::storage::Lake;

/// A table, ready to be written.
#[derive(Clone)]
pub struct Target {
    pub name: String,
    /// As the catalog had it.
    pub object: Arc<Object>,
    pub definition: Arc<TableDefinition>,
    /// Columns as stored, with their nullability.
    pub columns: SchemaRef,
    pub writer: Arc<Writer>,
    /// How its events fall into event-time buckets.
    pub buckets: Option<Buckets>,
    /// Its CHECKs, planned.
    rules: Arc<Rules>,
}

/// What follows from a definition; kept while the definition and the columns stay the same.
#[derive(Clone)]
struct Compiled {
    object: Arc<Object>,
    columns: SchemaRef,
    definition: Arc<TableDefinition>,
    rules: Arc<Rules>,
}

/// Finds tables by name; keeps one writer per table.
pub struct Targets {
    lake: Lake,
    catalog: Arc<Catalog>,
    clock: Clock,
    pub budget: KeyBudget,
    writers: Mutex<HashMap<String, Arc<Writer>>>,
    compiled: Mutex<HashMap<String, Compiled>>,
}

impl Targets {
    pub fn new(lake: Lake, catalog: Arc<Catalog>, clock: Clock, budget: KeyBudget) -> Self {
        Self { lake, catalog, clock, budget, writers: Mutex::default(), compiled: Mutex::default() }
    }

    /// The table called `name`, at its newest definition.
    ///
    /// # Errors
    /// When there is none, or `name` is something rows do not go into.
    pub async fn resolve(&self, name: &str) -> Result<Target, IngestError> {
        let object = self.object(name).await?;
        match self.open(&object).await {
            Err(error) => Err(self.told(&object, error).await),
            target => target,
        }
    }

    /// The table that `object` is, whether or not its name leads to it.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub async fn open(&self, object: &Arc<Object>) -> Result<Target, IngestError> {
        let Definition::Table(definition) = &object.definition else {
            let message = format!("'{}' is a {}: rows go into tables", object.name, object.kind);
            return Err(IngestError::Invalid { message });
        };
        let path = object.table_path.as_deref().unwrap_or(&object.name);
        let table = self.lake.open_table(path).await?;
        let mut columns = table.snapshot().await?.columns();
        if definition.columns.fields().len() > columns.fields().len() {
            // Another process has added a column since the log was last looked at.
            columns = table.refresh().await?.columns();
        }
        let Compiled { definition, rules, .. } = self.compiled(object, definition, &columns)?;
        let buckets = Buckets::of(&definition);
        let writer = {
            let mut writers = self.writers.lock();
            let key = event_key(&definition.kind).zip(buckets.clone());
            let fresh = || Arc::new(Writer::new(table.clone(), key.clone(), &self.budget));
            let known = writers.entry(path.to_owned()).or_insert_with(fresh);
            // A table dropped and made again is another table.
            if !Arc::ptr_eq(&known.table, &table) {
                *known = fresh();
            }
            known.clone()
        };
        Ok(Target { name: object.name.clone(), object: object.clone(), definition, columns, writer, buckets, rules })
    }

    /// What a failure below `object` is to be told as. Storage only knows that files are gone; the catalog knows why:
    /// the table has been dropped, or is another one by now.
    pub async fn told(&self, object: &Object, error: IngestError) -> IngestError {
        if !matches!(error, IngestError::Storage(_)) {
            return error;
        }
        // Another process may have dropped it.
        let Ok(catalog) = self.catalog.refresh().await else { return error };
        let gone: IngestError = match catalog.relation(&object.name) {
            Err(gone) => gone.into(),
            Ok(now) if now.table_path == object.table_path && now.created_at == object.created_at => return error,
            Ok(_) => IngestError::Remade { table: object.name.clone() },
        };
        tracing::debug!(table = %object.name, %error, "failed below a table that is gone");
        gone
    }

    fn compiled(
        &self,
        object: &Arc<Object>,
        definition: &TableDefinition,
        columns: &SchemaRef,
    ) -> Result<Compiled, IngestError> {
        let mut known = self.compiled.lock();
        if let Some(compiled) = known.get(&object.name)
            && Arc::ptr_eq(&compiled.object, object)
            && compiled.columns == *columns
        {
            return Ok(compiled.clone());
        }
        let compiled = Compiled {
            object: object.clone(),
            columns: columns.clone(),
            definition: Arc::new(definition.clone()),
            rules: Rules::new(definition, columns)?,
        };
        known.insert(object.name.clone(), compiled.clone());
        Ok(compiled)
    }

    async fn object(&self, name: &str) -> Result<Arc<Object>, CatalogError> {
        let find = |snapshot: &CatalogSnapshot| snapshot.relation(name).cloned();
        match find(&self.catalog.snapshot()) {
            // Made by another process a moment ago, perhaps.
            Err(CatalogError::NotFound { .. }) => find(self.catalog.refresh().await?.as_ref()),
            found => found,
        }
    }

    /// The rules of the table at this moment.
    pub fn validator(&self, target: &Target, arrival: Arrival) -> Validator {
        Validator::at(target.rules.clone(), (&target.name, &target.definition), arrival, self.clock.now())
    }

    /// Tables written to by this process, and their writers.
    pub fn known(&self) -> Vec<(String, Arc<Writer>)> {
        let snapshot = self.catalog.snapshot();
        let writers = self.writers.lock();
        let paths = snapshot.relations.values().filter_map(|object| {
            let path = object.table_path.as_deref().unwrap_or(&object.name);
            Some((object.name.clone(), writers.get(path)?.clone()))
        });
        paths.collect()
    }
}

fn event_key(kind: &TableKind) -> Option<&str> {
    match kind {
        TableKind::Event { event_key, .. } => event_key.as_deref(),
        TableKind::Plain | TableKind::Snapshot { .. } => None,
    }
}

impl Target {
    /// Drops duplicates of this table's events.
    pub fn dedup(&self, task: &Arc<TaskContext>) -> Result<Dedup, IngestError> {
        self.dedup_over(&self.columns, task)
    }

    /// The same for rows in these columns.
    pub fn dedup_over(&self, columns: &SchemaRef, task: &Arc<TaskContext>) -> Result<Dedup, IngestError> {
        Dedup::new(self.writer.index.as_ref(), columns, task)
    }

    /// The key columns of a snapshot table.
    pub fn snapshot_key(&self) -> Option<&[String]> {
        match &self.definition.kind {
            TableKind::Snapshot { key } => Some(key),
            TableKind::Plain | TableKind::Event { .. } => None,
        }
    }
}

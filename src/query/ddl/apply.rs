//! Carries out a plan: tables first, then the catalog, then the rubbish.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::check::{StoredAs, StoredRows, check};
use super::proposal::{edits, propose};
use crate::catalog::{CatalogError, CatalogSnapshot, Change, Definition, Plan, TableDefinition, TableKind};
use crate::query::QueryError;
use crate::query::engine::Inner;
use crate::storage::{StorageError, TableSpec};

/// Names tried for a new folder before somebody else's creations are blamed.
const PATHS_TRIED: usize = 5;

/// Makes all changes or none; the catalog afterwards.
///
/// # Errors
/// As [`Engine::apply`](crate::query::Engine::apply).
pub(in crate::query) async fn apply(engine: &Arc<Inner>, plan: Plan) -> Result<Arc<CatalogSnapshot>, QueryError> {
    let current = engine.catalog.refresh().await?;
    if plan.changes.is_empty() {
        return Ok(current);
    }
    let now = engine.clock.now();
    let proposal = propose(&current, &plan, now)?;
    let stored = check(engine, &proposal).await?;
    let made = match make_tables(engine, &plan, &stored).await {
        Ok(made) => made,
        Err((made, error)) => {
            delete(engine, made.into_values()).await;
            return Err(error);
        }
    };
    let edited = match widen_tables(engine, &plan).await {
        Ok(()) => {
            let path_of = |name: &str| made.get(name).map(String::as_str);
            engine.catalog.edit(|base| edits(base, &plan, path_of, now)).await.map_err(QueryError::from)
        }
        Err(error) => Err(error),
    };
    match edited {
        Ok(after) => {
            drop_tables(engine, unused(&plan)).await;
            Ok(after)
        }
        Err(error) => {
            if is_certain(&error) {
                delete(engine, made.into_values()).await;
            }
            Err(error)
        }
    }
}

/// Whether a failed edit has certainly not been made. After a broken connection it may have been; then the new folders stay.
pub(super) fn is_certain(error: &QueryError) -> bool {
    !matches!(error, QueryError::Catalog(CatalogError::Storage(_)))
}

type Made = BTreeMap<String, String>;

/// A Delta table for everything new that has rows: name and path.
async fn make_tables(engine: &Inner, plan: &Plan, stored: &StoredRows) -> Result<Made, (Made, QueryError)> {
    let mut made = Made::new();
    for change in &plan.changes {
        let after = match change {
            Change::Create(after) | Change::Replace { after, .. } => after,
            Change::Widen { .. } | Change::Drop { .. } => continue,
        };
        let spec = match &after.definition {
            Definition::Table(table) => table_spec(table),
            Definition::MaterializedView(view) => {
                let Some(StoredAs { columns, partition_by }) = stored.get(&after.name) else {
                    let message = format!("columns of materialized view '{}' were not planned", after.name);
                    return Err((made, QueryError::Internal { message }));
                };
                TableSpec {
                    path: String::new(),
                    columns: columns.clone(),
                    event_time: None,
                    event_key: None,
                    partition_by: partition_by.clone(),
                    sort_by: view.sort_by.clone(),
                    bloom_columns: Vec::new(),
                }
            }
            Definition::View(_) | Definition::Endpoint(_) => continue,
        };
        match make_table(engine, &after.name, spec).await {
            Ok(path) => made.insert(after.name.clone(), path),
            Err(error) => return Err((made, error)),
        };
    }
    Ok(made)
}

pub(super) async fn make_table(engine: &Inner, name: &str, spec: TableSpec) -> Result<String, QueryError> {
    for _ in 0..PATHS_TRIED {
        let path = engine.lake.free_table_path(name).await?;
        match engine.lake.create_table(&TableSpec { path: path.clone(), ..spec.clone() }).await {
            Ok(_) => return Ok(path),
            Err(StorageError::TableExists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(CatalogError::Conflict.into())
}

pub(super) fn table_spec(table: &TableDefinition) -> TableSpec {
    let (event_time, event_key, bloom_columns) = match &table.kind {
        TableKind::Plain => (None, None, Vec::new()),
        TableKind::Event { event_time, event_key, .. } => (Some(event_time.clone()), event_key.clone(), Vec::new()),
        TableKind::Snapshot { key } => (None, None, key.clone()),
    };
    TableSpec {
        path: String::new(),
        columns: table.columns.clone(),
        event_time,
        event_key,
        partition_by: table.partition_by.clone(),
        sort_by: table.sort_by.clone(),
        bloom_columns,
    }
}

/// Adds columns to the files' schema. Nobody sees them before the catalog names them; a column that an earlier, failed
/// attempt has added is taken as it is.
async fn widen_tables(engine: &Inner, plan: &Plan) -> Result<(), QueryError> {
    for change in &plan.changes {
        let Change::Widen { before, .. } = change else { continue };
        let Some(path) = &before.table_path else { continue };
        let table = engine.lake.open_table(path).await?;
        for field in change.added_columns() {
            let columns = table.refresh().await?.columns();
            match columns.column_with_name(field.name()) {
                Some((_, present)) if present.data_type() == field.data_type() => {}
                Some((_, present)) => {
                    let message = format!(
                        "the files of table '{}' have a column '{}' of another type, {}",
                        before.name,
                        field.name(),
                        present.data_type()
                    );
                    return Err(CatalogError::CannotChange { message }.into());
                }
                None => {
                    table.add_column(field).await?;
                }
            }
        }
    }
    Ok(())
}

/// Folders that nothing in the catalog names any more.
fn unused(plan: &Plan) -> impl Iterator<Item = String> {
    plan.changes.iter().filter_map(|change| match change {
        Change::Drop { object, .. } => object.table_path.clone(),
        Change::Replace { before, .. } => before.table_path.clone(),
        Change::Create(_) | Change::Widen { .. } => None,
    })
}

/// Takes tables away that nothing in the catalog names any more; statements that read them read on.
pub(super) async fn drop_tables(engine: &Inner, paths: impl Iterator<Item = String>) {
    for path in paths {
        if let Err(error) = engine.lake.drop_table(&path).await {
            remain(&path, &error);
        }
    }
}

/// Deletes tables that the catalog has never named.
pub(super) async fn delete(engine: &Inner, paths: impl Iterator<Item = String>) {
    for path in paths {
        if let Err(error) = engine.lake.delete_table(&path).await {
            remain(&path, &error);
        }
    }
}

fn remain(path: &str, error: &StorageError) {
    let error = crate::base::error::chain(error);
    tracing::warn!(path, error, "files of a dropped table remain; they are not read any more");
}

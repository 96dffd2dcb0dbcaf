//! A table takes the place of another, with its rows, in one catalog edit: whoever opens the name before reads the old table,
//! whoever opens it after reads the new one, and nobody finds it missing or empty.
//!
//! ```text
//! make_beside: a folder ─ rows are put into it ─► replace_table: the name leads to it ─► files of the old table deleted
//! ```
//! Until then no name leads to the new table, so nobody reads its rows past the policies and masks of its name (SEC-1). When the
//! process dies before, a folder is left that nobody reads.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::apply::{delete, drop_tables, is_certain, make_table, table_spec};
use super::check::check;
use super::proposal::Proposal;
use crate::base::Timestamp;
use crate::catalog::{CatalogError, CatalogSnapshot, Create, Definition, Edit, Object, ObjectKind};
use crate::query::QueryError;
use crate::query::engine::Inner;

/// An empty table as `create` says, which no name leads to.
///
/// # Errors
/// Not a table; files that cannot be made.
pub(in crate::query) async fn make_beside(engine: &Inner, create: Create) -> Result<Arc<Object>, QueryError> {
    engine.lake.check_writable()?;
    let Definition::Table(table) = &create.definition else {
        return Err(QueryError::Internal { message: format!("'{}' is not made as a table", create.name) });
    };
    let path = make_table(engine, &create.name, table_spec(table)).await?;
    Ok(Arc::new(Object::new(create, Some(path), engine.clock.now())))
}

/// Deletes it again.
pub(in crate::query) async fn delete_beside(engine: &Inner, beside: &Object) {
    delete(engine, beside.table_path.clone().into_iter()).await;
}

/// The table of the name of `beside` becomes `beside`, with its rows.
///
/// # Errors
/// A reader of the table that does not work with the new columns (it is named), a table that is gone; then nothing has changed,
/// and `beside` is deleted.
pub(in crate::query) async fn replace_table(engine: &Arc<Inner>, beside: &Object) -> Result<(), QueryError> {
    let now = engine.clock.now();
    let before = match checked(engine, beside, now).await {
        Ok(before) => before,
        Err(error) => {
            delete_beside(engine, beside).await;
            return Err(error);
        }
    };
    let edit = |base: &CatalogSnapshot| {
        let (seen, after) = replaced(base, beside, now)?;
        if seen.table_path != before.table_path {
            return Err(CatalogError::Conflict);
        }
        Ok(vec![Edit::Put(after)])
    };
    match engine.catalog.edit(edit).await.map_err(QueryError::from) {
        Ok(_) => {
            drop_tables(engine, before.table_path.clone().into_iter()).await;
            Ok(())
        }
        Err(error) => {
            if is_certain(&error) {
                delete_beside(engine, beside).await;
            }
            Err(error)
        }
    }
}

/// The table that is replaced, once its readers are known to work afterwards.
async fn checked(engine: &Arc<Inner>, beside: &Object, now: Timestamp) -> Result<Arc<Object>, QueryError> {
    let current = engine.catalog.refresh().await?;
    let (before, after) = replaced(&current, beside, now)?;
    let mut proposed = CatalogSnapshot::clone(&current);
    proposed.relations.insert(beside.name.clone(), Arc::new(after));
    proposed.check()?;
    let touched = BTreeSet::from([beside.name.clone()]);
    check(engine, &Proposal { after: Arc::new(proposed), touched, endpoints: BTreeSet::new() }).await?;
    Ok(before)
}

/// The table as it is, and as it will be.
fn replaced(current: &CatalogSnapshot, beside: &Object, now: Timestamp) -> Result<(Arc<Object>, Object), CatalogError> {
    let before = current.relation(&beside.name)?;
    if before.kind != ObjectKind::Table {
        let message = format!("'{}' is a {}; only a table can be replaced by rows", beside.name, before.kind);
        return Err(CatalogError::CannotChange { message });
    }
    let after = Object { created_at: before.created_at, changed_at: now, ..beside.clone() };
    Ok((before.clone(), after))
}

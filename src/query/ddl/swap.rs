//! A table takes the place of another, with its rows, in one catalog edit: whoever opens the name before reads the old table,
//! whoever opens it after reads the new one, and nobody finds it missing or empty.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::apply::drop_tables;
use super::check::check;
use super::proposal::Proposal;
use crate::base::Timestamp;
use crate::catalog::{CatalogError, CatalogSnapshot, Create, Edit, Object, ObjectKind};
use crate::query::QueryError;
use crate::query::engine::Inner;

/// The table `create` names gets the definition of `create` and the rows of table `rows_of`, which has the same columns and is
/// no object of its own afterwards.
///
/// # Errors
/// A reader of the table that does not work with the new columns (it is named), a table that is gone; then nothing has changed.
pub(in crate::query) async fn replace_table(
    engine: &Arc<Inner>,
    create: Create,
    rows_of: &str,
) -> Result<(), QueryError> {
    let current = engine.catalog.refresh().await?;
    let now = engine.clock.now();
    let (before, after) = replaced(&current, &create, rows_of, now)?;
    let mut proposed = CatalogSnapshot::clone(&current);
    proposed.relations.remove(rows_of);
    proposed.relations.insert(create.name.clone(), Arc::new(after));
    proposed.check()?;
    let touched = BTreeSet::from([create.name.clone()]);
    check(engine, &Proposal { after: Arc::new(proposed), touched, endpoints: BTreeSet::new() }).await?;
    let edit = |base: &CatalogSnapshot| {
        let (seen, after) = replaced(base, &create, rows_of, now)?;
        if seen.table_path != before.table_path {
            return Err(CatalogError::Conflict);
        }
        Ok(vec![Edit::Put(after), Edit::Remove(ObjectKind::Table, rows_of.to_owned())])
    };
    match engine.catalog.edit(edit).await.map_err(QueryError::from) {
        Ok(_) => {
            drop_tables(engine, before.table_path.clone().into_iter()).await;
            Ok(())
        }
        // When it is unknown whether it was made, the name `rows_of` is unknown to the catalog or its table still unread:
        // dropping it by name is right in both cases.
        Err(error) => Err(error),
    }
}

/// The table as it is, and as it will be.
fn replaced(
    current: &CatalogSnapshot,
    create: &Create,
    rows_of: &str,
    now: Timestamp,
) -> Result<(Arc<Object>, Object), CatalogError> {
    let before = current.relation(&create.name)?;
    if before.kind != ObjectKind::Table {
        let message = format!("'{}' is a {}; only a table can be replaced by rows", create.name, before.kind);
        return Err(CatalogError::CannotChange { message });
    }
    let rows = current.relation(rows_of)?;
    Ok((before.clone(), before.redefined(create.clone(), rows.table_path.clone(), now)))
}

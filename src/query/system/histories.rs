//! The commits of all tables, for the tables that list them.

use std::sync::Arc;

use futures::future::try_join_all;

use crate::query::QueryError;
use crate::query::engine::Inner;
use crate::storage::CommitRecord;

/// The newest `per_table` commits of every table whose name `is_shown`, with that name.
pub(super) async fn of_all_tables(
    engine: &Arc<Inner>,
    per_table: usize,
    is_shown: &(dyn Fn(&str) -> bool + Send + Sync),
) -> Result<Vec<(String, CommitRecord)>, QueryError> {
    let catalog = engine.catalog.snapshot();
    let tables = catalog.relations.values().filter_map(|object| Some((&object.name, object.table_path.as_ref()?)));
    let tables = tables.filter(|(name, _)| is_shown(name));
    let histories = try_join_all(tables.map(|(name, path)| async move {
        let history = engine.lake.open_table(path).await?.history(per_table).await?;
        Ok::<_, QueryError>(history.into_iter().map(|commit| (name.clone(), commit)))
    }))
    .await?;
    Ok(histories.into_iter().flatten().collect())
}

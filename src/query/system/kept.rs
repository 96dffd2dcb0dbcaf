//! System tables that are tables of the lake: `audit`, `rejects`, `restatements`, `verifications`. A statement reads them as views over
//! hidden tables, pinned as any table is, so that WHERE and LIMIT reach the files. A caller who may not see all of them has a
//! condition on the names of what the rows are about.

use std::sync::Arc;

use datafusion::catalog::TableProvider;

use super::visible::{kept_rows, without};
use super::{AUDIT, Kind, REJECTS, RESTATEMENTS, VERIFICATIONS, audit, rejects, restatements, verifications};
use crate::catalog::CatalogSnapshot;
use crate::query::QueryError;
use crate::query::engine::Inner;
use crate::query::params::sql_name;
use crate::query::viewer::Viewer;
use crate::storage::{StorageError, TableSnapshot};

/// Those names.
pub(in crate::query) const KEPT: [&str; 4] = [AUDIT, REJECTS, RESTATEMENTS, VERIFICATIONS];

/// A query, and the tables of schema `system` that it reads, which nobody else sees.
pub(in crate::query) struct KeptView {
    pub query: String,
    pub tables: Vec<(&'static str, Arc<dyn TableProvider>)>,
    /// Not all rows are the viewer's.
    pub is_limited: bool,
}

/// The newest rows of one of [`KEPT`], those that are the viewer's; None while there are none.
///
/// # Errors
/// A table that cannot be opened.
pub(in crate::query) async fn kept_view(
    engine: &Inner,
    name: &str,
    (viewer, catalog): (&Viewer, &CatalogSnapshot),
) -> Result<Option<KeptView>, QueryError> {
    let (kind, view) = match name {
        // Nobody else's statement writes it.
        AUDIT if !viewer.may_administer() => return Ok(None),
        AUDIT => (Kind::Audit, audit::view(engine).await?),
        REJECTS => (Kind::Rejects, rejects::view(engine).await?),
        RESTATEMENTS => (Kind::Restatements, Some(restatements::view(engine).await?)),
        VERIFICATIONS => (Kind::Verifications, Some(verifications::view(engine).await?)),
        _ => return Ok(None),
    };
    Ok(view.map(|view| limited(kind, view, (viewer, catalog))))
}

fn limited(kind: Kind, view: KeptView, (viewer, catalog): (&Viewer, &CatalogSnapshot)) -> KeptView {
    let only = kept_rows(kind, viewer, catalog);
    let without = without(kind, viewer);
    if only.is_none() && without.is_empty() {
        return view;
    }
    let schema = kind.schema();
    let columns = schema.fields().iter().map(|field| match without.contains(&field.name().as_str()) {
        true => format!("CAST(NULL AS {}) AS \"{}\"", sql_name(field.data_type()), field.name()),
        false => format!("k.\"{}\"", field.name()),
    });
    let columns = columns.collect::<Vec<_>>().join(", ");
    let condition = only.as_ref().map(|(column, names)| {
        let quoted: Vec<String> = names.iter().map(|name| format!("'{}'", name.replace('\'', "''"))).collect();
        match quoted.is_empty() {
            true => " WHERE FALSE".to_owned(),
            false => format!(" WHERE k.\"{column}\" IN ({})", quoted.join(", ")),
        }
    });
    let query = format!("SELECT {columns} FROM ({}) AS k{}", view.query, condition.unwrap_or_default());
    KeptView { query, tables: view.tables, is_limited: only.is_some() }
}

/// The newest version of the table in a folder; None while there is none.
pub(super) async fn newest(engine: &Inner, path: &str) -> Result<Option<Arc<TableSnapshot>>, QueryError> {
    match engine.lake.open_table(path).await {
        Ok(table) => Ok(Some(table.snapshot().await?)),
        Err(StorageError::TableNotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

//! Finds what a refresh of a view kept by the full strategy restates: windows of time whose rows are other ones than those before.
//! Which event did it is not known there, only which table has changed.
//!
//! Told are windows that had been over for long enough when the first change since the last refresh was committed. Where that moment
//! cannot be told (a log is gone, or a view below was refreshed, which does not say when its own tables had changed), the one that the
//! stored rows are true for takes its place: no change since then is older. When no table has changed, stored rows were wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use tokio_util::sync::CancellationToken;

use super::differing::{By, Differing};
use super::listing::Listing;
use super::record::{Cause, Restatement};
use super::terms::retention;
use crate::base::Timestamp;
use crate::catalog::{CatalogSnapshot, Definition};
use crate::materialize::{MaterializeError, RefreshParts};
use crate::query::stored_as_of;
use crate::rollup::RowWindows;
use crate::storage::{TableChanges, TableSnapshot, TableVersion};

/// A refresh that replaces all rows of a view, those before being of the same query.
pub(in crate::materialize) struct Refreshed<'a> {
    pub view: &'a str,
    pub windows: &'a RowWindows,
    pub stored: &'a Arc<TableSnapshot>,
    /// Versions of the tables that the stored rows were made of.
    pub before: &'a BTreeMap<String, u64>,
    /// Those that the new rows are made of.
    pub sources: &'a [(String, TableVersion)],
    pub catalog: &'a CatalogSnapshot,
}

/// Lists the windows whose rows differ; `new` are those that take the place of the stored ones.
///
/// # Errors
/// Cancelled; tables that cannot be opened. Rows that cannot be told are a warning in the log.
pub(in crate::materialize) async fn find_full(
    parts: &RefreshParts,
    refreshed: &Refreshed<'_>,
    new: Arc<dyn TableProvider>,
    cancel: &CancellationToken,
) -> Result<Vec<Restatement>, MaterializeError> {
    let Refreshed { view, windows, stored, .. } = *refreshed;
    let changes = changes(parts, refreshed).await?;
    let by = changes.by(refreshed.sources);
    let listing = Listing::new(&by.source);
    let mut search = Differing { parts, view, windows, stored, new, cancel, listing };
    let moment = changes.since.unwrap_or_else(|| parts.clock.now());
    if let Some(closed) = search.closed(moment, kept_from(parts, refreshed)) {
        let within = windows.stored_inside(&closed, &stored.provider().schema());
        search.list(within, &by).await?;
    }
    Ok(search.listing.told(view))
}

/// What has happened between the last refresh and this one.
#[derive(Default)]
struct Changes {
    /// Tables whose rows have changed, with the first version that is new and the last.
    tables: Vec<(String, (u64, u64))>,
    /// When the first of the changes was committed, or a moment before that. None: there are none.
    since: Option<Timestamp>,
}

impl Changes {
    fn by(&self, sources: &[(String, TableVersion)]) -> By {
        let (cause, tables) = match self.tables.is_empty() {
            false => (Cause::ChangedRows, self.tables.clone()),
            true => {
                let at = |(name, version): &(String, TableVersion)| (name.clone(), (version.0, version.0));
                (Cause::Rebuild, sources.iter().map(at).collect())
            }
        };
        let versions = match tables.as_slice() {
            [(_, versions)] => Some(*versions),
            _ => None,
        };
        let names: Vec<&str> = tables.iter().map(|(name, _)| name.as_str()).collect();
        By { cause, source: names.join(", "), versions }
    }
}

async fn changes(parts: &RefreshParts, refreshed: &Refreshed<'_>) -> Result<Changes, MaterializeError> {
    let mut changes = Changes::default();
    for (name, version) in refreshed.sources {
        let before = refreshed.before.get(name).copied();
        if before == Some(version.0) {
            continue;
        }
        let Some(first) = first_change(parts, refreshed, (name.as_str(), before)).await? else { continue };
        changes.since = Some(changes.since.map_or(first, |since| since.min(first)));
        changes.tables.push((name.clone(), (before.map_or(version.0, |before| before + 1), version.0)));
    }
    Ok(changes)
}

/// When the first commit after version `before` of a source was made that brought or took rows, or a moment before that. None: there
/// was none.
async fn first_change(
    parts: &RefreshParts,
    refreshed: &Refreshed<'_>,
    (name, before): (&str, Option<u64>),
) -> Result<Option<Timestamp>, MaterializeError> {
    let as_of = stored_as_of(refreshed.stored);
    let object = refreshed.catalog.relations.get(name);
    let (Some(before), Some((Definition::Table(_), Some(path)))) =
        (before, object.map(|object| (&object.definition, &object.table_path)))
    else {
        return Ok(Some(as_of));
    };
    let table = parts.lake.open_table(path).await?;
    // The same commit is the first of those up to the version that was read, or there are none up to that, and no row differs.
    let newest = table.snapshot().await?;
    Ok(match table.changes(TableVersion(before), &newest).await? {
        TableChanges::Known(changed) if changed.is_empty() => None,
        TableChanges::Known(changed) => Some(changed.first_committed_at.unwrap_or(as_of)),
        TableChanges::Unknown { .. } => Some(as_of),
    })
}

/// From when on all tables below keep their rows, in times of the view.
fn kept_from(parts: &RefreshParts, refreshed: &Refreshed<'_>) -> Option<i64> {
    let Refreshed { view, windows, catalog, .. } = *refreshed;
    let now = parts.clock.now();
    let below = catalog.with_all_below(view).into_iter();
    let kept = below.filter_map(|table| Some(now.minus(retention(catalog, table)?.duration())));
    kept.map(|kept_from| kept_from.micros().saturating_add(windows.ahead)).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_it_is_the_tables_that_changed_or_a_rebuild_of_all() {
        let source = |name: &str, version| (name.to_owned(), TableVersion(version));
        let sources = [source("ads", 7), source("clicks", 9)];
        let check = |tables: &[(&str, (u64, u64))], expected: (Cause, &str, Option<(u64, u64)>)| {
            let tables = tables.iter().map(|(name, versions)| ((*name).to_owned(), *versions)).collect();
            let By { cause, source, versions } = Changes { tables, since: None }.by(&sources);
            assert_eq!((cause, source.as_str(), versions), expected);
        };
        check(&[], (Cause::Rebuild, "ads, clicks", None));
        check(&[("clicks", (8, 9))], (Cause::ChangedRows, "clicks", Some((8, 9))));
        check(&[("ads", (7, 7)), ("clicks", (8, 9))], (Cause::ChangedRows, "ads, clicks", None));
        let alone = Changes::default().by(&sources[..1]);
        assert_eq!((alone.cause, alone.source.as_str(), alone.versions), (Cause::Rebuild, "ads", Some((7, 7))));
    }
}

//! The stored rows of views and what they lack, at the versions a statement has pinned.
//!
//! The views' own tables are looked at first and their sources after them, so a source is as new as what its views have
//! absorbed; when it is not (another process has refreshed a view), the source is looked at again, for the whole statement.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::try_join_all;

use super::moments::good_enough;
use super::partitioned::{PartitionedToPin, PinnedPartitioned, keep_up, pin_partitioned};
use super::pending::{Pending, pending};
use crate::base::Timestamp;
use crate::catalog::CatalogSnapshot;
use crate::query::QueryError;
use crate::query::engine::Inner;
use crate::rollup::{Design, Functions};
use crate::storage::{TableSnapshot, TableVersion, Transaction};

/// A view that a statement reads.
pub(in crate::query) struct ViewToPin {
    pub name: String,
    /// Folder of its stored rows.
    pub path: String,
    pub design: Arc<Design>,
}

/// Its rows at the statement's versions: those of `stored`, and of the source what they lack.
pub(in crate::query) struct PinnedView {
    pub name: String,
    pub design: Arc<Design>,
    pub functions: Arc<Functions>,
    pub source: Arc<TableSnapshot>,
    /// None: the stored rows cannot be used, the source answers alone.
    pub stored: Option<Arc<TableSnapshot>>,
    pub lacks: Pending,
    /// The session does without what the stored rows lack; they are true for this moment.
    pub as_of: Option<Timestamp>,
}

/// The Delta application whose version is the fingerprint of the design that the stored rows are of.
const DESIGN: &str = "adlake.design";

/// What a statement reads.
#[derive(Default)]
pub(in crate::query) struct ToPin {
    /// Name to path.
    pub tables: BTreeMap<String, String>,
    /// Views over them.
    pub views: Vec<ViewToPin>,
    pub partitioned: Vec<PartitionedToPin>,
}

/// The same at the statement's versions.
pub(in crate::query) struct Pinned {
    pub tables: BTreeMap<String, Arc<TableSnapshot>>,
    pub views: Vec<PinnedView>,
    pub partitioned: Vec<PinnedPartitioned>,
    /// Every commit made before this moment is in the tables.
    pub seen: Option<Timestamp>,
}

/// The Delta application under which a view's table keeps the version of the source at `source_path` that its rows hold.
/// Rows of another design, as after a change of a view below, are of another application, and so is a table made anew.
fn absorbed_by(fingerprint: u64, source_path: &str) -> String {
    format!("adlake.absorbed:{fingerprint:016x}:{source_path}")
}

/// Of a commit after which the stored rows are of the design with this fingerprint and hold these versions of its sources, by
/// the paths of those.
pub fn absorbing<'a>(fingerprint: u64, sources: impl IntoIterator<Item = (&'a str, TableVersion)>) -> Vec<Transaction> {
    let absorbed = |(path, version): (&str, TableVersion)| Transaction {
        app_id: absorbed_by(fingerprint, path),
        version: i64::try_from(version.0).unwrap_or(i64::MAX),
    };
    let of_design = Transaction { app_id: DESIGN.to_owned(), version: fingerprint.cast_signed() };
    sources.into_iter().map(absorbed).chain([of_design]).collect()
}

/// The version of the source that the stored rows hold; none when they are not of this source and design. A design that comes
/// back, as when a view below is changed and changed back, finds its old version in the log, but the rows of another.
pub fn absorbed_version(stored: &TableSnapshot, fingerprint: u64, source_path: &str) -> Option<TableVersion> {
    let of_design = stored.transaction_version(DESIGN);
    // Rows of earlier versions of the program do not say theirs.
    let is_of_design = of_design.is_none_or(|of| of == fingerprint.cast_signed());
    let absorbed = stored.transaction_version(&absorbed_by(fingerprint, source_path)).filter(|_| is_of_design)?;
    u64::try_from(absorbed).ok().map(TableVersion)
}

/// One snapshot of each table, and of the stored rows of views over them; rows of views kept incrementally may be as old as
/// `oldest`.
///
/// # Errors
/// Tables that cannot be opened.
pub(in crate::query) async fn pin(
    engine: &Arc<Inner>,
    catalog: &CatalogSnapshot,
    wanted: ToPin,
    oldest: Option<Timestamp>,
) -> Result<Pinned, QueryError> {
    let ToPin { tables, views, partitioned } = wanted;
    let stored = snapshots(engine, views.iter().map(|view| view.path.clone()).collect()).await?;
    let finished = snapshots(engine, partitioned.iter().map(|view| view.path.clone()).collect()).await?;
    let found = snapshots(engine, tables.values().cloned().collect()).await?;
    let seen = found.iter().map(|(_, seen)| *seen).min();
    let found = found.into_iter().map(|(snapshot, _)| snapshot);
    let mut sources: BTreeMap<String, Arc<TableSnapshot>> = tables.keys().cloned().zip(found).collect();
    let mut at_versions = Vec::with_capacity(views.len());
    for (view, (stored, _)) in views.into_iter().zip(stored) {
        let source = &view.design.question.source;
        let Some(path) = catalog.relations.get(source).and_then(|object| object.table_path.as_deref()) else {
            let message = format!("'{source}', the source of view '{}', has no files", view.name);
            return Err(QueryError::Internal { message });
        };
        let absorbed = absorbed_version(&stored, view.design.fingerprint, path);
        if let (Some(absorbed), Some(pinned)) = (absorbed, sources.get_mut(source))
            && absorbed > pinned.version()
        {
            *pinned = engine.lake.open_table(path).await?.refresh().await?;
        }
        at_versions.push((view, stored, path.to_owned(), absorbed));
    }
    for (view, (finished, _)) in partitioned.iter().zip(&finished) {
        keep_up(engine, catalog, (view, finished), &mut sources).await?;
    }
    // Only now no source moves any more.
    let mut pinned = Vec::with_capacity(at_versions.len());
    for (view, stored, path, absorbed) in at_versions {
        let Some(source) = sources.get(&view.design.question.source) else { continue };
        pinned.push(with_tail(engine, view, (stored, absorbed), (source, &path), oldest).await?);
    }
    let mut by_partition = Vec::with_capacity(partitioned.len());
    for (view, (finished, _)) in partitioned.into_iter().zip(finished) {
        by_partition.push(pin_partitioned(engine, catalog, (view, finished), &sources).await?);
    }
    Ok(Pinned { tables: sources, views: pinned, partitioned: by_partition, seen })
}

/// The stored rows of `view` at a version of its source that is pinned already. They are not used when they hold more than that.
///
/// # Errors
/// A table that cannot be opened.
pub(in crate::query) async fn pin_at(
    engine: &Arc<Inner>,
    catalog: &CatalogSnapshot,
    view: ViewToPin,
    source: &Arc<TableSnapshot>,
    oldest: Option<Timestamp>,
) -> Result<PinnedView, QueryError> {
    let path = catalog.relations.get(&view.design.question.source).and_then(|object| object.table_path.as_deref());
    let path = path.unwrap_or_default();
    let stored = engine.lake.open_table(&view.path).await?.snapshot().await?;
    let absorbed = absorbed_version(&stored, view.design.fingerprint, path);
    with_tail(engine, view, (stored, absorbed), (source, path), oldest).await
}

async fn with_tail(
    engine: &Arc<Inner>,
    view: ViewToPin,
    (stored, absorbed): (Arc<TableSnapshot>, Option<TableVersion>),
    (source, source_path): (&Arc<TableSnapshot>, &str),
    oldest: Option<Timestamp>,
) -> Result<PinnedView, QueryError> {
    let functions = engine.shared.rollup.clone();
    let ViewToPin { name, design, .. } = view;
    let mut pinned = PinnedView {
        name,
        design,
        functions,
        source: source.clone(),
        stored: None,
        lacks: Pending::default(),
        as_of: None,
    };
    let Some(absorbed) = absorbed.filter(|absorbed| *absorbed <= source.version()) else { return Ok(pinned) };
    if absorbed < source.version() {
        let table = engine.lake.open_table(source_path).await?;
        let Some(lacks) = pending(&pinned.design, &table, (absorbed, source)).await? else { return Ok(pinned) };
        // Rows that are no more are not shown, however old rows may be.
        pinned.as_of = match lacks.dirty {
            None => good_enough(lacks.since, oldest),
            Some(_) => None,
        };
        if pinned.as_of.is_none() {
            pinned.lacks = lacks;
        }
    }
    pinned.stored = Some(stored);
    Ok(pinned)
}

/// Each with the moment before which every commit is in it.
async fn snapshots(
    engine: &Arc<Inner>,
    paths: Vec<String>,
) -> Result<Vec<(Arc<TableSnapshot>, Timestamp)>, QueryError> {
    let lake = engine.lake.clone();
    let open = move |path: String| {
        let lake = lake.clone();
        async move { Ok::<_, QueryError>(lake.open_table(&path).await?.snapshot_and_moment().await?) }
    };
    try_join_all(paths.into_iter().map(open)).await
}

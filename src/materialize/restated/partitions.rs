//! Finds what a refresh of a view kept by partitions restates: partitions whose rows are other ones. Which event did it is not known
//! there, only which table has changed.
//!
//! Told are partitions that had been over for long enough when the first change since the stored rows was committed.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use tokio_util::sync::CancellationToken;

use super::differing::{By, Differing};
use super::listing::Listing;
use super::record::{Cause, Restatement};
use super::terms::retention;
use crate::materialize::{MaterializeError, RefreshParts};
use crate::query::PartitionAt;
use crate::rollup::Times;

/// Lists the partitions of these times (`None`: all) whose rows differ; `new` are those that take the place of the stored ones.
///
/// # Errors
/// Cancelled. Rows that cannot be told are a warning in the log.
pub(in crate::materialize) async fn find_partitions(
    parts: &RefreshParts,
    (view, at): (&str, &PartitionAt),
    (new, replaced): (Arc<dyn TableProvider>, Option<&Times>),
    cancel: &CancellationToken,
) -> Result<Vec<Restatement>, MaterializeError> {
    // Rows of another design, or of tables whose log is gone: nothing is known of when they changed.
    if !at.behind.is_told {
        return Ok(Vec::new());
    }
    let always = Times::always();
    let replaced = replaced.unwrap_or(&always);
    let dirty = at.behind.dirty.as_ref().unwrap_or(&always);
    let (windows, stored) = (at.design.windows(), at.stored.provider().schema());
    let listing = Listing::new(&changed_tables(at));
    let mut search = Differing { parts, view, windows: &windows, stored: &at.stored, new, cancel, listing };
    let kept_from = kept_from(parts, at);
    if let Some(closed) = at.behind.since.and_then(|since| search.closed(since, kept_from)) {
        let within = at.design.stored_inside(&replaced.and(dirty).and(&closed), &stored);
        search.list(within, &by(at, Cause::ChangedRows)).await?;
    }
    let closed = search.closed(parts.clock.now(), kept_from);
    if let Some(closed) = closed.filter(|_| replaced != dirty && *dirty != always) {
        let asked = at.design.stored_inside(&replaced.and(&closed), &stored);
        search.list(asked.and(at.design.stored_outside(dirty, &stored)), &by(at, Cause::Rebuild)).await?;
    }
    Ok(search.listing.told(view))
}

/// From when on tables keep all rows that rows of the view depend on.
fn kept_from(parts: &RefreshParts, at: &PartitionAt) -> Option<i64> {
    let (catalog, now) = (parts.catalog.snapshot(), parts.clock.now());
    let kept = at.design.scans().filter_map(|needed| {
        let kept_from = now.minus(retention(&catalog, &needed.table)?.duration());
        Some(kept_from.micros().saturating_add(needed.before))
    });
    kept.max()
}

/// Tables that have changed; all, when none has.
fn changed_tables(at: &PartitionAt) -> String {
    let all = || at.sources().map(|(name, ..)| name.to_owned()).collect();
    let changed: Vec<String> = if at.behind.changed.is_empty() { all() } else { at.behind.changed.clone() };
    changed.join(", ")
}

fn by(at: &PartitionAt, cause: Cause) -> By {
    let source = match cause {
        Cause::Rebuild => at.sources().map(|(name, ..)| name).collect::<Vec<_>>().join(", "),
        Cause::ChangedRows | Cause::LateEvents | Cause::RemovedEvents => changed_tables(at),
    };
    By { cause, source, versions: versions(at, cause) }
}

/// The first and the last version of the one table that did it.
fn versions(at: &PartitionAt, cause: Cause) -> Option<(u64, u64)> {
    let changed = |name: &str| match cause {
        Cause::Rebuild => true,
        Cause::ChangedRows | Cause::LateEvents | Cause::RemovedEvents => {
            at.behind.changed.iter().any(|one| one == name)
        }
    };
    let mut tables = at.sources().filter(|(name, ..)| changed(name));
    let (name, _, newest) = tables.next()?;
    let first = match (cause, at.behind.absorbed.get(name)) {
        (Cause::ChangedRows, Some(absorbed)) => absorbed.0 + 1,
        (_, _) => newest.0,
    };
    tables.next().is_none().then_some((first, newest.0))
}

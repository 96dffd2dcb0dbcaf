//! How far a view that is kept by partitions is behind its tables, in numbers and in words.

use std::collections::BTreeMap;

use super::{MaterializeError, Refresher};
use crate::base::{Span, Timestamp};
use crate::query::PartitionAt;
use crate::rollup::{Needed, PartitionDesign, Times};
use crate::storage::TableVersion;

/// Versions of a table: held by the stored rows (none: not at all), and newest.
type Versions = (Option<TableVersion>, TableVersion);

/// See the module.
#[derive(Clone, Debug)]
pub struct PartitionStatus {
    pub versions: BTreeMap<String, Versions>,
    /// Times that the next refresh makes anew; `None`: all.
    pub times: Option<Times>,
    /// Days (or months, where a grain lasts longer than a day) that have such times, and rows, of the tables or stored.
    pub partitions: u64,
    /// Rows of the files read for them.
    pub rows: u64,
    /// When the oldest commit that is not absorbed was made.
    pub since: Option<Timestamp>,
    /// Everything committed before this moment is in the stored rows; `None`: not known.
    pub as_of: Option<Timestamp>,
}

impl PartitionStatus {
    fn of(at: &PartitionAt) -> Self {
        let absorbed = &at.behind.absorbed;
        let versions = at.sources().map(|(name, _, newest)| (name.to_owned(), (absorbed.get(name).copied(), newest)));
        let mut status = Self {
            versions: versions.collect(),
            times: at.behind.dirty.clone(),
            partitions: 0,
            rows: 0,
            since: at.behind.since,
            as_of: match &at.behind.dirty {
                None => None,
                Some(times) if times.is_empty() => Some(at.seen),
                Some(_) => at.behind.since,
            },
        };
        let wanted = status.times.clone().unwrap_or_else(Times::always);
        let there = at.times();
        let read = there.as_ref().map_or_else(|| wanted.clone(), |all| wanted.and(all));
        status.rows = if read.is_empty() { 0 } else { at.rows_in(&read) };
        // Stored rows of times at which nothing is left go.
        let touched = there.zip(at.stored_times()).map_or(wanted.clone(), |(mut all, stored)| {
            all.add_all(&stored);
            wanted.and(&all)
        });
        status.partitions = at.design.units(&touched).len() as u64;
        status
    }

    /// Whether stored rows may not hold any more.
    pub(super) fn is_behind(&self) -> bool {
        self.times.as_ref().is_none_or(|times| !times.is_empty())
    }

    /// The versions of the one table, if it is one.
    pub fn of_one(&self) -> Option<Versions> {
        let mut all = self.versions.values();
        all.next().copied().filter(|_| all.next().is_none())
    }

    /// Properties of EXPLAIN REFRESH.
    pub(super) fn explained(&self, design: &PartitionDesign) -> Vec<(&'static str, String)> {
        let known = |version: Option<TableVersion>| version.map_or_else(|| "none".to_owned(), |at| at.to_string());
        let versions = |pick: &dyn Fn(&Versions) -> Option<TableVersion>| {
            let each = self.versions.iter().map(|(name, both)| format!("{name} {}", known(pick(both))));
            each.collect::<Vec<_>>().join(", ")
        };
        let mut rows = vec![("time key", format!("{}, by {}", design.key, design.grain))];
        rows.extend(design.scans().map(|needed| ("reads", reads(needed))));
        rows.extend(
            design.lineage.whole.iter().map(|table| ("reads", format!("{table}: all, any change touches all times"))),
        );
        rows.extend([
            ("absorbed versions", versions(&|both| both.0)),
            ("source versions", versions(&|both| Some(both.1))),
            ("pending partitions", self.partitions.to_string()),
            ("pending times", self.times.as_ref().map_or_else(|| "all".to_owned(), said)),
            ("pending rows", self.rows.to_string()),
        ]);
        rows
    }

    fn said_partitions(&self) -> String {
        match self.partitions {
            1 => "1 partition".to_owned(),
            many => format!("{many} partitions"),
        }
    }

    /// What the next refresh does.
    pub(super) fn next(&self) -> String {
        let is_newest = self.versions.values().all(|(absorbed, newest)| *absorbed == Some(*newest));
        match &self.times {
            Some(times) if times.is_empty() && is_newest => "nothing: all rows are absorbed".to_owned(),
            Some(times) if times.is_empty() => "take note of the new versions: no rows have come or gone".to_owned(),
            Some(_) if self.partitions == 0 => {
                "take note of the new versions: what has changed has no rows at any time".to_owned()
            }
            Some(_) if self.rows == 0 => format!("take out the rows of {}, in one commit", self.said_partitions()),
            Some(_) => format!("run the query for {}, replace their rows in one commit", self.said_partitions()),
            None => "run the query for all partitions, replace all rows in one commit".to_owned(),
        }
    }
}

fn said(times: &Times) -> String {
    if times.is_empty() { "none".to_owned() } else { times.to_string() }
}

/// `clicks: event_time from 7 days before the start`; lengths are whole seconds, rounded up.
fn reads(needed: &Needed) -> String {
    let span = |micros: i64| Span::from_secs(micros.unsigned_abs().div_ceil(1_000_000));
    let side = |micros: i64, more: &str, less: &str| match micros {
        0 => None,
        _ => Some(format!("{} {}", span(micros), if micros > 0 { more } else { less })),
    };
    let (from, to) = (side(needed.before, "before", "behind"), side(needed.after, "behind", "before"));
    let Needed { table, column, .. } = needed;
    match (from, to) {
        (None, None) => format!("{table}: {column} of the same times"),
        (Some(from), None) => format!("{table}: {column} from {from} the start"),
        (None, Some(to)) => format!("{table}: {column} to {to} the end"),
        (Some(from), Some(to)) => format!("{table}: {column} from {from} the start to {to} the end"),
    }
}

impl Refresher {
    /// # Errors
    /// As for the status of any view; `None`: it is kept otherwise by now.
    pub(super) async fn partition_status(&self, view: &str) -> Result<Option<PartitionStatus>, MaterializeError> {
        let at = self.0.parts.engine.pin_partitions(view).await?;
        Ok(at.as_ref().map(PartitionStatus::of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_said_in_words() {
        let check = |before, after, said: &str| {
            let needed = Needed { table: "clicks".into(), column: "ts".into(), before, after };
            assert_eq!(reads(&needed), said);
        };
        let day = 86_400_000_000;
        check(0, 0, "clicks: ts of the same times");
        check(7 * day, 0, "clicks: ts from 7 days before the start");
        check(0, day - 1, "clicks: ts to 1 day behind the end");
        check(-day, 2 * day, "clicks: ts from 1 day behind the start to 2 days behind the end");
    }
}

//! What a refresh has restated so far: some groups are listed, the others are summed up, by what changed them.

use std::collections::BTreeMap;

use super::record::{Cause, Restatement};
use crate::telemetry::metrics;

/// Groups listed for one refresh; the others are summed up in one row for each cause.
const LISTED_MAX: usize = 200;

/// See the module.
pub(in crate::materialize) struct Listing {
    /// The table whose commits did it.
    source: String,
    listed: Vec<Restatement>,
    unlisted: BTreeMap<Cause, Unlisted>,
}

/// Groups that are only counted.
#[derive(Default)]
struct Unlisted {
    groups: u64,
    events: Events,
    versions: Option<(u64, u64)>,
}

/// Events that changed groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::materialize) struct Events {
    pub late: u64,
    pub removed: u64,
}

impl Listing {
    pub fn new(source: &str) -> Self {
        Self { source: source.to_owned(), listed: Vec::new(), unlisted: BTreeMap::new() }
    }

    /// Groups that are still listed.
    pub fn room(&self) -> usize {
        LISTED_MAX.saturating_sub(self.listed.len())
    }

    /// Lists a group if there is room, or counts it.
    pub fn list(&mut self, group: Restatement) {
        if self.room() > 0 {
            self.listed.push(group);
            return;
        }
        let events = Events { late: group.late_events, removed: group.removed_events };
        let versions = group.first_version.zip(group.last_version);
        self.sum_up(group.cause, group.groups, events, versions);
    }

    pub fn sum_up(&mut self, cause: Cause, groups: u64, events: Events, versions: Option<(u64, u64)>) {
        let unlisted = self.unlisted.entry(cause).or_default();
        unlisted.groups += groups;
        unlisted.events.late += events.late;
        unlisted.events.removed += events.removed;
        unlisted.versions = match (unlisted.versions, versions) {
            (Some((least, most)), Some((first, last))) => Some((least.min(first), most.max(last))),
            (one, other) => one.or(other),
        };
    }

    /// What was found, the groups that are not listed as one row for each cause behind the others.
    pub fn told(self, view: &str) -> Vec<Restatement> {
        let Self { source, mut listed, unlisted } = self;
        listed.extend(unlisted.into_iter().map(|(cause, Unlisted { groups, events, versions })| Restatement {
            cause,
            group_key: None,
            window_start: None,
            old_value: None,
            new_value: None,
            source: source.clone(),
            first_version: versions.map(|(first, _)| first),
            last_version: versions.map(|(_, last)| last),
            late_events: events.late,
            removed_events: events.removed,
            groups,
        }));
        let groups: u64 = listed.iter().map(|row| row.groups).sum();
        if groups > 0 {
            let labels = [("view", view)];
            metrics().count("view_restatements", "Groups changed after restate_after", &labels, groups);
        }
        listed
    }
}

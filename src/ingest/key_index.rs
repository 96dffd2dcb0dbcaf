//! The exact index of one table's event keys: recent event-time buckets in memory, older ones in the lake.
//!
//! ```text
//!                      resident_from
//!   older buckets ──────────┤────────── recent buckets
//!   looked up in the lake   │  in memory, at most 24 bytes per key
//!   (key_probe)             │  rebuilt from the lake at the first write, advanced by new files; own commits need no reading
//! ```
//!
//! DED-1: for every bucket from `resident_from` on the index holds all keys committed up to the version it is `at`;
//! a row of an older bucket is compared with the lake at that version. A commit names that version as the one it expects;
//! when somebody else was faster the commit fails, the index advances and the rows are looked at again. A key whose
//! repeat names another event time is found too, as long as the bucket of its first event is in memory.
//!
//! Memory is bounded by `ingest.key_index_size`, shared by all tables: when it is used up, the table that wants more
//! gives up its oldest buckets.
//!
//! Keys of rows that are gone may come again. So when a version has lost rows (DELETE, retention), the buckets of the files
//! that went are read again, and rows that were called duplicates meanwhile are looked at again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::execution::TaskContext;
use datafusion::prelude::{Expr, ident, lit};
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;
use parking_lot::RwLock;

use super::IngestError;
use super::bucket::{Bucket, Buckets};
use super::dedup::Pending;
use super::key_budget::{KeyBudget, KeyCharge};
use super::key_hash::hash_keys;
use super::key_probe::read_columns;
use super::key_set::{KeySet, TAGS};
use crate::base::{Stopwatch, Timestamp};
use crate::storage::{StorageError, TableSnapshot, TimeRange};

/// What a key costs right after its part of the set has grown, at most; see [`KeySet`].
const BYTES_PER_KEY: u64 = 24;

/// Keys of one table. Shared: look-ups read, the holder of the table's writer lock advances.
#[derive(Debug)]
pub struct KeyIndex {
    table: String,
    column: String,
    buckets: Buckets,
    budget: KeyBudget,
    inner: RwLock<Inner>,
    pub costs: Costs,
}

/// What looking for keys has cost since the start; shown in `system.ingest`.
#[derive(Debug, Default)]
pub struct Costs {
    /// Look-ups in the lake, one per batch and bucket.
    pub probes: AtomicU64,
    /// Rows those read.
    pub probe_rows: AtomicU64,
    /// Keys they looked for.
    pub probe_keys: AtomicU64,
    /// Keys they found.
    pub probe_hits: AtomicU64,
    pub rebuild_ms: AtomicU64,
    pub rebuild_rows: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    keys: KeySet,
    charge: KeyCharge,
    /// The version whose keys are all here, or in older buckets.
    at: Option<Arc<TableSnapshot>>,
    tags: Tags,
    /// The first bucket in memory.
    resident_from: Bucket,
    mark: Mark,
}

/// Which state of the index rows were compared with. Different marks: what was new may have been committed since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Grows whenever keys come in.
    generation: u64,
    /// Grows whenever rows of buckets that are not in memory may have been committed.
    old_generation: u64,
    /// Grows whenever buckets leave memory.
    evictions: u64,
    /// Grows whenever the table has lost rows: their keys are no duplicates any more.
    losses: u64,
}

impl Mark {
    /// Whether rows of older buckets were committed between the two.
    pub fn same_old_rows(self, other: Mark) -> bool {
        self.old_generation == other.old_generation
    }

    /// Whether the table lost no rows between the two.
    pub fn same_losses(self, other: Mark) -> bool {
        self.losses == other.losses
    }

    /// Whether the same buckets were in memory.
    pub fn same_buckets(self, other: Mark) -> bool {
        self.evictions == other.evictions
    }
}

/// Buckets in memory by the tag their keys carry.
#[derive(Debug, Default)]
struct Tags {
    by_bucket: BTreeMap<Bucket, u16>,
    next: u16,
    free: Vec<u16>,
}

impl Tags {
    /// The bucket's tag; `None` when all are taken.
    fn get(&mut self, bucket: Bucket) -> Option<u16> {
        if let Some(tag) = self.by_bucket.get(&bucket) {
            return Some(*tag);
        }
        let tag = self.free.pop().or_else(|| {
            let fresh = (self.next < TAGS).then_some(self.next)?;
            self.next += 1;
            Some(fresh)
        })?;
        self.by_bucket.insert(bucket, tag);
        Some(tag)
    }
}

/// What the index says about the rows of a batch.
#[derive(Debug)]
pub struct Looked {
    /// Whether the key is in memory.
    pub known: Vec<bool>,
    /// The tag to keep the key with; `None` = the row's bucket is not in memory.
    pub tags: Vec<Option<u16>>,
}

/// A table's key index as an operator sees it.
#[derive(Clone, Debug)]
pub struct KeyIndexState {
    pub keys: u64,
    pub bytes: u64,
    pub buckets: u64,
    /// Events before this are looked up in the lake; `None` = all keys are in memory.
    pub resident_from: Option<Timestamp>,
}

impl KeyIndex {
    /// An index that knows nothing yet.
    pub fn new(table: &str, column: &str, buckets: Buckets, budget: &KeyBudget) -> Self {
        let inner = Inner {
            keys: KeySet::default(),
            charge: budget.charge(),
            at: None,
            tags: Tags::default(),
            resident_from: Bucket::MIN,
            mark: Mark::default(),
        };
        Self {
            table: table.to_owned(),
            column: column.to_owned(),
            buckets,
            budget: budget.clone(),
            inner: RwLock::new(inner),
            costs: Costs::default(),
        }
    }

    pub fn column(&self) -> &str {
        &self.column
    }

    pub fn buckets(&self) -> &Buckets {
        &self.buckets
    }

    pub fn budget(&self) -> &KeyBudget {
        &self.budget
    }

    pub fn mark(&self) -> Mark {
        self.inner.read().mark
    }

    /// The version the index speaks for.
    pub fn at(&self) -> Option<Arc<TableSnapshot>> {
        self.inner.read().at.clone()
    }

    pub fn state(&self) -> KeyIndexState {
        let inner = self.inner.read();
        let all = inner.resident_from == Bucket::MIN;
        KeyIndexState {
            keys: inner.keys.len() as u64,
            bytes: inner.keys.bytes(),
            buckets: inner.tags.by_bucket.len() as u64,
            resident_from: (!all).then(|| self.buckets.times(inner.resident_from).start),
        }
    }

    /// Looks the keys up in memory.
    pub fn look(&self, hashes: &[u128], buckets: &[Bucket]) -> Looked {
        let mut missing = false;
        {
            let inner = self.inner.read();
            let known = inner.keys.contains_each(hashes);
            let mut last: Option<(Bucket, Option<u16>)> = None;
            let mut tags = Vec::with_capacity(buckets.len());
            for bucket in buckets {
                let tag = match last {
                    Some((before, tag)) if before == *bucket => tag,
                    _ if *bucket < inner.resident_from => None,
                    _ => {
                        let tag = inner.tags.by_bucket.get(bucket).copied();
                        missing |= tag.is_none();
                        tag
                    }
                };
                last = Some((*bucket, tag));
                tags.push(tag);
            }
            if !missing {
                return Looked { known, tags };
            }
        }
        self.make_tags(buckets);
        self.look(hashes, buckets)
    }

    /// Gives the buckets tags. When there are more than tags, the oldest buckets leave memory.
    fn make_tags(&self, buckets: &[Bucket]) {
        let mut inner = self.inner.write();
        let mut wanted: Vec<Bucket> = buckets.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        for bucket in wanted.into_iter().rev() {
            if bucket < inner.resident_from || inner.tags.get(bucket).is_some() {
                continue;
            }
            let oldest = inner.tags.by_bucket.keys().next().copied();
            match oldest.filter(|oldest| *oldest < bucket) {
                Some(oldest) => inner.evict_before(oldest.next()),
                None => inner.evict_before(bucket.next()),
            }
            if bucket >= inner.resident_from {
                inner.tags.get(bucket);
            }
        }
    }

    pub fn intersects(&self, keys: &KeySet) -> bool {
        self.inner.read().keys.intersects(keys)
    }

    /// Brings the index to `snapshot`, reading the files it does not know. The caller holds the table's writer lock.
    pub async fn advance(&self, snapshot: &Arc<TableSnapshot>, task: &Arc<TaskContext>) -> Result<(), IngestError> {
        let mut has_lost_rows = false;
        match self.at() {
            Some(at) if at.version() >= snapshot.version() => return Ok(()),
            Some(at) => {
                has_lost_rows = snapshot.rows_removed_since(&at);
                if has_lost_rows {
                    let touched = self.touched(&snapshot.time_ranges_gone_since(&at, &self.buckets.column));
                    self.renew(&touched, snapshot, task).await?;
                }
                if let Some(added) = snapshot.provider_of_files_added_since(&at) {
                    let from = self.inner.read().resident_from;
                    self.read(added, from, task).await?;
                    // Rows of older buckets leave no key here, but whoever looked in the lake has to look again.
                    self.inner.write().mark.old_generation += 1;
                }
            }
            None if snapshot.row_count() == 0 => {}
            None => self.rebuild(snapshot, task).await?,
        }
        let mut inner = self.inner.write();
        inner.at = Some(snapshot.clone());
        inner.mark.losses += u64::from(has_lost_rows);
        tracing::debug!(table = self.table, version = %snapshot.version(), keys = inner.keys.len(), "event-key index advanced");
        Ok(())
    }

    async fn rebuild(&self, snapshot: &Arc<TableSnapshot>, task: &Arc<TaskContext>) -> Result<(), IngestError> {
        let watch = Stopwatch::start();
        let ranges = snapshot.time_ranges(&self.buckets.column);
        let files = ranges.iter().map(|range| (range.latest.map(|time| self.buckets.bucket(time)), range.rows));
        let from = resident_from(files.collect(), self.budget.free() / BYTES_PER_KEY);
        self.inner.write().resident_from = from;
        let rows = self.read(snapshot.provider(), from, task).await?;
        let ms = u64::try_from(watch.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.costs.rebuild_ms.store(ms, Ordering::Relaxed);
        self.costs.rebuild_rows.store(rows, Ordering::Relaxed);
        let state = self.state();
        tracing::info!(table = self.table, rows, keys = state.keys, bytes = state.bytes, ms, "event-key index rebuilt");
        Ok(())
    }

    /// Takes the keys of `provider`'s rows in buckets from `from` on.
    async fn read(
        &self,
        provider: Arc<dyn datafusion::catalog::TableProvider>,
        from: Bucket,
        task: &Arc<TaskContext>,
    ) -> Result<u64, IngestError> {
        let columns = [self.column.as_str(), self.buckets.column.as_str()];
        let filter = (from > Bucket::MIN).then(|| self.time_at_least(from));
        let mut stream =
            read_columns(provider, &columns, filter, task).await.map_err(|error| self.unreadable(error))?;
        let mut rows = 0;
        while let Some(batch) = stream.try_next().await.map_err(|error| self.unreadable(error))? {
            rows += batch.num_rows() as u64;
            let hashes = hash_keys(&batch.columns()[..1]).map_err(|error| self.unreadable(error.into()))?;
            let buckets = self.buckets.of_rows(&batch);
            let Looked { tags, .. } = self.look(&[], &buckets);
            let mut inner = self.inner.write();
            let resident: (Vec<u128>, Vec<u16>) =
                hashes.iter().zip(&tags).filter_map(|(hash, tag)| tag.map(|tag| (*hash, tag))).unzip();
            if inner.keys.insert_each(&resident.0, &resident.1).contains(&true) {
                inner.mark.generation += 1;
            }
            inner.settle(&self.table);
        }
        Ok(rows)
    }

    /// The buckets in memory that lie in the ranges, and their tags; what is not known may lie anywhere.
    fn touched(&self, ranges: &[TimeRange]) -> BTreeMap<Bucket, u16> {
        let inner = self.inner.read();
        let of = |time: Option<Timestamp>, unknown| time.map_or(unknown, |time| self.buckets.bucket(time));
        let ranges = ranges.iter().map(|range| of(range.earliest, Bucket::MIN)..=of(range.latest, Bucket::MAX));
        let ranges = ranges.filter(|range| range.start() <= range.end());
        ranges.flat_map(|range| inner.tags.by_bucket.range(range)).map(|(bucket, tag)| (*bucket, *tag)).collect()
    }

    /// Puts the keys that `snapshot` has in these buckets in the place of those in memory, all at once. When both do not fit
    /// beside one another the buckets leave memory, with all before them.
    async fn renew(
        &self,
        touched: &BTreeMap<Bucket, u16>,
        snapshot: &Arc<TableSnapshot>,
        task: &Arc<TaskContext>,
    ) -> Result<(), IngestError> {
        let Some(last) = touched.keys().next_back().copied() else { return Ok(()) };
        let (watch, room) = (Stopwatch::start(), self.budget.free());
        let mut fresh = KeySet::default();
        let columns = [self.column.as_str(), self.buckets.column.as_str()];
        let filter = Some(self.within_any(touched.keys().copied()));
        let stream = read_columns(snapshot.provider(), &columns, filter, task).await;
        let mut stream = stream.map_err(|error| self.unreadable(error))?;
        let mut fits = true;
        while let Some(batch) = stream.try_next().await.map_err(|error| self.unreadable(error))? {
            let hashes = hash_keys(&batch.columns()[..1]).map_err(|error| self.unreadable(error.into()))?;
            let buckets = self.buckets.of_rows(&batch);
            let pairs = hashes.iter().zip(&buckets).filter_map(|(hash, bucket)| Some((*hash, *touched.get(bucket)?)));
            let (hashes, tags): (Vec<u128>, Vec<u16>) = pairs.unzip();
            fresh.insert_each(&hashes, &tags);
            fits = fresh.bytes() <= room;
            if !fits {
                break;
            }
        }
        let mut inner = self.inner.write();
        let before = inner.keys.len();
        if fits && touched.iter().all(|(bucket, tag)| inner.tags.by_bucket.get(bucket) == Some(tag)) {
            inner.replace(touched, fresh, &self.table);
        } else {
            inner.evict_before(last.next());
        }
        let (keys, ms) = (inner.keys.len(), watch.elapsed().as_millis());
        tracing::info!(
            table = self.table,
            buckets = touched.len(),
            before,
            keys,
            ms,
            "rows are gone, their event keys too"
        );
        Ok(())
    }

    /// `event_time >= start of bucket`.
    fn time_at_least(&self, bucket: Bucket) -> Expr {
        let start = self.buckets.times(bucket).start.micros();
        ident(&self.buckets.column).gt_eq(lit(ScalarValue::TimestampMicrosecond(Some(start), Some("UTC".into()))))
    }

    pub fn unreadable(&self, error: datafusion::error::DataFusionError) -> IngestError {
        StorageError::engine(format!("read the event keys of table '{}'", self.table), error).into()
    }

    /// Adds the keys of a commit of our own. `at` is the snapshot of that commit, when nobody else came after it.
    pub fn absorb(&self, pending: Pending, at: Option<Arc<TableSnapshot>>) {
        let Pending { keys, old_keys, charge, mark, met_known: _ } = pending;
        let mut inner = self.inner.write();
        // Given back first: the two sets together were within the budget, their union is no larger.
        drop(charge);
        if !old_keys.is_empty() {
            inner.mark.old_generation += 1;
        }
        if !mark.same_buckets(inner.mark) {
            // The tags mean other buckets by now. The next advance reads the keys from the files.
            return;
        }
        inner.keys.absorb(keys);
        inner.mark.generation += 1;
        inner.settle(&self.table);
        if let Some(at) = at {
            inner.at = Some(at);
        }
    }
}

impl Inner {
    /// Pays for the keys; gives up the oldest buckets when they cost more than is free.
    fn settle(&mut self, table: &str) {
        if self.charge.settle_resident(self.keys.bytes()).is_ok() {
            return;
        }
        let counts = self.keys.count_by_tag();
        let mut over = (self.keys.len() as u64 / 10).max(1);
        let mut keep_from = self.resident_from;
        for (bucket, tag) in &self.tags.by_bucket {
            keep_from = bucket.next();
            over = over.saturating_sub(counts.get(usize::from(*tag)).copied().unwrap_or(0));
            if over == 0 {
                break;
            }
        }
        let before = self.keys.len();
        self.evict_before(keep_from);
        tracing::info!(table, dropped = before - self.keys.len(), "old event keys left memory (ingest.key_index_size)");
        if self.charge.settle_resident(self.keys.bytes()).is_err() && !self.keys.is_empty() {
            self.settle(table);
        }
    }

    /// Keys in the place of all of these buckets.
    fn replace(&mut self, buckets: &BTreeMap<Bucket, u16>, keys: KeySet, table: &str) {
        let mut renewed = vec![false; usize::from(TAGS)];
        buckets.values().for_each(|tag| renewed[usize::from(*tag)] = true);
        self.keys.retain_tags(|tag| !renewed[usize::from(tag)]);
        self.keys.absorb(keys);
        self.mark.generation += 1;
        self.settle(table);
    }

    /// Buckets before `bucket` leave memory.
    fn evict_before(&mut self, bucket: Bucket) {
        let kept = self.tags.by_bucket.split_off(&bucket);
        let gone = std::mem::replace(&mut self.tags.by_bucket, kept);
        self.resident_from = self.resident_from.max(bucket);
        self.mark.evictions += 1;
        let gone: Vec<u16> = gone.into_values().collect();
        let mut dropped = vec![false; usize::from(TAGS)];
        gone.iter().for_each(|tag| dropped[usize::from(*tag)] = true);
        self.keys.retain_tags(|tag| !dropped[usize::from(tag)]);
        self.tags.free.extend(gone);
        let _ = self.charge.settle(self.keys.bytes());
    }
}

/// The first bucket to keep in memory when `keys_max` fit: files, by the bucket of their latest event, newest first.
/// Files of unknown age count as newest.
fn resident_from(mut files: Vec<(Option<Bucket>, Option<u64>)>, keys_max: u64) -> Bucket {
    files.sort_unstable_by_key(|(bucket, _)| std::cmp::Reverse(bucket.unwrap_or(Bucket(i64::MAX))));
    let mut rows = 0_u64;
    for (bucket, count) in files {
        rows = rows.saturating_add(count.unwrap_or(0));
        if let Some(bucket) = bucket.filter(|_| rows > keys_max) {
            return bucket.next();
        }
    }
    Bucket::MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_goes_to_the_newest_buckets() {
        let file = |bucket: i64, rows| (Some(Bucket(bucket)), Some(rows));
        let files = vec![file(1, 10), file(3, 10), file(2, 10), (None, Some(5))];
        assert_eq!(resident_from(files.clone(), 100), Bucket::MIN);
        assert_eq!(resident_from(files.clone(), 25), Bucket(2));
        assert_eq!(resident_from(files.clone(), 15), Bucket(3));
        assert_eq!(resident_from(files, 14), Bucket(4));
    }
}

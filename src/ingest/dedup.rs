//! `Batch<Valid>` → `Batch<Unique>`: rows whose event key is in the table, or came earlier in this request, are dropped
//! and counted (DED-1). First wins.
//!
//! ```text
//! key in memory? ──yes──► duplicate
//!      │no, and its bucket is in memory ──────────────────────► new, unless earlier in this request
//!      └no, its bucket is older ──► key in the lake? ──yes──► duplicate │ no ──► new, unless earlier in this request
//! ```
//!
//! Keys of the request are kept apart until its commit has succeeded: a request that fails leaves no trace in the index.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use datafusion::execution::TaskContext;

use super::IngestError;
use super::batch::{Batch, Unique, Valid};
use super::bucket::Bucket;
use super::key_budget::KeyCharge;
use super::key_hash::hash_keys;
use super::key_index::{KeyIndex, Looked, Mark};
use super::key_probe::Wanted;
use super::key_set::KeySet;

/// A bucket asked about so many keys is read once and kept for the rest of the request.
const PROBED_KEYS_MAX: u64 = 2_000;

/// Drops the duplicates of one request, or of the requests of one commit.
pub struct Dedup {
    keyed: Option<Keyed>,
    duplicates: u64,
}

struct Keyed {
    index: Arc<KeyIndex>,
    column: usize,
    pending: Pending,
    old: BTreeMap<Bucket, OldBucket>,
    task: Arc<TaskContext>,
}

/// What is known of a bucket that is not in memory.
#[derive(Default)]
struct OldBucket {
    keys_asked: u64,
    /// All its keys, and what they cost.
    keys: Option<(KeySet, KeyCharge)>,
}

/// Keys of a request that is not committed yet.
#[derive(Debug)]
pub struct Pending {
    /// Keys of buckets in memory.
    pub keys: KeySet,
    /// Keys of older buckets.
    pub old_keys: KeySet,
    pub charge: KeyCharge,
    /// The index's mark when the first row was looked at: what came later has not been compared with all rows.
    pub mark: Mark,
    /// Whether rows were dropped because the table has their keys.
    pub met_known: bool,
}

impl Dedup {
    /// For a table with an event key, or without (`None`): then every row is its own event.
    ///
    /// # Errors
    /// When the key column is not among `columns`.
    pub fn new(index: Option<&Arc<KeyIndex>>, columns: &Schema, task: &Arc<TaskContext>) -> Result<Self, IngestError> {
        let keyed = match index {
            None => None,
            Some(index) => {
                let column = columns.index_of(index.column()).map_err(|_| IngestError::Invalid {
                    message: format!("the table's files have no column '{}', its event key", index.column()),
                })?;
                let pending = Pending {
                    keys: KeySet::default(),
                    old_keys: KeySet::default(),
                    charge: index.budget().charge(),
                    mark: index.mark(),
                    met_known: false,
                };
                Some(Keyed { index: index.clone(), column, pending, old: BTreeMap::new(), task: task.clone() })
            }
        };
        Ok(Self { keyed, duplicates: 0 })
    }

    /// The rows seen for the first time.
    ///
    /// # Errors
    /// `Exhausted` when the keys need more memory than allowed; storage trouble when old events are looked up.
    pub async fn apply(&mut self, batch: Batch<Valid>) -> Result<Batch<Unique>, IngestError> {
        match self.first_seen(&batch).await? {
            None => Ok(Batch { rows: batch.rows, state: Unique }),
            Some(keep) => batch.only(&keep),
        }
    }

    /// Which rows are seen for the first time; `None` = all.
    pub async fn first_seen(&mut self, batch: &Batch<Valid>) -> Result<Option<BooleanArray>, IngestError> {
        let Some(keyed) = &mut self.keyed else { return Ok(None) };
        let new = keyed.first_seen(&batch.rows).await?;
        if !new.contains(&false) {
            return Ok(None);
        }
        let keep = BooleanArray::from(new);
        self.duplicates += keep.false_count() as u64;
        Ok(Some(keep))
    }

    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Whether rows were dropped because the table has their keys.
    pub fn met_known(&self) -> bool {
        self.keyed.as_ref().is_some_and(|keyed| keyed.pending.met_known)
    }

    /// The keys to add to the index once the rows are committed.
    pub fn into_pending(self) -> Option<Pending> {
        self.keyed.map(|keyed| keyed.pending)
    }
}

impl Pending {
    /// Whether somebody may have committed some of the keys since the rows were looked at, or deleted some that were there.
    pub fn repeats_in(&self, index: &KeyIndex) -> bool {
        let now = index.mark();
        if now == self.mark {
            return false;
        }
        if self.met_known && !self.mark.same_losses(now) {
            return true;
        }
        // Of older buckets the index cannot tell, and buckets that left memory took the proof with them.
        let old_rows = !self.old_keys.is_empty() && !self.mark.same_old_rows(now);
        old_rows || !self.mark.same_buckets(now) || index.intersects(&self.keys)
    }
}

impl Batch<Valid> {
    /// The rows to keep, as the dedup has found them.
    fn only(self, keep: &BooleanArray) -> Result<Batch<Unique>, IngestError> {
        let rows = filter_record_batch(&self.rows, keep)
            .map_err(|error| IngestError::Invalid { message: format!("cannot drop duplicates: {error}") })?;
        Ok(Batch { rows, state: Unique })
    }
}

impl Keyed {
    async fn first_seen(&mut self, rows: &RecordBatch) -> Result<Vec<bool>, IngestError> {
        let values = rows.column(self.column).clone();
        let hashes = hash_keys(std::slice::from_ref(&values))
            .map_err(|error| IngestError::Invalid { message: format!("cannot read event keys: {error}") })?;
        let buckets = self.index.buckets().of_rows(rows);
        let Looked { mut known, tags } = self.index.look(&hashes, &buckets);
        if tags.contains(&None) {
            self.look_in_lake(&values, &hashes, &buckets, &tags, &mut known).await?;
        }
        let Pending { keys, old_keys, charge, met_known, .. } = &mut self.pending;
        *met_known |= known.contains(&true);
        let no_old = old_keys.is_empty() && !tags.contains(&None);
        let new = hashes.iter().zip(known).zip(&tags).map(|((hash, known), tag)| match tag {
            _ if known => false,
            Some(tag) => (no_old || !old_keys.contains(*hash)) && keys.insert(*hash, *tag),
            None => !keys.contains(*hash) && old_keys.insert(*hash, 0),
        });
        let new = new.collect();
        charge.settle(keys.bytes() + old_keys.bytes())?;
        Ok(new)
    }

    /// Marks the rows of older buckets whose keys the lake has.
    async fn look_in_lake(
        &mut self,
        values: &ArrayRef,
        hashes: &[u128],
        buckets: &[Bucket],
        tags: &[Option<u16>],
        known: &mut [bool],
    ) -> Result<(), IngestError> {
        let mut by_bucket: BTreeMap<Bucket, Vec<usize>> = BTreeMap::new();
        for (row, bucket) in buckets.iter().enumerate() {
            if tags.get(row) == Some(&None) && known.get(row) == Some(&false) {
                by_bucket.entry(*bucket).or_default().push(row);
            }
        }
        for (bucket, rows) in by_bucket {
            let wanted: Vec<u128> = rows.iter().filter_map(|row| hashes.get(*row).copied()).collect();
            let found = self.found_in(bucket, values, &rows, &wanted).await?;
            for (row, found) in rows.into_iter().zip(found) {
                known[row] = found;
            }
        }
        Ok(())
    }

    async fn found_in(
        &mut self,
        bucket: Bucket,
        values: &ArrayRef,
        rows: &[usize],
        hashes: &[u128],
    ) -> Result<Vec<bool>, IngestError> {
        let old = self.old.entry(bucket).or_default();
        old.keys_asked += hashes.len() as u64;
        if old.keys.is_none()
            && old.keys_asked > PROBED_KEYS_MAX
            && let Some(keys) = self.index.bucket_keys(bucket, &self.task).await?
        {
            let mut charge = self.index.budget().charge();
            if charge.settle(keys.bytes()).is_ok() {
                old.keys = Some((keys, charge));
            }
        }
        if let Some((keys, _)) = &old.keys {
            return Ok(keys.contains_each(hashes));
        }
        let wanted = Wanted { bucket, values, rows, hashes };
        let found: HashSet<u128> = self.index.probe(wanted, &self.task).await?;
        Ok(hashes.iter().map(|hash| found.contains(hash)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ByteSize;
    use crate::ingest::bucket::Buckets;
    use crate::ingest::key_budget::KeyBudget;
    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type};
    use futures::FutureExt;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Deliveries of (key, payload), with commits between some of them.
    struct Table {
        index: Arc<KeyIndex>,
        task: Arc<TaskContext>,
        committed: BTreeMap<u16, i64>,
        duplicates: u64,
    }

    fn schema() -> Schema {
        Schema::new(vec![Field::new("id", DataType::Utf8, false), Field::new("n", DataType::Int64, true)])
    }

    fn batch(rows: &[(u16, i64)]) -> Batch<Valid> {
        let ids: StringArray = rows.iter().map(|(id, _)| Some(format!("event-{id}"))).collect();
        let numbers: Int64Array = rows.iter().map(|(_, n)| Some(*n)).collect();
        let rows = RecordBatch::try_new(Arc::new(schema()), vec![Arc::new(ids), Arc::new(numbers)]).unwrap();
        Batch { rows, state: Valid }
    }

    impl Table {
        fn new(limit: ByteSize) -> Self {
            let budget = KeyBudget::new(limit);
            let index = Arc::new(KeyIndex::new("t", "id", Buckets::daily("at"), &budget));
            Self { index, task: Arc::default(), committed: BTreeMap::new(), duplicates: 0 }
        }

        /// One request: its batches, then its commit, or its failure.
        fn request(&mut self, batches: &[Vec<(u16, i64)>], succeeds: bool) {
            let mut dedup = Dedup::new(Some(&self.index), &schema(), &self.task).unwrap();
            let mut rows = Vec::new();
            for delivered in batches {
                let unique = dedup.apply(batch(delivered)).now_or_never().unwrap().unwrap().rows;
                let ids = unique.column(0).as_string::<i32>().iter().flatten();
                let ids = ids.map(|id| id.trim_start_matches("event-").parse::<u16>().unwrap());
                rows.extend(ids.zip(unique.column(1).as_primitive::<Int64Type>().values().iter().copied()));
            }
            if !succeeds {
                return;
            }
            self.duplicates += dedup.duplicates();
            for (id, n) in rows {
                assert!(self.committed.insert(id, n).is_none(), "event {id} was committed twice");
            }
            self.index.absorb(dedup.into_pending().unwrap(), None);
        }
    }

    type Deliveries = Vec<(Vec<Vec<(u16, i64)>>, bool)>;

    fn deliveries() -> impl Strategy<Value = Deliveries> {
        let rows = prop::collection::vec((0..200_u16, any::<i64>()), 0..40);
        let request = (prop::collection::vec(rows, 0..5), prop::bool::weighted(0.8));
        prop::collection::vec(request, 0..12)
    }

    proptest! {
        /// However events are repeated, ordered, split into requests and lost by failures: first accepted wins, once.
        #[test]
        fn redelivery_leaves_the_first_occurrences(deliveries in deliveries()) {
            let mut table = Table::new(ByteSize::mib(1));
            let (mut wanted, mut repeats) = (BTreeMap::new(), 0);
            for (batches, succeeds) in &deliveries {
                table.request(batches, *succeeds);
                for (id, n) in batches.iter().flatten().filter(|_| *succeeds) {
                    if wanted.contains_key(id) { repeats += 1 } else { wanted.insert(*id, *n); }
                }
            }
            prop_assert_eq!(&table.committed, &wanted);
            prop_assert_eq!(table.duplicates, repeats);
        }
    }

    #[test]
    fn batches_without_duplicates_are_passed_through() {
        let table = Table::new(ByteSize::mib(1));
        let mut dedup = Dedup::new(Some(&table.index), &schema(), &table.task).unwrap();
        let first = batch(&[(1, 1), (2, 2)]);
        let column = first.rows.column(0).clone();
        assert!(Arc::ptr_eq(dedup.apply(first).now_or_never().unwrap().unwrap().rows.column(0), &column));
    }

    #[test]
    fn the_budget_is_kept_and_given_back() {
        let mut table = Table::new(ByteSize(64 << 10));
        let rows: Vec<_> = (0..8_000_u16).map(|id| (id, 0)).collect();
        let mut dedup = Dedup::new(Some(&table.index), &schema(), &table.task).unwrap();
        let error = dedup.apply(batch(&rows)).now_or_never().unwrap().unwrap_err();
        assert!(error.to_string().contains("ingest.key_index_size"), "{error}");
        drop(dedup);
        table.request(&[rows[..500].to_vec()], true);
        assert_eq!(table.committed.len(), 500);
    }
}

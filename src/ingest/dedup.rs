//! `Batch<Valid>` → `Batch<Unique>`: rows whose event key is in the table, or came earlier in this request, are dropped
//! and counted (DED-1). First wins.
//!
//! Keys of the request are kept apart until its commit has succeeded: a request that fails leaves no trace in the index.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Schema;

use super::IngestError;
use super::batch::{Batch, Unique, Valid};
use super::key_hash::hash_keys;
use super::key_index::{KeyBudget, KeyCharge, KeyIndex};
use super::key_set::KeySet;

/// Drops the duplicates of one request.
pub struct Dedup {
    keyed: Option<Keyed>,
    duplicates: u64,
}

struct Keyed {
    index: Arc<KeyIndex>,
    column: usize,
    pending: Pending,
}

/// Keys of a request that is not committed yet.
#[derive(Debug)]
pub struct Pending {
    pub keys: KeySet,
    pub charge: KeyCharge,
    /// The index's generation when the first row was looked at: what came later has not been compared with all rows.
    pub generation: u64,
}

impl Dedup {
    /// For a table with an event key, or without (`None`): then every row is its own event.
    ///
    /// # Errors
    /// When the key column is not among `columns`.
    pub fn new(index: Option<&Arc<KeyIndex>>, columns: &Schema, budget: &KeyBudget) -> Result<Self, IngestError> {
        let keyed = match index {
            None => None,
            Some(index) => {
                let column = columns.index_of(index.column()).map_err(|_| IngestError::Invalid {
                    message: format!("the table's files have no column '{}', its event key", index.column()),
                })?;
                let generation = index.generation();
                let pending = Pending { keys: KeySet::default(), charge: budget.charge(), generation };
                Some(Keyed { index: index.clone(), column, pending })
            }
        };
        Ok(Self { keyed, duplicates: 0 })
    }

    /// The rows seen for the first time.
    ///
    /// # Errors
    /// `Exhausted` when the keys need more memory than allowed.
    pub fn apply(&mut self, batch: Batch<Valid>) -> Result<Batch<Unique>, IngestError> {
        let Batch { rows, state: Valid } = batch;
        let Some(keyed) = &mut self.keyed else { return Ok(Batch { rows, state: Unique }) };
        let new = keyed.first_seen(rows.column(keyed.column))?;
        if !new.contains(&false) {
            return Ok(Batch { rows, state: Unique });
        }
        let keep = BooleanArray::from(new);
        self.duplicates += keep.false_count() as u64;
        let rows = filter_record_batch(&rows, &keep)
            .map_err(|error| IngestError::Invalid { message: format!("cannot drop duplicates: {error}") })?;
        Ok(Batch { rows, state: Unique })
    }

    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// The keys to add to the index once the rows are committed.
    pub fn into_pending(self) -> Option<Pending> {
        self.keyed.map(|keyed| keyed.pending)
    }
}

impl Keyed {
    fn first_seen(&mut self, column: &ArrayRef) -> Result<Vec<bool>, IngestError> {
        let hashes = hash_keys(std::slice::from_ref(column))
            .map_err(|error| IngestError::Invalid { message: format!("cannot read event keys: {error}") })?;
        let known = self.index.known(&hashes);
        let keys = &mut self.pending.keys;
        let new = if known.is_empty() {
            keys.insert_each(&hashes)
        } else {
            hashes.iter().zip(known).map(|(hash, known)| !known && keys.insert(*hash)).collect()
        };
        self.pending.charge.settle(keys.bytes())?;
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ByteSize;
    use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Deliveries of (key, payload), with commits between some of them.
    struct Table {
        index: Arc<KeyIndex>,
        budget: KeyBudget,
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
            let index = Arc::new(KeyIndex::new("t", "id", &budget));
            Self { index, budget, committed: BTreeMap::new(), duplicates: 0 }
        }

        /// One request: its batches, then its commit, or its failure.
        fn request(&mut self, batches: &[Vec<(u16, i64)>], succeeds: bool) {
            let mut dedup = Dedup::new(Some(&self.index), &schema(), &self.budget).unwrap();
            let mut rows = Vec::new();
            for delivered in batches {
                let unique = dedup.apply(batch(delivered)).unwrap().rows;
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
            let Pending { keys, charge, .. } = dedup.into_pending().unwrap();
            self.index.absorb(keys, charge, None);
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
        let mut dedup = Dedup::new(Some(&table.index), &schema(), &table.budget).unwrap();
        let first = batch(&[(1, 1), (2, 2)]);
        let column = first.rows.column(0).clone();
        assert!(Arc::ptr_eq(dedup.apply(first).unwrap().rows.column(0), &column));
    }

    #[test]
    fn the_budget_is_kept_and_given_back() {
        let mut table = Table::new(ByteSize(64 << 10));
        let rows: Vec<_> = (0..8_000_u16).map(|id| (id, 0)).collect();
        let mut dedup = Dedup::new(Some(&table.index), &schema(), &table.budget).unwrap();
        let error = dedup.apply(batch(&rows)).unwrap_err();
        assert!(error.to_string().contains("ingest.key_index_size"), "{error}");
        drop(dedup);
        table.request(&[rows[..500].to_vec()], true);
        assert_eq!(table.committed.len(), 500);
    }
}

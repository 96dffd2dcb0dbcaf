//! Looking for event keys in the lake: buckets that are not in memory.
//!
//! Few keys are asked for by value, so that bloom filters, statistics and page indexes leave out nearly everything;
//! many are compared with the key column of the bucket's files. Both read at the version the index is at.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::ArrayRef;
use datafusion::catalog::TableProvider;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::utils::disjunction;
use datafusion::prelude::{Expr, SessionContext, ident, lit};
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;

use super::IngestError;
use super::bucket::Bucket;
use super::key_hash::hash_keys;
use super::key_index::KeyIndex;
use super::key_set::KeySet;

/// Up to so many keys are asked for by value: what bloom filters are looked up for.
const KEYS_BY_VALUE: usize = 20;

/// Keys of one bucket to look for.
pub struct Wanted<'a> {
    pub bucket: Bucket,
    /// The key column, and the rows of it that are meant.
    pub values: &'a ArrayRef,
    pub rows: &'a [usize],
    /// Of the rows meant.
    pub hashes: &'a [u128],
}

impl KeyIndex {
    /// Those of the wanted keys that the table has in the bucket.
    pub async fn probe(&self, wanted: Wanted<'_>, task: &Arc<TaskContext>) -> Result<HashSet<u128>, IngestError> {
        let mut found = HashSet::new();
        let Some(snapshot) = self.at() else { return Ok(found) };
        let mut filter = self.within(wanted.bucket);
        if wanted.rows.len() <= KEYS_BY_VALUE {
            let value = |row: &usize| ScalarValue::try_from_array(wanted.values, *row).map(lit);
            let values: Vec<Expr> =
                wanted.rows.iter().map(value).collect::<Result<_, _>>().map_err(|error| self.unreadable(error))?;
            filter = filter.and(ident(self.column()).in_list(values, false));
        }
        let candidates: HashSet<u128> = wanted.hashes.iter().copied().collect();
        let mut read = 0;
        let columns = [self.column()];
        let stream = read_columns(snapshot.provider(), &columns, Some(filter), task).await;
        let mut stream = stream.map_err(|error| self.unreadable(error))?;
        while let Some(batch) = stream.try_next().await.map_err(|error| self.unreadable(error))? {
            read += batch.num_rows() as u64;
            let hashes = hash_keys(batch.columns()).map_err(|error| self.unreadable(error.into()))?;
            found.extend(hashes.into_iter().filter(|hash| candidates.contains(hash)));
        }
        let costs = &self.costs;
        costs.probes.fetch_add(1, Ordering::Relaxed);
        costs.probe_rows.fetch_add(read, Ordering::Relaxed);
        costs.probe_keys.fetch_add(candidates.len() as u64, Ordering::Relaxed);
        costs.probe_hits.fetch_add(found.len() as u64, Ordering::Relaxed);
        Ok(found)
    }

    /// All keys of a bucket, for a request that asks about many of them; `None` when memory does not allow it.
    pub async fn bucket_keys(&self, bucket: Bucket, task: &Arc<TaskContext>) -> Result<Option<KeySet>, IngestError> {
        let mut keys = KeySet::default();
        let Some(snapshot) = self.at() else { return Ok(Some(keys)) };
        let room = self.budget().free();
        let columns = [self.column()];
        let stream = read_columns(snapshot.provider(), &columns, Some(self.within(bucket)), task).await;
        let mut stream = stream.map_err(|error| self.unreadable(error))?;
        while let Some(batch) = stream.try_next().await.map_err(|error| self.unreadable(error))? {
            let hashes = hash_keys(batch.columns()).map_err(|error| self.unreadable(error.into()))?;
            self.costs.probe_rows.fetch_add(hashes.len() as u64, Ordering::Relaxed);
            keys.insert_each(&hashes, &vec![0; hashes.len()]);
            if keys.bytes() > room {
                return Ok(None);
            }
        }
        self.costs.probes.fetch_add(1, Ordering::Relaxed);
        Ok(Some(keys))
    }

    /// `event_time` lies in the bucket.
    fn within(&self, bucket: Bucket) -> Expr {
        self.between(bucket, bucket)
    }

    /// `event_time` lies in one of the buckets, given in ascending order.
    pub fn within_any(&self, buckets: impl Iterator<Item = Bucket>) -> Expr {
        let mut runs: Vec<(Bucket, Bucket)> = Vec::new();
        for bucket in buckets {
            match runs.last_mut() {
                Some((_, last)) if last.next() == bucket => *last = bucket,
                _ => runs.push((bucket, bucket)),
            }
        }
        disjunction(runs.into_iter().map(|(first, last)| self.between(first, last))).unwrap_or_else(|| lit(false))
    }

    fn between(&self, first: Bucket, last: Bucket) -> Expr {
        let (start, end) = (self.buckets().times(first).start, self.buckets().times(last).end);
        let time = || ident(&self.buckets().column);
        let literal = |micros: i64| lit(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())));
        time().gt_eq(literal(start.micros())).and(time().lt(literal(end.micros())))
    }
}

/// Rows of `provider` that pass `filter`, these columns only.
pub async fn read_columns(
    provider: Arc<dyn TableProvider>,
    columns: &[&str],
    filter: Option<Expr>,
    task: &Arc<TaskContext>,
) -> Result<SendableRecordBatchStream, DataFusionError> {
    let context = SessionContext::new_with_config_rt(task.session_config().clone(), task.runtime_env());
    let mut frame = context.read_table(provider)?;
    if let Some(filter) = filter {
        frame = frame.filter(filter)?;
    }
    let wanted: Vec<_> = columns.iter().map(|name| ident(*name)).collect();
    frame.select(wanted)?.execute_stream().await
}

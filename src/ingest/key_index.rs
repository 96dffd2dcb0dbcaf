//! The exact index of one table's event keys, in memory, rebuilt from the lake and advanced by its new files.
//!
//! ```text
//! first write:  all files of the version ─ key column ─► keys
//! later:        files added since        ─ key column ─► keys      (own commits are added without reading)
//! ```
//!
//! DED-1: the index holds at least every key committed up to the version it is `at`. A commit names that version as
//! the one it expects; when somebody else was faster the commit fails, the index advances and the rows are looked at
//! again. The index may hold keys of rows that are gone: an event key is committed at most once, ever.
//!
//! Costs: at most 24 bytes per key. The budget is shared by all tables (`ingest.key_index_size`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::catalog::TableProvider;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use parking_lot::RwLock;

use super::IngestError;
use super::key_hash::hash_keys;
use super::key_set::KeySet;
use crate::base::ByteSize;
use crate::storage::{StorageError, TableSnapshot, TableVersion};
use crate::telemetry::metrics;

/// Memory for key sets, shared by the tables of the process.
#[derive(Clone, Debug)]
pub struct KeyBudget {
    limit: ByteSize,
    used: Arc<AtomicU64>,
}

/// What one key set has taken from the budget; gives it back when dropped.
#[derive(Debug)]
pub struct KeyCharge {
    budget: KeyBudget,
    bytes: u64,
}

impl KeyBudget {
    pub fn new(limit: ByteSize) -> Self {
        Self { limit, used: Arc::default() }
    }

    /// A charge of nothing.
    pub fn charge(&self) -> KeyCharge {
        KeyCharge { budget: self.clone(), bytes: 0 }
    }
}

impl KeyCharge {
    /// Makes the charge equal to `bytes`.
    ///
    /// # Errors
    /// `Exhausted` when all key sets together would exceed the limit.
    pub fn settle(&mut self, bytes: u64) -> Result<(), IngestError> {
        let KeyBudget { limit, used } = &self.budget;
        if bytes <= self.bytes {
            used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        } else {
            let more = bytes - self.bytes;
            let total = used.fetch_add(more, Ordering::Relaxed) + more;
            if total > limit.bytes() {
                used.fetch_sub(more, Ordering::Relaxed);
                return Err(IngestError::Exhausted {
                    message: format!(
                        "the event keys of the tables need {} of memory, more than ingest.key_index_size = {limit}; raise it",
                        ByteSize(total)
                    ),
                });
            }
        }
        self.bytes = bytes;
        let used = used.load(Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics().set("ingest_key_index_bytes", "Memory of event-key indexes", &[], used as f64);
        Ok(())
    }
}

impl Drop for KeyCharge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Keys of one table. Shared: look-ups read, the holder of the table's writer lock advances.
#[derive(Debug)]
pub struct KeyIndex {
    table: String,
    column: String,
    inner: RwLock<Inner>,
}

#[derive(Debug)]
struct Inner {
    keys: KeySet,
    charge: KeyCharge,
    /// The version whose keys are all here.
    at: Option<Arc<TableSnapshot>>,
    /// Grows whenever keys come in; equal generations mean the same keys.
    generation: u64,
}

impl KeyIndex {
    /// An index that knows nothing yet.
    pub fn new(table: &str, column: &str, budget: &KeyBudget) -> Self {
        let inner = Inner { keys: KeySet::default(), charge: budget.charge(), at: None, generation: 0 };
        Self { table: table.to_owned(), column: column.to_owned(), inner: RwLock::new(inner) }
    }

    pub fn column(&self) -> &str {
        &self.column
    }

    pub fn generation(&self) -> u64 {
        self.inner.read().generation
    }

    /// The version whose keys are all here.
    pub fn version(&self) -> Option<TableVersion> {
        self.inner.read().at.as_ref().map(|snapshot| snapshot.version())
    }

    /// Whether each hash is a key of the table; empty when none is.
    pub fn known(&self, hashes: &[u128]) -> Vec<bool> {
        let inner = self.inner.read();
        if inner.keys.is_empty() {
            return Vec::new();
        }
        let known = inner.keys.contains_each(hashes);
        if known.contains(&true) { known } else { Vec::new() }
    }

    pub fn intersects(&self, keys: &KeySet) -> bool {
        self.inner.read().keys.intersects(keys)
    }

    /// Brings the index to `snapshot`, reading the files it does not know. The caller holds the table's writer lock.
    pub async fn advance(&self, snapshot: &Arc<TableSnapshot>, task: &Arc<TaskContext>) -> Result<(), IngestError> {
        let at = self.inner.read().at.clone();
        let unread = match &at {
            Some(at) if at.version() >= snapshot.version() => return Ok(()),
            Some(at) => snapshot.provider_of_files_added_since(at),
            None if snapshot.row_count() == 0 => None,
            None => Some(snapshot.provider()),
        };
        if let Some(provider) = unread {
            self.read(provider, task).await?;
        }
        let count = {
            let mut inner = self.inner.write();
            inner.at = Some(snapshot.clone());
            inner.keys.len()
        };
        tracing::debug!(table = self.table, version = %snapshot.version(), keys = count, "event-key index advanced");
        Ok(())
    }

    async fn read(&self, provider: Arc<dyn TableProvider>, task: &Arc<TaskContext>) -> Result<(), IngestError> {
        let columns = [self.column.as_str()];
        let mut stream = read_columns(provider, &columns, task).await.map_err(|error| self.unreadable(error))?;
        while let Some(batch) = stream.try_next().await.map_err(|error| self.unreadable(error))? {
            let hashes = hash_keys(batch.columns()).map_err(|error| self.unreadable(error.into()))?;
            let mut inner = self.inner.write();
            let Inner { keys, charge, generation, .. } = &mut *inner;
            if keys.insert_each(&hashes).contains(&true) {
                *generation += 1;
                charge.settle(keys.bytes())?;
            }
        }
        Ok(())
    }

    fn unreadable(&self, error: datafusion::error::DataFusionError) -> IngestError {
        StorageError::engine(format!("read the event keys of table '{}'", self.table), error).into()
    }

    /// Adds the keys of a commit of our own. `at` is the snapshot of that commit, when nobody else came after it.
    pub fn absorb(&self, keys: KeySet, charge: KeyCharge, at: Option<Arc<TableSnapshot>>) {
        let mut inner = self.inner.write();
        // Given back first: the two sets together were within the budget, their union is no larger.
        drop(charge);
        inner.keys.absorb(keys);
        inner.generation += 1;
        let bytes = inner.keys.bytes();
        if inner.charge.settle(bytes).is_err() {
            tracing::warn!(table = self.table, bytes, "event-key indexes are over ingest.key_index_size; raise it");
        }
        if let Some(at) = at {
            inner.at = Some(at);
        }
    }
}

/// Rows of `provider`, these columns only.
pub async fn read_columns(
    provider: Arc<dyn TableProvider>,
    columns: &[&str],
    task: &Arc<TaskContext>,
) -> Result<SendableRecordBatchStream, datafusion::error::DataFusionError> {
    let context = SessionContext::new_with_config_rt(task.session_config().clone(), task.runtime_env());
    let frame = context.read_table(provider)?;
    let wanted: Vec<_> = columns.iter().map(|name| datafusion::prelude::ident(*name)).collect();
    frame.select(wanted)?.execute_stream().await
}

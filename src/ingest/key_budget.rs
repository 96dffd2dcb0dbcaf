//! Memory for event keys, shared by the tables of the process (`ingest.key_index_size`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::IngestError;
use crate::base::ByteSize;
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

    /// Bytes that resident keys may still take.
    pub fn free(&self) -> u64 {
        self.resident_limit().bytes().saturating_sub(self.used.load(Ordering::Relaxed))
    }

    fn resident_limit(&self) -> ByteSize {
        ByteSize(self.limit.bytes() / 4 * 3)
    }

    /// A charge of nothing.
    pub fn charge(&self) -> KeyCharge {
        KeyCharge { budget: self.clone(), bytes: 0 }
    }
}

impl KeyCharge {
    /// Makes the charge equal to `bytes`, for keys of a request.
    ///
    /// # Errors
    /// `Exhausted` when all key sets together would exceed the limit.
    pub fn settle(&mut self, bytes: u64) -> Result<(), IngestError> {
        let limit = self.budget.limit;
        self.settle_below(bytes, limit)
    }

    /// The same for keys that stay: they leave a quarter to requests.
    ///
    /// # Errors
    /// As [`KeyCharge::settle`].
    pub fn settle_resident(&mut self, bytes: u64) -> Result<(), IngestError> {
        let limit = self.budget.resident_limit();
        self.settle_below(bytes, limit)
    }

    fn settle_below(&mut self, bytes: u64, limit: ByteSize) -> Result<(), IngestError> {
        let used = &self.budget.used;
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

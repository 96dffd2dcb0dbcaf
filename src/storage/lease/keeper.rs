//! [`Leases`]: the leases of one process: taken, kept, given back.
//!
//! Invariant: `held` answers only while no observer can have called the lease dead; so whoever asks it before every write,
//! and commits with its fence, never writes beside another holder.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

use super::decide::{Decision, Observation, decide, valid_until};
use super::process::ProcessMark;
use super::{Address, LeaseConfig, LeaseRecord};
use crate::base::{Clock, Tasks, chain};
use crate::storage::{DocumentVersion, Documents, Fence, Lake, StorageError};
use crate::telemetry::metrics;

/// Versions of a lease's document that are kept: nobody reads old ones.
const VERSIONS_KEPT: u64 = 4;
/// Others' leases are looked at again after this long; until then the last answer holds.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Lost races before somebody else's is believed to be the winner.
const RACES_MAX: usize = 5;

/// Whose the name is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// Ours: commit with this fence.
    Held(Fence),
    HeldBy {
        holder: Uuid,
        address: Address,
    },
}

/// The leases of this process. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Leases(Arc<Shared>);

struct Shared {
    lake: Lake,
    clock: Clock,
    config: LeaseConfig,
    process: Option<ProcessMark>,
    address: RwLock<Address>,
    held: RwLock<HashMap<String, Arc<Held>>>,
    /// One turn per name, so that a slow look at one does not hold up another.
    names: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Seen>>>>,
    /// The renewing: it outlives the servers, whose accepted work still writes.
    tasks: Tasks,
}

/// A lease of ours. Times are microseconds of the monotonic clock.
struct Held {
    fence: u64,
    valid_until: AtomicU64,
    used: AtomicU64,
}

/// What was seen of a name, by whoever has its turn.
#[derive(Default)]
struct Seen {
    version: DocumentVersion,
    record: Option<LeaseRecord>,
    /// When this version was first seen.
    since: Duration,
    /// When the last look began; `None` before the first.
    looked: Option<Duration>,
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Leases").field(&self.0.held.read().keys()).finish()
    }
}

impl Leases {
    /// Holds nothing yet. The holder is this opening of the lake, [`Lake::process_id`].
    ///
    /// # Errors
    /// `Invalid` when `renew` and `ttl` do not fit together.
    pub fn new(lake: &Lake, clock: Clock, config: &LeaseConfig) -> Result<Leases, StorageError> {
        config.check()?;
        Ok(Self(Arc::new(Shared {
            lake: lake.clone(),
            clock,
            config: config.clone(),
            process: ProcessMark::own(),
            address: RwLock::default(),
            held: RwLock::default(),
            names: Mutex::default(),
            tasks: Tasks::new(),
        })))
    }

    /// Where others send what is for leases held here; known once the servers listen. Leases held already say it with their
    /// next renewal.
    pub fn set_address(&self, address: Address) {
        *self.0.address.write() = address;
    }

    /// Makes `name` ours, or says whose it is. Held here already: answered from memory. A look at one name holds up no other.
    ///
    /// # Errors
    /// The store's, when it has to be asked.
    pub async fn acquire(&self, name: &str) -> Result<Acquired, StorageError> {
        if let Some(fence) = self.held(name) {
            return Ok(Acquired::Held(fence));
        }
        let turn = self.0.names.lock().entry(name.to_owned()).or_default().clone();
        let mut seen = turn.lock().await;
        match self.held(name) {
            Some(fence) => Ok(Acquired::Held(fence)),
            None => self.0.acquire(name, &mut seen).await,
        }
    }

    /// The fence of `name` while it is certainly ours. No I/O: ask it again before every commit.
    pub fn held(&self, name: &str) -> Option<Fence> {
        let held = self.0.held.read().get(name)?.clone();
        let now = as_micros(self.0.clock.monotonic());
        if now >= held.valid_until.load(Ordering::Acquire) {
            return None;
        }
        held.used.store(now, Ordering::Relaxed);
        Some(Fence::of_lease(held.fence))
    }

    /// Gives `name` back: the next who asks gets it at once. Nothing happens when it is not ours.
    ///
    /// # Errors
    /// The store's; the lease then ends by time. Here it has ended in any case.
    pub async fn release(&self, name: &str) -> Result<(), StorageError> {
        let turn = self.0.names.lock().entry(name.to_owned()).or_default().clone();
        let mut seen = turn.lock().await;
        let Some(held) = self.0.held.write().remove(name) else { return Ok(()) };
        self.0.count_held();
        self.0.release(name, &held, &mut seen).await
    }

    /// Gives everything back; take-over is then immediate.
    pub async fn release_all(&self) {
        let names: Vec<String> = self.0.held.read().keys().cloned().collect();
        join_all(names.iter().map(|name| async move {
            let released = tokio::time::timeout(self.0.config.ttl.0, self.release(name)).await;
            if let Ok(Err(error)) = released {
                tracing::warn!(lease = %name, error = %chain(&error), "lease not given back; it ends by time");
            }
        }))
        .await;
    }

    /// Renews in the background, until [`Leases::stop`] or the last clone is dropped. Called once.
    pub fn keep(&self) {
        let (weak, stop, every) = (Arc::downgrade(&self.0), self.0.tasks.stop_signal(), self.0.config.renew.0);
        self.0.tasks.spawn("leases", async move {
            while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
                let Some(shared) = weak.upgrade() else { return };
                Leases(shared).renew_all().await;
            }
        });
    }

    /// Ends the background work and gives everything back: called when nothing is written any more.
    pub async fn stop(&self) {
        self.0.tasks.stop(self.0.config.ttl.0).await;
        self.release_all().await;
    }

    /// One round of renewals: what `keep` does every `renew`.
    pub(super) async fn renew_all(&self) {
        let all: Vec<(String, Arc<Held>)> =
            self.0.held.read().iter().map(|(name, held)| (name.clone(), held.clone())).collect();
        join_all(all.iter().map(|(name, held)| async move {
            // A hanging request may not hold up the next round for all.
            let renewed = tokio::time::timeout(self.0.config.ttl.0 * 2 / 5, self.renew(name, held)).await;
            if let Ok(Err(error)) = renewed {
                tracing::warn!(lease = %name, error = %chain(&error), "lease not renewed yet; trying again");
            }
        }))
        .await;
    }

    async fn renew(&self, name: &str, held: &Arc<Held>) -> Result<(), StorageError> {
        let idle = self.0.clock.monotonic().saturating_sub(micros(held.used.load(Ordering::Relaxed)));
        if idle >= self.0.config.idle_release.0 {
            return self.release(name).await;
        }
        let turn = self.0.names.lock().entry(name.to_owned()).or_default().clone();
        let mut seen = turn.lock().await;
        self.0.renew(name, held, &mut seen).await
    }

    /// Every lease of the lake, sorted by name.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(lake: &Lake) -> Result<Vec<LeaseRecord>, StorageError> {
        let names = lake.document_names("leases").await?;
        let records = join_all(names.iter().map(|name| async move {
            let found = document(lake, name).latest().await?;
            found.map(|(_, content)| LeaseRecord::decode(name, &content)).transpose()
        }));
        records.await.into_iter().filter_map(Result::transpose).collect()
    }
}

impl Shared {
    async fn acquire(&self, name: &str, seen: &mut Seen) -> Result<Acquired, StorageError> {
        let document = document(&self.lake, name);
        for _ in 0..RACES_MAX {
            self.look(name, &document, seen).await?;
            let me = self.lake.process_id();
            let observation = Observation {
                record: seen.record.as_ref(),
                unchanged_for: seen.looked.unwrap_or_default().saturating_sub(seen.since),
                holder_gone: self.knows_gone(seen.record.as_ref()),
            };
            let fence = match decide(observation, me, self.config.ttl.0) {
                Decision::HeldBy { holder, address } => return Ok(Acquired::HeldBy { holder, address }),
                Decision::Take { fence } => fence,
            };
            let began = self.clock.monotonic();
            match self.put(&document, seen, self.record(name, fence, 0)).await {
                Ok(()) => {
                    self.take(name, fence, began);
                    return Ok(Acquired::Held(Fence::of_lease(fence)));
                }
                // Somebody else was first: look who.
                Err(StorageError::DocumentConflict { .. }) => seen.looked = None,
                Err(error) => return Err(error),
            }
        }
        Err(StorageError::DocumentConflict { name: document_name(name) })
    }

    /// Brings `seen` up to date, unless somebody else's lease was looked at a moment ago.
    async fn look(&self, name: &str, document: &Documents, seen: &mut Seen) -> Result<(), StorageError> {
        let now = self.clock.monotonic();
        if seen.looked.is_some_and(|looked| now.saturating_sub(looked) < LOOK_AGAIN) {
            return Ok(());
        }
        if let Some((version, content)) = document.newer_than(seen.version).await? {
            let record = LeaseRecord::decode(name, &content)?;
            // Counted from after the look: the holder may have renewed just before it.
            *seen = Seen { version, record: Some(record), since: self.clock.monotonic(), looked: None };
        }
        seen.looked = Some(now);
        Ok(())
    }

    fn knows_gone(&self, record: Option<&LeaseRecord>) -> bool {
        let theirs = record.and_then(|record| record.process.as_ref());
        matches!((&self.process, theirs), (Some(own), Some(theirs)) if own.knows_gone(theirs))
    }

    fn record(&self, name: &str, fence: u64, renewals: u64) -> LeaseRecord {
        LeaseRecord {
            name: name.to_owned(),
            holder: Some(self.lake.process_id()),
            address: self.address.read().clone(),
            fence,
            renewals,
            renewed_at: self.clock.now(),
            process: self.process.clone(),
        }
    }

    async fn put(&self, document: &Documents, seen: &mut Seen, record: LeaseRecord) -> Result<(), StorageError> {
        let version = document.put_after(seen.version, record.encode()?).await?;
        let now = self.clock.monotonic();
        *seen = Seen { version, record: Some(record), since: now, looked: Some(now) };
        Ok(())
    }

    fn take(&self, name: &str, fence: u64, began: Duration) {
        let held = Held {
            fence,
            valid_until: AtomicU64::new(as_micros(valid_until(began, self.config.ttl.0))),
            used: AtomicU64::new(as_micros(self.clock.monotonic())),
        };
        self.held.write().insert(name.to_owned(), Arc::new(held));
        self.count_held();
        metrics().count("leases_acquired", "Leases taken by this process", &[], 1);
        tracing::info!(lease = %name, fence, "lease acquired");
    }

    /// Extends a lease of ours. One that ended by time is renewed too, if nobody has taken it: the fence is still the newest.
    async fn renew(&self, name: &str, held: &Arc<Held>, seen: &mut Seen) -> Result<(), StorageError> {
        let is_current = self.held.read().get(name).is_some_and(|present| Arc::ptr_eq(present, held));
        if !is_current {
            return Ok(());
        }
        let document = document(&self.lake, name);
        for _ in 0..RACES_MAX {
            let began = self.clock.monotonic();
            let renewals = seen.record.as_ref().map_or(0, |record| record.renewals) + 1;
            match self.put(&document, seen, self.record(name, held.fence, renewals)).await {
                Ok(()) => {
                    held.valid_until.store(as_micros(valid_until(began, self.config.ttl.0)), Ordering::Release);
                    return Ok(());
                }
                Err(StorageError::DocumentConflict { .. }) => {}
                Err(error) => return Err(error),
            }
            seen.looked = None;
            self.look(name, &document, seen).await?;
            // An earlier renewal of ours whose answer was lost is no loss.
            let ours =
                |record: &LeaseRecord| record.holder == Some(self.lake.process_id()) && record.fence == held.fence;
            if !seen.record.as_ref().is_some_and(ours) {
                self.lose(name);
                return Ok(());
            }
        }
        Err(StorageError::DocumentConflict { name: document_name(name) })
    }

    fn lose(&self, name: &str) {
        self.held.write().remove(name);
        self.count_held();
        metrics().count("leases_lost", "Leases of this process that another took over", &[], 1);
        tracing::warn!(lease = %name, "lease lost: this process could not renew in time and another took over");
    }

    async fn release(&self, name: &str, held: &Held, seen: &mut Seen) -> Result<(), StorageError> {
        let document = document(&self.lake, name);
        for _ in 0..RACES_MAX {
            let ours =
                |record: &LeaseRecord| record.holder == Some(self.lake.process_id()) && record.fence == held.fence;
            let Some(record) = seen.record.clone().filter(ours) else { return Ok(()) };
            match self.put(&document, seen, LeaseRecord { holder: None, ..record }).await {
                Ok(()) => {
                    tracing::info!(lease = %name, fence = held.fence, "lease given back");
                    return Ok(());
                }
                Err(StorageError::DocumentConflict { .. }) => {
                    seen.looked = None;
                    self.look(name, &document, seen).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(StorageError::DocumentConflict { name: document_name(name) })
    }

    fn count_held(&self) {
        let count = u32::try_from(self.held.read().len()).unwrap_or(u32::MAX);
        metrics().set("leases_held", "Leases this process holds", &[], f64::from(count));
    }
}

fn document_name(name: &str) -> String {
    format!("leases/{name}")
}

fn document(lake: &Lake, name: &str) -> Documents {
    lake.documents(&document_name(name)).keeping(VERSIONS_KEPT)
}

fn micros(value: u64) -> Duration {
    Duration::from_micros(value)
}

fn as_micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

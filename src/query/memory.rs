//! Memory of one principal's statements together (`[auth.limits] memory_bytes`), below the memory of all (`query.memory_limit`):
//! who asks for more spills to disk where the operator can, or is told so, while the statements of others go on.
//!
//! ```text
//! operator ─► Share: counted for its principal, refused beyond the limit ─► the pool of all statements
//! ```
//! The count is the principal's; the limit is the statement's, for tokens of one user may have different roles. Work that the
//! process does by itself, and reading for REFRESH and REPLAY, counts for nobody.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use parking_lot::Mutex;

use super::engine::Inner;
use super::running::Principal;
use super::turns::Whose;
use crate::auth::Allowance;
use crate::base::ByteSize;

/// What plans of `whose` run with: their share of the memory, where roles limit it.
pub(super) fn task_of(engine: &Inner, whose: &Whose, allowance: Allowance) -> Arc<TaskContext> {
    let shared = &engine.shared;
    match (whose, allowance.memory_bytes) {
        (Some(principal), Some(most)) => {
            let share = engine.accounts.share(shared.task().memory_pool(), principal, most);
            shared.task_within(Arc::new(share))
        }
        _ => shared.task(),
    }
}

/// What principals with a limit hold now.
#[derive(Default)]
pub(super) struct Accounts(Mutex<HashMap<Principal, Weak<AtomicUsize>>>);

impl Accounts {
    /// A part of `all` for one statement of `principal`, whose statements may hold `most` together.
    pub(super) fn share(&self, all: &Arc<dyn MemoryPool>, principal: &Principal, most: ByteSize) -> Share {
        let mut accounts = self.0.lock();
        let known = accounts.get(principal).and_then(Weak::upgrade);
        let held = known.unwrap_or_else(|| {
            accounts.retain(|_, account| account.strong_count() > 0);
            let held = Arc::new(AtomicUsize::new(0));
            accounts.insert(principal.clone(), Arc::downgrade(&held));
            held
        });
        Share { all: all.clone(), held, most }
    }

    /// What statements of a user of ours hold.
    pub(super) fn held_by(&self, user: &str) -> u64 {
        let principal = Principal { user: user.to_owned(), is_external: false };
        let held = self.0.lock().get(&principal).and_then(Weak::upgrade);
        held.map_or(0, |held| u64::try_from(held.load(Ordering::Acquire)).unwrap_or(u64::MAX))
    }
}

/// See [`Accounts::share`].
#[derive(Debug)]
pub(super) struct Share {
    all: Arc<dyn MemoryPool>,
    held: Arc<AtomicUsize>,
    most: ByteSize,
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "principal({}) of {}", self.most, self.all)
    }
}

impl MemoryPool for Share {
    fn name(&self) -> &str {
        "principal"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.all.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.all.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.held.fetch_add(additional, Ordering::AcqRel);
        self.all.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.held.fetch_sub(shrink, Ordering::AcqRel);
        self.all.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let most = self.most.as_usize();
        let more = |held: usize| held.checked_add(additional).filter(|sum| *sum <= most);
        if let Err(held) = self.held.fetch_update(Ordering::AcqRel, Ordering::Acquire, more) {
            let bytes = |count: usize| ByteSize(u64::try_from(count).unwrap_or(u64::MAX));
            return Err(DataFusionError::ResourcesExhausted(format!(
                "your statements hold {} and this one needs {} more, {} is the most your roles allow (auth.limits); ask for less, \
                 or when others of yours have ended",
                bytes(held),
                bytes(additional),
                self.most,
            )));
        }
        self.all.try_grow(reservation, additional).inspect_err(|_| {
            self.held.fetch_sub(additional, Ordering::AcqRel);
        })
    }

    fn reserved(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.most.as_usize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    fn of(user: &str) -> Principal {
        Principal { user: user.to_owned(), is_external: false }
    }

    #[test]
    fn a_principal_holds_so_much_in_all_statements_together() {
        let all: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1_000));
        let accounts = Accounts::default();
        let share = |user: &str| -> Arc<dyn MemoryPool> { Arc::new(accounts.share(&all, &of(user), ByteSize(100))) };
        let reservation = |pool: &Arc<dyn MemoryPool>| MemoryConsumer::new("test").register(pool);
        let (first, second, other) = (share("ann"), share("ann"), share("bob"));
        let (one, two, three) = (reservation(&first), reservation(&second), reservation(&other));
        one.try_grow(60).unwrap();
        two.try_grow(40).unwrap();
        let refused = two.try_grow(1).unwrap_err().to_string();
        assert!(refused.contains("hold 100 B and this one needs 1 B more, 100 B is the most"), "{refused}");
        three.try_grow(100).unwrap();
        assert_eq!((accounts.held_by("ann"), accounts.held_by("bob"), all.reserved()), (100, 100, 200));
        drop(one);
        two.try_grow(60).unwrap();
        two.shrink(50);
        assert_eq!(accounts.held_by("ann"), 50);
        drop((two, first, second));
        assert_eq!((accounts.held_by("ann"), all.reserved()), (0, 100), "nothing is left of who has none running");
    }

    #[test]
    fn what_all_together_refuse_is_not_counted() {
        let all: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(10));
        let accounts = Accounts::default();
        let pool: Arc<dyn MemoryPool> = Arc::new(accounts.share(&all, &of("ann"), ByteSize(100)));
        let reservation = MemoryConsumer::new("test").register(&pool);
        assert!(reservation.try_grow(11).is_err());
        assert_eq!(accounts.held_by("ann"), 0);
        reservation.try_grow(10).unwrap();
    }
}

//! What an observer does about a lease: a pure function of what is stored and how long it stood still.

use std::time::Duration;

use uuid::Uuid;

use super::record::{Address, LeaseRecord};

/// What is known of the present holder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observation<'a> {
    /// The newest version; `None` when nobody ever held it.
    pub record: Option<&'a LeaseRecord>,
    /// How long it has been the newest, on the observer's monotonic clock.
    pub unchanged_for: Duration,
    /// The holder ran on this machine and its process has ended.
    pub holder_gone: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nobody holds it: put the next version, with this fence.
    Take {
        fence: u64,
    },
    HeldBy {
        holder: Uuid,
        address: Address,
    },
}

/// A new holder always takes a new fence, even after itself: its earlier self may still have a commit under way.
pub(super) fn decide(seen: Observation<'_>, me: Uuid, ttl: Duration) -> Decision {
    let Some(record) = seen.record else { return Decision::Take { fence: 1 } };
    let next = Decision::Take { fence: record.fence + 1 };
    match record.holder {
        None => next,
        Some(holder) if holder == me => next,
        Some(_) if seen.holder_gone || seen.unchanged_for >= ttl => next,
        Some(holder) => Decision::HeldBy { holder, address: record.address.clone() },
    }
}

/// Until when a holder may believe in a renewal it began at `began`: before any observer can call it dead. An observer sees
/// the renewal at `began` at the earliest and waits `ttl`; the margin is for clocks that do not run at the same rate and
/// for a commit already on its way.
pub(super) fn valid_until(began: Duration, ttl: Duration) -> Duration {
    began + ttl - margin(ttl)
}

fn margin(ttl: Duration) -> Duration {
    ttl / 10
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;

    const TTL: Duration = Duration::from_secs(5);

    fn record(holder: Option<u128>, fence: u64) -> LeaseRecord {
        LeaseRecord {
            name: "clicks".into(),
            holder: holder.map(Uuid::from_u128),
            address: Address { http: "a:1".into(), grpc: "a:2".into() },
            fence,
            renewals: 9,
            renewed_at: Timestamp(0),
            process: None,
        }
    }

    fn check(record: Option<LeaseRecord>, unchanged_ms: u64, holder_gone: bool) -> Decision {
        let unchanged_for = Duration::from_millis(unchanged_ms);
        decide(Observation { record: record.as_ref(), unchanged_for, holder_gone }, Uuid::from_u128(1), TTL)
    }

    #[test]
    fn free_dead_and_own_leases_are_taken_with_a_higher_fence() {
        assert_eq!(check(None, 0, false), Decision::Take { fence: 1 });
        assert_eq!(check(Some(record(None, 4)), 0, false), Decision::Take { fence: 5 });
        assert_eq!(check(Some(record(Some(1), 4)), 0, false), Decision::Take { fence: 5 });
        assert_eq!(check(Some(record(Some(2), 4)), 5_000, false), Decision::Take { fence: 5 });
        assert_eq!(check(Some(record(Some(2), 4)), 0, true), Decision::Take { fence: 5 });
    }

    #[test]
    fn a_living_holder_is_named() {
        let address = Address { http: "a:1".into(), grpc: "a:2".into() };
        let held = Decision::HeldBy { holder: Uuid::from_u128(2), address };
        assert_eq!(check(Some(record(Some(2), 4)), 4_999, false), held);
    }

    #[test]
    fn a_holder_stops_before_anybody_can_call_it_dead() {
        let began = Duration::from_secs(100);
        assert_eq!(valid_until(began, TTL), Duration::from_millis(104_500));
        assert!(valid_until(began, TTL) < began + TTL);
    }
}

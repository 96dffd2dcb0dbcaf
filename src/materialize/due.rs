//! When a view is refreshed next: a pure function of its trigger and of how the last refresh went.

use std::time::Duration;

use crate::base::Timestamp;
use crate::catalog::RefreshTrigger;

/// A continuous view rests this many times as long as its last refresh took, so that it takes a tenth of a core at most.
/// Readers do not notice: what is not absorbed yet they read from the source.
const REST: u32 = 9;
const REST_MAX: Duration = Duration::from_secs(60);
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// How the last refresh went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Last {
    /// When it ended, or when the view was first seen.
    pub at: Timestamp,
    pub took: Duration,
    /// Failures in a row.
    pub failures: u32,
    /// Whether there has been one.
    pub has_run: bool,
}

/// The moment from which the view is refreshed, provided its source has changed; `None`: never by itself.
pub(super) fn next(trigger: &RefreshTrigger, last: Last) -> Option<Timestamp> {
    let by_trigger = match trigger {
        RefreshTrigger::Manual => return None,
        RefreshTrigger::Continuous if last.has_run => last.at.plus((last.took * REST).min(REST_MAX)),
        RefreshTrigger::Continuous => last.at,
        RefreshTrigger::Every(_) | RefreshTrigger::Cron(_) => trigger.schedule()?.next_after(last.at)?,
    };
    Some(match last.failures {
        0 => by_trigger,
        failures => last.at.plus(back_off(failures)),
    })
}

/// Doubles with every failure.
fn back_off(failures: u32) -> Duration {
    BACKOFF_FIRST.saturating_mul(1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX)).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp(1_700_000_000_000_000);

    fn last(took_ms: u64, failures: u32) -> Last {
        Last { at: NOON, took: Duration::from_millis(took_ms), failures, has_run: true }
    }

    #[test]
    fn continuous_views_rest_and_failing_ones_back_off() {
        let trigger = RefreshTrigger::Continuous;
        let after = |last| next(&trigger, last).map(|next| next.since(NOON));
        assert_eq!(after(last(20, 0)), Some(Duration::from_millis(180)));
        assert_eq!(after(last(60_000, 0)), Some(REST_MAX));
        assert_eq!(after(Last { has_run: false, ..last(0, 0) }), Some(Duration::ZERO));
        assert_eq!(after(last(20, 1)), Some(Duration::from_secs(1)));
        assert_eq!(after(last(20, 4)), Some(Duration::from_secs(8)));
        assert_eq!(after(last(20, 60)), Some(BACKOFF_MAX));
    }

    #[test]
    fn others_go_by_the_clock_or_by_hand() {
        assert_eq!(next(&RefreshTrigger::Manual, last(20, 0)), None);
        let every: RefreshTrigger = "every 5 minutes".parse().unwrap();
        assert_eq!(next(&every, last(20, 0)).map(|next| next.since(NOON) <= Duration::from_secs(300)), Some(true));
    }
}

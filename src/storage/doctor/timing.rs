//! How fast the store answers, and what its clock says.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt};

use super::Check;
use crate::base::{Clock, Span, Stopwatch, Timestamp, chain};

/// Requests of each kind.
const REQUESTS: usize = 20;
/// Beyond this, a single event's acknowledgement takes longer than people expect.
const PUT_SLOW: Duration = Duration::from_millis(150);
const GET_SLOW: Duration = Duration::from_millis(100);
const LIST_SLOW: Duration = Duration::from_millis(200);
/// Stores and file systems may keep whole seconds only.
const CLOCK_GRAIN: Duration = Duration::from_secs(1);
const SKEW_WARN: Duration = Duration::from_secs(5);
/// S3 refuses requests signed this far off.
const SKEW_FAIL: Duration = Duration::from_secs(15 * 60);

/// The time the store gives a new object against ours.
pub(super) async fn clock(store: &Arc<dyn ObjectStore>, probe: &Path, clock: &Clock) -> Check {
    const NAME: &str = "clock";
    let path = probe.clone().join("clock");
    let before = clock.now();
    let found = match store.put(&path, "clock".into()).await {
        Ok(_) => store.head(&path).await,
        Err(error) => Err(error),
    };
    let after = clock.now();
    match found {
        Ok(found) => judge_clock(before, Timestamp(found.last_modified.timestamp_micros()), after),
        Err(error) => Check::fail(NAME, chain(&error), "run it again; the store did not answer"),
    }
}

/// `store` was taken between `before` and `after`, cut to whole seconds perhaps.
fn judge_clock(before: Timestamp, store: Timestamp, after: Timestamp) -> Check {
    const NAME: &str = "clock";
    let fix = "synchronise the clocks (chrony, systemd-timesyncd)";
    let (ahead, behind) = (store.since(after), before.minus(CLOCK_GRAIN).since(store));
    let (skew, side) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    let detail = format!("the store's clock is {} {side} this machine's", rounded(skew));
    match skew {
        skew if skew >= SKEW_FAIL => Check::fail(NAME, detail, fix),
        skew if skew >= SKEW_WARN => Check::warn(NAME, detail, fix),
        _ => Check::ok(NAME, "the store's clock and this machine's agree within seconds"),
    }
}

fn rounded(span: Duration) -> Span {
    Span(Duration::from_secs(span.as_secs()))
}

/// Median and longest of put, get and list.
pub(super) async fn latency(store: &Arc<dyn ObjectStore>, probe: &Path) -> Check {
    const NAME: &str = "latency";
    let folder = probe.clone().join("latency");
    let mut measured = [Vec::new(), Vec::new(), Vec::new()];
    for number in 0..REQUESTS {
        if let Err(error) = measure(store, &folder, number, &mut measured).await {
            return Check::fail(NAME, chain(&error), "run it again; the store did not answer");
        }
    }
    judge_latency(measured)
}

async fn measure(
    store: &Arc<dyn ObjectStore>,
    folder: &Path,
    number: usize,
    measured: &mut [Vec<Duration>; 3],
) -> Result<(), Error> {
    let path = folder.clone().join(format!("{number}"));
    let [puts, gets, lists] = measured;
    let watch = Stopwatch::start();
    store.put(&path, vec![7u8; 4096].into()).await?;
    puts.push(watch.elapsed());
    let watch = Stopwatch::start();
    store.get(&path).await?.bytes().await?;
    gets.push(watch.elapsed());
    let watch = Stopwatch::start();
    store.list(Some(folder)).try_collect::<Vec<_>>().await?;
    lists.push(watch.elapsed());
    Ok(())
}

fn judge_latency(mut measured: [Vec<Duration>; 3]) -> Check {
    const NAME: &str = "latency";
    let kinds = [("put", PUT_SLOW), ("get", GET_SLOW), ("list", LIST_SLOW)];
    let (mut parts, mut slow) = (Vec::new(), Vec::new());
    for (times, (kind, limit)) in measured.iter_mut().zip(kinds) {
        times.sort();
        let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
        parts.push(format!("{kind} {} (longest {})", millis(median), millis(longest)));
        if median > limit {
            slow.push(kind);
        }
    }
    let detail = format!("median {}", parts.join(", "));
    if slow.is_empty() {
        return Check::ok(NAME, detail);
    }
    let fix = format!(
        "{} is slow: run adlake in the store's region, and send rows in batches: each acknowledgement waits for a few \
         requests",
        slow.join(" and ")
    );
    Check::warn(NAME, detail, fix)
}

fn millis(span: Duration) -> String {
    format!("{:.1} ms", span.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn clock_check(store_seconds: i64) -> (Verdict, String) {
        let check =
            judge_clock(Timestamp(1_000_500_000), Timestamp(store_seconds * 1_000_000), Timestamp(1_000_900_000));
        (check.verdict, check.detail)
    }

    #[test]
    fn skew_is_measured_beyond_what_a_whole_second_explains() {
        assert_eq!(clock_check(1_000).0, Verdict::Ok);
        assert_eq!(clock_check(1_004).0, Verdict::Ok);
        let (verdict, detail) = clock_check(1_031);
        assert_eq!(verdict, Verdict::Warn);
        assert_eq!(detail, "the store's clock is 30 seconds ahead of this machine's");
        let (verdict, detail) = clock_check(200);
        assert_eq!(
            (verdict, detail.as_str()),
            (Verdict::Warn, "the store's clock is 799 seconds behind this machine's")
        );
    }

    #[test]
    fn slow_requests_are_named() {
        let ms = Duration::from_millis;
        let fast = judge_latency([vec![ms(3), ms(400), ms(2)], vec![ms(1)], vec![ms(1)]]);
        assert_eq!(fast.verdict, Verdict::Ok);
        assert_eq!(
            fast.detail,
            "median put 3.0 ms (longest 400.0 ms), get 1.0 ms (longest 1.0 ms), list 1.0 ms (longest 1.0 ms)"
        );
        let slow = judge_latency([vec![ms(300)], vec![ms(1)], vec![ms(500)]]);
        assert_eq!(slow.verdict, Verdict::Warn);
        assert!(slow.fix.starts_with("put and list is slow"), "{}", slow.fix);
    }
}

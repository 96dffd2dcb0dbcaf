//! Answers from materialized views, checked afterwards (option `verify`): a share of the aggregates that were answered by
//! rewriting is computed again from the tables, at the versions that the statement had pinned, and compared exactly.
//!
//! ```text
//! rewritten aggregate ─ sampled? ─► waiting (bounded) ─► one at a time, while the engine is not busy ─► compare ─► record
//! ```
//! What is compared is the aggregate as the plan had it and what rewriting put in its place, so LIMIT, ORDER BY and volatile
//! functions above it make no difference; where they are below it, in a dimension, the answer is not checked. RW-1 says there never
//! is a difference: one is an error in the log, counted, and a row of `system.verifications`.
//!
//! Not checked: answers that a session let be older than the tables (`adlake.max_staleness`); their version is gone.

mod compare;
mod record;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};
use tokio::sync::{Semaphore, watch};
use xxhash_rust::xxh3::xxh3_64;

use super::admission::Permit;
use super::engine::Inner;
use super::running::Run;
use super::stream::Limit;
use super::viewer::Viewer;
use super::views::Answered;
use crate::base::{Percent, Stopwatch, Timestamp, chain};
use crate::telemetry::metrics;

pub(super) use compare::{Compared, compare};
pub use record::VERIFICATIONS_PATH;
pub(super) use record::{Outcome, Records, Verification, batch, columns};

/// Between two looks at whether the engine has room for a check.
const LOOK: Duration = Duration::from_millis(50);

/// An answer to be checked.
pub(super) struct Check {
    pub view: String,
    pub query_id: String,
    pub sql: String,
    /// `now()` of the statement, and for whom it ran.
    pub now: Timestamp,
    pub viewer: Viewer,
    /// From the table, and from the view; of the same columns.
    pub asked: LogicalPlan,
    pub answer: LogicalPlan,
}

/// Takes answers and checks them in the background.
pub(super) struct Verifier {
    pub records: Records,
    /// Checks waiting or running.
    open: watch::Sender<usize>,
    waiting: AtomicUsize,
    turns: Semaphore,
}

impl Verifier {
    pub fn new(lake: &crate::storage::Lake, concurrent: usize) -> Self {
        let turns = Semaphore::new(concurrent.max(1));
        Self { records: Records::new(lake.clone()), open: watch::channel(0).0, waiting: AtomicUsize::new(0), turns }
    }

    /// Returns when everything taken so far has been checked.
    pub async fn idle(&self) {
        // The sender lives as long as `self`.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }
}

/// Whether the aggregate at `place` of a statement is in the share that is checked. Decided by the statement's id, whose digits
/// are chance.
fn is_sampled(query_id: &str, place: usize, share: Percent) -> bool {
    let point = xxh3_64(format!("{query_id}/{place}").as_bytes()) as f64 / u64::MAX as f64;
    point < share.fraction()
}

/// Takes the answers of a statement that are to be checked. Returns at once; beyond `query.verify_waiting` they are let go.
pub(super) fn submit(engine: &Arc<Inner>, (run, viewer): (&Run, &Viewer), answered: Vec<Answered>) {
    for (place, answered) in answered.into_iter().enumerate() {
        let Answered { view, aggregate, answer, as_of, verify } = answered;
        if as_of.is_some() || !verify.is_some_and(|share| is_sampled(&run.id.0, place, share)) {
            continue;
        }
        let asked = LogicalPlan::Aggregate(aggregate);
        if !is_repeatable(&asked) {
            continue;
        }
        let check = Check {
            view,
            query_id: run.id.0.clone(),
            sql: run.sql.clone(),
            now: run.started_at,
            viewer: viewer.clone(),
            asked,
            answer,
        };
        take(engine, check);
    }
}

/// Whether the same rows are joined with the facts whenever it is computed: what is by chance, or by the order that rows happen to
/// come in, is left out. Tables that a view does not hold, such as dimensions, are read again for either answer.
fn is_repeatable(plan: &LogicalPlan) -> bool {
    let mut is_repeatable = true;
    let walked = plan.apply_with_subqueries(|node| {
        is_repeatable &=
            !matches!(node, LogicalPlan::Limit(_) | LogicalPlan::Window(_) | LogicalPlan::Distinct(Distinct::On(_)));
        is_repeatable &= !node.expressions().iter().any(Expr::is_volatile);
        Ok(TreeNodeRecursion::Continue)
    });
    walked.is_ok() && is_repeatable
}

fn take(engine: &Arc<Inner>, check: Check) {
    let verifier = &engine.verifier;
    if verifier.waiting.fetch_add(1, Ordering::AcqRel) >= engine.config.verify_waiting {
        verifier.waiting.fetch_sub(1, Ordering::AcqRel);
        count(&check.view, "let_go");
        return;
    }
    verifier.open.send_modify(|open| *open += 1);
    let engine_of_task = engine.clone();
    engine.tasks.spawn("verify an answer", async move {
        let engine = engine_of_task;
        let stop = engine.tasks.stop_signal();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = in_turn(&engine, check) => {}
        }
        engine.verifier.open.send_modify(|open| *open -= 1);
    });
}

async fn in_turn(engine: &Arc<Inner>, check: Check) {
    // Never closed.
    let turn = engine.verifier.turns.acquire().await;
    let permit = spare(engine).await;
    engine.verifier.waiting.fetch_sub(1, Ordering::AcqRel);
    let stopwatch = Stopwatch::start();
    let compared = compare(engine, &check, permit, Limit::starting_now(engine.config.verify_timeout.duration())).await;
    drop(turn);
    let (outcome, compared, error) = match compared {
        Ok(compared) if compared.differing == 0 => (Outcome::Equal, compared, None),
        Ok(compared) => (Outcome::Different, compared, None),
        Err(error) => (Outcome::Failed, Compared::default(), Some(chain(&error))),
    };
    count(&check.view, outcome.as_str());
    let Check { view, query_id, sql, .. } = check;
    if outcome == Outcome::Different {
        let (groups, checked) = (compared.differing, compared.checked);
        metrics().count(
            "verification_differences",
            "Groups a view answered otherwise than its table",
            &[("view", &view)],
            groups,
        );
        tracing::error!(
            view,
            query_id,
            groups,
            checked,
            "a view answered otherwise than its table; see system.verifications and VERIFY MATERIALIZED VIEW, \
             and set rewrite='off' for the view until it is refreshed FULL"
        );
    }
    let Compared { checked, differing, sample } = compared;
    let elapsed = stopwatch.elapsed();
    let at = engine.clock.now();
    let record = Verification { at, view, query_id, sql, outcome, checked, differing, sample, error, elapsed };
    engine.verifier.records.add(record, &engine.shared.task()).await;
}

/// A turn among the engine's statements, once most turns are free: nobody waits longer for a check.
async fn spare(engine: &Arc<Inner>) -> Permit {
    loop {
        if let Some(permit) = engine.admission.spare() {
            return permit;
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn count(view: &str, outcome: &str) {
    let labels = [("view", view), ("outcome", outcome)];
    metrics().count("verifications", "Answers from views that were computed again from tables", &labels, 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_the_share_asked_for_is_sampled() {
        let sampled = |share: &str| {
            let share: Percent = share.parse().unwrap();
            (0..10_000).filter(|id| is_sampled(&format!("query {id}"), 0, share)).count()
        };
        assert_eq!(sampled("100%"), 10_000);
        assert!((400..600).contains(&sampled("5%")), "{}", sampled("5%"));
        assert!(sampled("0.001%") <= 2);
    }
}

//! RW-1: an aggregate query on a table is answered from the cheapest materialized view that provably holds the same.
//!
//! ```text
//! aggregate ─ question ─► views of its table that cover it ─► the one with the fewest rows to read (`candidates`) ─► stored ∪ tail ∪ edges
//! ```
//! Where the table is joined with others, those are joined with the view's rows instead ([`Asked::OfStar`]).
//! The view is read at the version of the table that the statement has pinned already; a view that has absorbed more than
//! that, or whose stored rows cannot be used, is left out. Names of the plan's scans say what was used: `rollup.<view>`, and
//! `tail.<table>` for what the view has not absorbed.
//!
//! Source: Goldstein & Larson, "Optimizing Queries Using Materialized Views" (SIGMOD 2001).

use std::cmp::Reverse;
use std::sync::Arc;

use datafusion::common::Result as DataFusionResult;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};

use super::candidates::{Candidate, cheapest};
use super::open::closed;
use super::over_views::over_views;
use crate::base::{Percent, Timestamp};
use crate::catalog::{CatalogSnapshot, Definition};
use crate::query::QueryError;
use crate::query::engine::Inner;
use crate::query::tables::Relations;
use crate::rollup::{self, Asked};
use crate::telemetry::metrics;

/// What rewriting made of a plan.
pub(in crate::query) struct Rewritten {
    pub plan: LogicalPlan,
    pub answered: Vec<Answered>,
}

/// An aggregate of the plan that a view answers.
pub(in crate::query) struct Answered {
    pub view: String,
    /// Over the table, at the version that the statement has pinned.
    pub aggregate: Aggregate,
    /// From the view; the columns are the aggregate's.
    pub answer: LogicalPlan,
    /// The view is read without what it has not absorbed; its rows are true for this moment.
    pub as_of: Option<Timestamp>,
    /// Share of such answers that are to be checked.
    pub verify: Option<Percent>,
}

impl Rewritten {
    /// The plan as it was.
    pub fn nothing(plan: LogicalPlan) -> Self {
        Self { plan, answered: Vec::new() }
    }

    fn accept(&mut self, answered: Answered) {
        counted(&answered);
        self.answered.push(answered);
    }
}

/// The plan with every aggregate that a view covers answered from it, those over views first, and all views read.
///
/// # Errors
/// Tables of views that cannot be opened.
pub(in crate::query) async fn rewritten(
    engine: &Arc<Inner>,
    state: &SessionState,
    plan: LogicalPlan,
    relations: &Relations,
) -> Result<Rewritten, QueryError> {
    let explained = match plan {
        LogicalPlan::Explain(mut explain) => {
            let inner = Box::pin(rewritten(engine, state, explain.plan.as_ref().clone(), relations)).await?;
            explain.plan = Arc::new(inner.plan);
            return Ok(Rewritten::nothing(LogicalPlan::Explain(explain)));
        }
        LogicalPlan::Analyze(mut analyze) => {
            let inner = Box::pin(rewritten(engine, state, analyze.input.as_ref().clone(), relations)).await?;
            analyze.input = Arc::new(inner.plan);
            return Ok(Rewritten { plan: LogicalPlan::Analyze(analyze), ..inner });
        }
        other => other,
    };
    if rollup::aggregates(&explained).is_empty() {
        return Ok(Rewritten::nothing(closed(explained, relations)?));
    }
    let explained = with_moment(explained, state)?;
    let Rewritten { plan, answered: of_views } = over_views(engine, state, explained, relations).await?;
    let mut rewritten = Rewritten { plan: closed(plan, relations)?, answered: of_views };
    let asked: Vec<(Aggregate, Vec<Asked>)> = rollup::aggregates(&rewritten.plan)
        .into_iter()
        .map(|aggregate| (aggregate.clone(), largest_first(Asked::all(aggregate), relations)))
        .collect();
    for (aggregate, asked) in asked {
        // It may have been below one that is answered already.
        if !rollup::aggregates(&rewritten.plan).contains(&&aggregate) {
            continue;
        }
        for asked in asked {
            let question = asked.question();
            let Some(source) = relations.snapshot(&question.source) else { continue };
            let Some(best) = cheapest(engine, state, question, (source, relations.catalog()), relations.oldest).await
            else {
                continue;
            };
            let answered = answered(relations, (aggregate.clone(), &asked), best)?;
            rewritten.plan = rollup::replace(rewritten.plan, &aggregate, &answered.answer)?;
            rewritten.accept(answered);
            break;
        }
    }
    Ok(rewritten)
}

fn verified_share(catalog: &CatalogSnapshot, view: &str) -> Option<Percent> {
    match &catalog.relations.get(view)?.definition {
        Definition::MaterializedView(view) => view.verify,
        Definition::Table(_) | Definition::View(_) | Definition::Endpoint(_) => None,
    }
}

pub(super) fn counted(answered: &Answered) {
    metrics().count("queries_rewritten", "Aggregates answered from a view", &[("view", &answered.view)], 1);
}

/// What an aggregate may be taken to ask, the largest table first: of a join, that is the fact.
fn largest_first(mut asked: Vec<Asked>, relations: &Relations) -> Vec<Asked> {
    let rows = |asked: &Asked| relations.snapshot(&asked.question().source).map(|source| source.row_count());
    asked.retain(|asked| rollup::is_worthwhile(asked.question()));
    asked.sort_by_key(|asked| Reverse(rows(asked)));
    asked
}

/// `now()` in filters is the statement's one moment, which `WHERE event_time >= now() - INTERVAL '1 hour'` needs to be a range.
pub(in crate::query) fn with_moment(plan: LogicalPlan, state: &SessionState) -> DataFusionResult<LogicalPlan> {
    let Some(start) = state.execution_props().query_execution_start_time else { return Ok(plan) };
    let moment = ScalarValue::TimestampMicrosecond(Some(start.timestamp_micros()), Some("UTC".into()));
    let folded = |expr: Expr| match &expr {
        Expr::ScalarFunction(call) if call.name() == "now" && call.args.is_empty() => {
            Ok(Transformed::yes(Expr::Literal(moment.clone(), None)))
        }
        _ => Ok(Transformed::no(expr)),
    };
    let plan = plan.transform_up(|node| match node {
        LogicalPlan::Filter(_) => node.map_expressions(|predicate| predicate.transform_up(folded)),
        _ => Ok(Transformed::no(node)),
    })?;
    Ok(plan.data)
}

/// The aggregate over the table, answered from a view.
pub(super) fn answered(
    relations: &Relations,
    (aggregate, asked): (Aggregate, &Asked),
    best: Candidate,
) -> DataFusionResult<Answered> {
    let Candidate { name: view, pieces, functions, as_of, .. } = best;
    let answer = asked.answer(pieces, &functions)?;
    let verify = verified_share(relations.catalog(), &view);
    Ok(Answered { view, aggregate, answer, as_of, verify })
}

//! RW-1 for queries on views: an aggregate over views that are kept incrementally is asked of the table below them, and so can
//! be answered from any view that covers it, merged once.
//!
//! ```text
//! sum(clicks) by country ─ over ─ count(*) AS clicks by minute, ad, country ─ over ─ clicks
//!      = count(*) by country over clicks ─► the cheapest view that covers it, no dearer to read than those the query names
//! ```
//! What is not answered so is read as it is written: the named views' stored rows and tails, and the aggregate above them.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Aggregate, LogicalPlan};
use datafusion::physical_plan::{StatisticsArgs, StatisticsContext};

use super::candidates::cheapest;
use super::open::{OpenView, closed, open_view_of, opened};
use super::rewrite::{Rewritten, answered, counted};
use crate::query::QueryError;
use crate::query::engine::Inner;
use crate::query::tables::Relations;
use crate::rollup::{self, Asked};

/// The plan with aggregates above open views answered from the cheapest view. Other open views are still open.
///
/// # Errors
/// Tables of views that cannot be opened.
pub(super) async fn over_views(
    engine: &Arc<Inner>,
    state: &SessionState,
    mut plan: LogicalPlan,
    relations: &Relations,
) -> Result<Rewritten, QueryError> {
    let mut of_views = Vec::new();
    let all: Vec<Aggregate> = above_views(&plan).into_iter().cloned().collect();
    for aggregate in all {
        // It may have been below one that is answered already.
        if !above_views(&plan).contains(&&aggregate) {
            continue;
        }
        let named = views_below(&aggregate.input).iter().map(|view| rows_of(view, relations)).sum::<u64>();
        let LogicalPlan::Aggregate(whole) = opened(LogicalPlan::Aggregate(aggregate.clone()))? else { continue };
        let Ok(question) = rollup::question(&whole) else { continue };
        let asked = Asked::Alone(question);
        let question = asked.question();
        let Some(source) = relations.snapshot(&question.source) else { continue };
        let best = cheapest(engine, state, question, (source, relations.catalog()), relations.oldest).await;
        let Some(best) = best.filter(|best| best.rows() <= named) else { continue };
        let answered = answered(relations, (whole, &asked), best)?;
        let with_view = rollup::replace(plan.clone(), &aggregate, &answered.answer)?;
        if !question.filters.is_empty() {
            let (without, with) = (closed(plan.clone(), relations)?, closed(with_view.clone(), relations)?);
            if rows_read(state, &with).await? > rows_read(state, &without).await? {
                continue;
            }
        }
        plan = with_view;
        counted(&answered);
        of_views.push(answered);
    }
    Ok(Rewritten { plan, answered: of_views })
}

/// Rows of the files that are left when filters have skipped what they can: a table may be laid out for a filter that its view
/// is not.
async fn rows_read(state: &SessionState, plan: &LogicalPlan) -> Result<usize, QueryError> {
    let physical = state.create_physical_plan(plan).await?;
    let mut rows: usize = 0;
    physical.apply(|node| {
        if node.children().is_empty() {
            let known = StatisticsContext::new().compute(node.as_ref(), &StatisticsArgs::new())?;
            rows = rows.saturating_add(known.num_rows.get_value().copied().unwrap_or(0));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(rows)
}

/// Rows to read of the view: stored, and not absorbed.
fn rows_of(view: &OpenView, relations: &Relations) -> u64 {
    let Some(pinned) = relations.pinned_view(&view.name) else { return 0 };
    match &pinned.stored {
        Some(stored) => stored.row_count() + pinned.lacks.rows(),
        None => pinned.source.row_count(),
    }
}

/// Aggregates with an open view below, outermost first; not those of the views themselves.
fn above_views(plan: &LogicalPlan) -> Vec<&Aggregate> {
    if open_view_of(plan).is_some() {
        return Vec::new();
    }
    let own = match plan {
        LogicalPlan::Aggregate(aggregate) if !views_below(plan).is_empty() => Some(aggregate),
        _ => None,
    };
    own.into_iter().chain(plan.inputs().into_iter().flat_map(above_views)).collect()
}

/// Open views of the plan, not those below them.
fn views_below(plan: &LogicalPlan) -> Vec<&OpenView> {
    match open_view_of(plan) {
        Some(view) => vec![view],
        None => plan.inputs().into_iter().flat_map(views_below).collect(),
    }
}

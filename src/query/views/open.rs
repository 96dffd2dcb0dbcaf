//! Views whose rows a plan reads, until it is decided where those come from.
//!
//! ```text
//! planner: … SubqueryAlias(v) ─ OpenView(v) ─ the view's own query, over tables
//!     ├─ closed: its aggregate answered from stored rows and the tail of their source ([`super::reading`])
//!     └─ opened: gone, so that an aggregate above and the view's make one question (`over_views`)
//! ```
//! No plan is optimised or run with an open view in it. A view below another one stays open until that one is read, which
//! needs no rows of it.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, Result as DataFusionResult, plan_err};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};

use super::reading::{as_stored, reading};
use crate::query::tables::Relations;

/// A view by name, with the plan of its query.
#[derive(Debug, PartialEq, Eq, PartialOrd, Hash)]
pub(super) struct OpenView {
    pub(super) name: String,
    query: LogicalPlan,
}

/// The view called `name`, whose query `plan` is, as what a statement reads.
///
/// # Errors
/// Columns that cannot be read as stored ones are.
pub(in crate::query) fn open_view(name: &str, plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let view = OpenView { name: name.to_owned(), query: as_stored(plan)? };
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(view) }))
}

/// The open view that a node is.
pub(super) fn open_view_of(node: &LogicalPlan) -> Option<&OpenView> {
    match node {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
        _ => None,
    }
}

/// The plan with the queries of views in the place of open ones.
///
/// # Errors
/// None of its own.
pub(super) fn opened(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    replaced(plan, &|view| opened(view.query.clone()))
}

/// The plan with all open views read: from stored rows where there are any.
///
/// # Errors
/// Stored rows that are not what the design says.
pub(in crate::query) fn closed(plan: LogicalPlan, relations: &Relations) -> DataFusionResult<LogicalPlan> {
    if !relations.has_pinned_views() {
        return Ok(plan);
    }
    replaced(plan, &|view| match relations.pinned_view(&view.name) {
        Some(pinned) => closed(reading(pinned, view.query.clone())?, relations),
        None => closed(view.query.clone(), relations),
    })
}

fn replaced(
    plan: LogicalPlan,
    by: &dyn Fn(&OpenView) -> DataFusionResult<LogicalPlan>,
) -> DataFusionResult<LogicalPlan> {
    let replaced = plan.transform_down_with_subqueries(|node| match open_view_of(&node) {
        Some(view) => Ok(Transformed::new(by(view)?, true, TreeNodeRecursion::Jump)),
        None => Ok(Transformed::no(node)),
    })?;
    match replaced.transformed {
        false => Ok(replaced.data),
        true => replaced
            .data
            .transform_up_with_subqueries(|node| node.recompute_schema().map(Transformed::yes))
            .map(|whole| whole.data),
    }
}

impl UserDefinedLogicalNodeCore for OpenView {
    fn name(&self) -> &str {
        "View"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.query]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.query.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "View: {}", self.name)
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> DataFusionResult<Self> {
        match <[LogicalPlan; 1]>::try_from(inputs) {
            Ok([query]) => Ok(Self { name: self.name.clone(), query }),
            Err(inputs) => plan_err!("a view has one query, not {}", inputs.len()),
        }
    }
}

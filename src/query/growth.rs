//! Refuses statements whose plans would be larger than planning can bear.
//!
//! Views and `WITH` queries are put in the place of their names, so a short text may stand for a plan that doubles with
//! every name: thirty views, each the union of the one before with itself, are a thousand million nodes. Nodes are
//! therefore counted while plans are made, those of views with them, and before anything walks through all of them.
//! DataFusion walks through `WITH` queries wherever they are named, so what they stand for is counted in the text (`with`).
//!
//! How deep expressions are nested is `depth`'s business.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::common::Result as DataFusionResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::Statement;

use super::fault::external;
use super::{QueryError, with};
use crate::catalog::CatalogError;

/// Nodes (scans, filters, joins, …) of one statement, its views' included. The optimizer walks through them some dozens of times.
const NODES_MAX: usize = 10_000;
/// Views inside one another. Planning is recursive; each level needs up to some hundred kilobytes of stack.
const VIEW_DEPTH_MAX: usize = 32;

/// Refuses a statement whose `WITH` queries, each put in the place of its name, read too many relations.
///
/// # Errors
/// As [`OpenViews::grow`].
pub(super) fn check_with(statement: &Statement) -> Result<(), QueryError> {
    match with::relations_read(statement) <= NODES_MAX as u64 {
        true => Ok(()),
        false => Err(too_large()),
    }
}

/// Views being planned, outermost first, and what they have added to the statement's plan. Clones share the sum.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenViews {
    names: Vec<String>,
    nodes: Arc<AtomicUsize>,
}

impl OpenViews {
    /// Whether what is planned is the statement's own text, not that of a view.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The same views, for planning once more.
    pub fn again(&self) -> Self {
        Self { names: self.names.clone(), nodes: Arc::default() }
    }

    /// # Errors
    /// A view that reads itself, too many inside one another.
    pub fn enter(&mut self, name: &str) -> Result<(), QueryError> {
        if self.names.iter().any(|open| open == name) {
            let cycle = self.names.iter().cloned().chain([name.to_owned()]).collect();
            return Err(QueryError::Catalog(CatalogError::Cycle { cycle }));
        }
        if self.names.len() >= VIEW_DEPTH_MAX {
            let message = format!("more than {VIEW_DEPTH_MAX} views inside one another; make one of them materialized");
            return Err(QueryError::Invalid { message });
        }
        self.names.push(name.to_owned());
        Ok(())
    }

    pub fn leave(&mut self) {
        self.names.pop();
    }

    /// Nodes so far.
    pub fn nodes(&self) -> usize {
        self.nodes.load(Ordering::Relaxed)
    }

    /// Adds a plan that was made when there were `before` nodes; it holds those of the views that were planned meanwhile.
    ///
    /// # Errors
    /// When all together are too large.
    pub fn grow(&self, before: usize, plan: &LogicalPlan) -> DataFusionResult<()> {
        let mut nodes = before;
        plan.apply_with_subqueries(|_| {
            nodes += 1;
            Ok(if nodes > NODES_MAX { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        self.nodes.store(nodes, Ordering::Relaxed);
        match nodes <= NODES_MAX {
            true => Ok(()),
            false => Err(external(too_large())),
        }
    }
}

fn too_large() -> QueryError {
    let message = format!(
        "the statement's plan has more than {NODES_MAX} nodes once views and WITH queries are put in; \
         read each of them once, or make a view materialized"
    );
    QueryError::Invalid { message }
}

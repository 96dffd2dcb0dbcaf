//! Rows of single files by a predicate: how many of a file's rows it is true for, and the others. What DELETE is made of.
//!
//! The predicate is planned once for all files of a version: its lists may have many thousand values.
//!
//! - **SCN-1** The rows counted and the others are together all rows of the file; a predicate that is NULL counts as other.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::physical_planner::DefaultPhysicalPlanner;
use futures::TryStreamExt;

use super::LakeTable;
use crate::base::Sealed;
use crate::storage::TableSnapshot;
use crate::storage::index::DataFile;

/// Conditions of more parts than this are too long to be compared with every file's statistics.
const PRUNING_PARTS_MAX: usize = 1_000;

/// A condition on the rows of a table, and how it is evaluated.
#[derive(Clone, Debug)]
pub struct RowPredicate {
    /// Over the table's columns by their bare names: checked and typed, without subqueries, parameters and functions that
    /// answer otherwise each time.
    pub condition: Sealed<Expr>,
    /// Functions, memory pool, spill folder and object stores.
    pub state: Sealed<SessionState>,
}

/// See the module.
pub(crate) struct Selector {
    snapshot: Arc<TableSnapshot>,
    state: Sealed<SessionState>,
    /// Reads a file from its first row to its last.
    in_order: Sealed<SessionState>,
    /// What statistics are asked.
    filters: Sealed<Vec<Expr>>,
    /// Over `columns`.
    is_true: Arc<dyn PhysicalExpr>,
    /// Over all columns.
    is_not_true: Arc<dyn PhysicalExpr>,
    columns: Vec<usize>,
}

impl Selector {
    /// # Errors
    /// A condition over columns that this version does not have.
    pub fn new(snapshot: &Arc<TableSnapshot>, predicate: &RowPredicate) -> Result<Self> {
        let RowPredicate { condition, state } = predicate;
        let condition: &Expr = condition;
        let schema = snapshot.index().layout().schema.clone();
        let named = DFSchema::try_from(schema.as_ref().clone())?;
        let is_true = state.create_physical_expr(condition.clone(), &named)?;
        let is_not_true = state.create_physical_expr(condition.clone().is_not_true(), &named)?;
        let mut columns: Vec<usize> = collect_columns(&is_true).iter().map(|column| column.index()).collect();
        columns.sort_unstable();
        let is_true = reassign_expr_columns(is_true, &schema.project(&columns)?)?;
        let filters = split_conjunction(condition).into_iter().filter(|part| is_short(part)).cloned();
        let mut in_order = SessionState::clone(state);
        in_order.config_mut().options_mut().execution.target_partitions = 1;
        Ok(Self {
            snapshot: snapshot.clone(),
            state: state.clone(),
            in_order: Sealed::new(in_order),
            filters: Sealed::new(filters.collect()),
            is_true,
            is_not_true,
            columns,
        })
    }

    /// The files that may hold rows for which the predicate is true, by their statistics.
    pub fn candidates(&self) -> Vec<Arc<DataFile>> {
        LakeTable::new(self.snapshot.index()).files_for(&*self.state, &self.filters)
    }

    /// Rows of `file` for which the predicate is true.
    pub async fn count(&self, file: &Arc<DataFile>) -> Result<u64> {
        let scan = self.of(file).scan(&*self.state, Some(&self.columns), &self.filters, None).await?;
        let filter = FilterExec::try_new(self.is_true.clone(), scan)?;
        row_count(self.start(Arc::new(filter), &self.state)?).await
    }

    /// All rows of `file`, for a file whose writer did not say.
    pub async fn count_all(&self, file: &Arc<DataFile>) -> Result<u64> {
        let scan = self.of(file).scan(&*self.state, Some(&Vec::new()), &[], None).await?;
        row_count(self.start(scan, &self.state)?).await
    }

    /// The other rows of `file`, in the file's order and in all columns.
    pub async fn others(&self, file: &Arc<DataFile>) -> Result<SendableRecordBatchStream> {
        let scan = self.of(file).scan(&*self.in_order, None, &[], None).await?;
        let filter = FilterExec::try_new(self.is_not_true.clone(), scan)?;
        self.start(Arc::new(filter), &self.in_order)
    }

    /// Memory pool and spill folder.
    pub fn task(&self) -> Arc<TaskContext> {
        self.state.task_ctx()
    }

    fn of(&self, file: &Arc<DataFile>) -> LakeTable {
        LakeTable::of_files(self.snapshot.index(), std::slice::from_ref(file))
    }

    fn start(&self, plan: Arc<dyn ExecutionPlan>, state: &SessionState) -> Result<SendableRecordBatchStream> {
        let plan = DefaultPhysicalPlanner::default().optimize_physical_plan(plan, state, |_, _| {})?;
        execute_stream(plan, state.task_ctx())
    }
}

async fn row_count(rows: SendableRecordBatchStream) -> Result<u64> {
    rows.try_fold(0, |sum, batch| std::future::ready(Ok(sum + batch.num_rows() as u64))).await
}

fn is_short(condition: &Expr) -> bool {
    let mut parts = 0;
    let walked = condition.apply(|_| {
        parts += 1;
        Ok(if parts > PRUNING_PARTS_MAX { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.is_ok() && parts <= PRUNING_PARTS_MAX
}

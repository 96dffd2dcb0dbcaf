//! The plan that reads a view: its query's, with the aggregate answered from stored parts and what they lack of the source.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result as DataFusionResult;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder};

use super::PinnedView;
use super::open::opened;
use crate::base::quoted;
use crate::rollup::{self, Asked, Cover, Scan, Sources};
use crate::storage::TableSnapshot;

/// `plan` is the view's own query over the pinned source; views below it may be open.
///
/// # Errors
/// Stored rows that are not what the design says.
pub(in crate::query) fn reading(view: &PinnedView, plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let Some(stored) = &view.stored else { return as_stored(plan) };
    let whole = opened(plan.clone())?;
    let found = rollup::aggregates(&whole).into_iter().find_map(|aggregate| {
        let asked = Asked::of(aggregate, &view.design.question.source).ok()?;
        asked.question().asks_as(&view.design.question).then(|| (aggregate.clone(), asked))
    });
    let Some((aggregate, asked)) = found else {
        tracing::debug!(view = view.name, "planned otherwise than when it was made; answered from its source");
        return as_stored(plan);
    };
    let pieces = rollup::pieces(Cover::of_design(&view.design), scans(view, stored));
    let answer = asked.answer(pieces, &view.functions)?;
    as_stored(rollup::replace(whole, &aggregate, &answer)?)
}

/// What there is to read: stored rows, those not absorbed, and the whole source. The name of the tail keeps it from being taken
/// for the table itself.
pub(super) fn scans(view: &PinnedView, stored: &Arc<TableSnapshot>) -> Sources {
    let scan = |table: &str, rows| Scan { table: table.into(), source: provider_as_source(rows) };
    let source = view.design.question.source.as_str();
    Sources {
        stored: scan(&format!("rollup.{}", quoted(&view.name)), stored.provider()),
        tail: view.lacks.tail.clone().map(|tail| scan(&format!("tail.{}", quoted(source)), tail)),
        whole: scan(&format!("base.{}", quoted(source)), view.source.provider()),
        dirty: view.lacks.dirty.clone(),
    }
}

/// Counts are BIGINT, as in a table.
pub(in crate::query) fn as_stored(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let is_unsigned = |data_type: &DataType| data_type.is_unsigned_integer();
    if !plan.schema().fields().iter().any(|field| is_unsigned(field.data_type())) {
        return Ok(plan);
    }
    let schema = plan.schema().clone();
    let columns = schema.iter().map(|(qualifier, field)| {
        let column = Expr::from((qualifier, field));
        match is_unsigned(field.data_type()) {
            true => Ok(column.cast_to(&DataType::Int64, &schema)?.alias_qualified(qualifier.cloned(), field.name())),
            false => Ok(column),
        }
    });
    LogicalPlanBuilder::from(plan).project(columns.collect::<DataFusionResult<Vec<_>>>()?)?.build()
}

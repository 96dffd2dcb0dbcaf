//! The two answers of one aggregate, compared: rows of the view count +1, rows of the table −1, and what does not sum to zero
//! differs. That is exact for NULLs too.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Field, Int64Type, Schema};
use arrow::json::WriterBuilder;
use arrow::json::writer::JsonArray;
use datafusion::common::{Column, Result as DataFusionResult};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
use futures::TryStreamExt;

use super::Check;
use crate::query::QueryError;
use crate::query::admission::Permit;
use crate::query::engine::Inner;
use crate::query::statement::query::answer_schema;
use crate::query::stream::{self, Held, Limit};
use crate::rollup::Functions;

/// Differing rows that are shown.
const SAMPLE_ROWS: usize = 20;
/// The column that says whose row it is, in a sample.
const SIDE: &str = "side";
const MORE: &str = "__adlake_more";

/// What came of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::query) struct Compared {
    /// Rows that both have, and rows that only one of them has.
    pub checked: u64,
    pub differing: u64,
    /// Some of the latter, as a JSON array of objects.
    pub sample: Option<String>,
}

/// Computes both answers, on one thread.
///
/// # Errors
/// A query that fails, out of time, files that are gone.
pub(in crate::query) async fn compare(
    engine: &Arc<Inner>,
    check: &Check,
    permit: Permit,
    limit: Limit,
) -> Result<Compared, QueryError> {
    let mut state = engine.shared.state_for(&check.viewer, check.now);
    state.config_mut().options_mut().execution.target_partitions = 1;
    let logical = plan(check, &engine.shared.rollup)?;
    let planning = async move { Ok::<_, QueryError>(state.create_physical_plan(&logical).await?) };
    let physical = engine.shared.cpu.spawn(planning).await??;
    let schema = answer_schema(&physical.schema());
    let cancel = engine.tasks.stop_signal();
    let held = Held { permit: Some(permit), ..Held::inside(&engine.shared, cancel, limit) };
    let mut rows = stream::start(&engine.shared, physical, schema, held);
    let names: Vec<String> = check.asked.schema().fields().iter().map(|field| field.name().clone()).collect();
    let mut compared = Compared::default();
    let mut sample = Vec::new();
    while let Some(batch) = rows.try_next().await? {
        let differing = differing(&batch).map_err(|error| internal(&error))?;
        compared.checked += (batch.num_rows() - differing.num_rows()) as u64;
        compared.differing += differing.num_rows() as u64;
        let shown: usize = sample.iter().map(RecordBatch::num_rows).sum();
        let room = SAMPLE_ROWS.saturating_sub(shown).min(differing.num_rows());
        if room > 0 {
            sample.push(differing.slice(0, room));
        }
    }
    compared.sample = text(&names, &sample).map_err(|error| internal(&error))?;
    Ok(compared)
}

fn plan(check: &Check, functions: &Functions) -> DataFusionResult<LogicalPlan> {
    let both = side(&check.answer, 1)?.union(side(&check.asked, -1)?.build()?)?;
    let columns: Vec<Expr> = (0..check.asked.schema().fields().len()).map(|place| column(&name(place))).collect();
    let more = AggregateFunction::new_udf(functions.sum.clone(), vec![column(MORE)], false, None, Vec::new(), None);
    both.aggregate(columns, [Expr::AggregateFunction(more).alias(MORE)])?.build()
}

fn side(rows: &LogicalPlan, sign: i64) -> DataFusionResult<LogicalPlanBuilder> {
    let columns = rows.schema().iter().enumerate().map(|(place, field)| Expr::from(field).alias(name(place)));
    let columns = columns.chain([lit(sign).alias(MORE)]).collect::<Vec<_>>();
    LogicalPlanBuilder::from(rows.clone()).project(columns)
}

fn name(place: usize) -> String {
    format!("column_{place}")
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}

/// The rows that do not sum to zero.
fn differing(batch: &RecordBatch) -> Result<RecordBatch, arrow::error::ArrowError> {
    let more = batch.column(batch.num_columns() - 1).as_primitive::<Int64Type>();
    let differs = more.iter().map(|more| Some(more != Some(0))).collect();
    filter_record_batch(batch, &differs)
}

/// Rows of the comparison for people: whose row it is, then its columns by their names.
fn text(names: &[String], sample: &[RecordBatch]) -> Result<Option<String>, arrow::error::ArrowError> {
    if sample.is_empty() {
        return Ok(None);
    }
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(Vec::new());
    for batch in sample {
        let (more, columns) = match batch.columns().split_last() {
            Some((more, columns)) => (more.as_primitive::<Int64Type>(), columns),
            None => continue,
        };
        let of = |more: Option<i64>| if more.unwrap_or_default() > 0 { "view" } else { "table" };
        let sides: arrow::array::StringArray = more.iter().map(|more| Some(of(more))).collect();
        let fields = names.iter().zip(columns).map(|(name, column)| Field::new(name, column.data_type().clone(), true));
        let fields = std::iter::once(Field::new(SIDE, sides.data_type().clone(), true)).chain(fields);
        let columns = std::iter::once(Arc::new(sides) as arrow::array::ArrayRef).chain(columns.iter().cloned());
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        writer.write(&RecordBatch::try_new(schema, columns.collect())?)?;
    }
    writer.finish()?;
    Ok(String::from_utf8(writer.into_inner()).ok())
}

fn internal(error: &arrow::error::ArrowError) -> QueryError {
    QueryError::Internal { message: format!("cannot compare two answers: {error}") }
}

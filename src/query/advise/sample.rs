//! Real rows of a table, as many as are looked at to tell how large views of it would be.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::SessionState;
use datafusion::functions_aggregate::expr_fn::{count, min, sum};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, cast, col, lit};
use datafusion::physical_plan::collect;
use datafusion::prelude::Expr;

use super::growth::{Found, Scale};
use crate::base::quoted;
use crate::query::QueryError;
use crate::query::engine::Inner;
use crate::rollup::{self, Design, Scan, Shape};
use crate::storage::TableSnapshot;

/// Rows and files looked at, at most. A table of no more rows is read as a whole.
const ROWS_MAX: u64 = 131_072;
const FILES_MAX: usize = 16;

/// 1 in the second half of the rows of a file, and in every second file.
const LATE_ROW: &str = "__adlake_late_row";
const ODD_FILE: &str = "__adlake_odd_file";

/// Some rows of one version of a table, in memory.
pub(super) struct Sample {
    table: Arc<MemTable>,
    pub rows: u64,
    /// Files looked into, and files there are.
    pub files: (usize, usize),
    pub scale: Scale,
}

impl Sample {
    /// Reads the first rows of files spread over the table, only `columns` of them.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub async fn read(
        engine: &Arc<Inner>,
        state: &SessionState,
        snapshot: &Arc<TableSnapshot>,
        columns: &BTreeSet<String>,
    ) -> Result<Self, QueryError> {
        let mut files = snapshot.file_summaries();
        files.retain(|file| file.rows > 0);
        files.sort_by(|left, right| left.name.cmp(&right.name));
        let is_whole = snapshot.row_count() <= ROWS_MAX;
        let step = if is_whole { 1 } else { files.len().div_ceil(FILES_MAX).max(1) };
        let (count, chosen): (usize, Vec<_>) = (files.len(), files.iter().step_by(step).collect());
        let share = if is_whole { u64::MAX } else { ROWS_MAX / chosen.len().max(1) as u64 };
        let mut batches = Vec::new();
        let (mut rows, mut rows_of_chosen) = (0, 0);
        for (index, file) in chosen.iter().enumerate() {
            let taken = file.rows.min(share);
            rows += taken;
            rows_of_chosen += file.rows;
            let provider = snapshot.provider_of(&BTreeSet::from([file.name.clone()]));
            let shown: Vec<Expr> = columns.iter().map(|column| col(quoted(column))).collect();
            let scan = LogicalPlanBuilder::scan("sample", provider_as_source(provider), None)?;
            let scan = if shown.is_empty() { scan } else { scan.project(shown)? };
            let plan = scan.limit(0, usize::try_from(taken).ok())?.build()?;
            let mut seen = 0;
            for batch in run(engine, state, &plan).await? {
                batches.push(tagged(&batch, (seen, taken), index)?);
                seen += batch.num_rows() as u64;
            }
        }
        let schema = batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
        let ratio = |all: u64, part: u64| all as f64 / part.max(1) as f64;
        let scale = match is_whole {
            true => Scale::WHOLE,
            false => Scale { within: ratio(rows_of_chosen, rows), across: ratio(snapshot.row_count(), rows_of_chosen) },
        };
        let table = Arc::new(MemTable::try_new(schema, vec![batches])?);
        Ok(Self { table, rows, files: (chosen.len(), count), scale })
    }

    /// Groups that `shape` has in the sample.
    ///
    /// # Errors
    /// An expression that fails on a row.
    pub async fn groups(&self, engine: &Arc<Inner>, state: &SessionState, shape: &Shape) -> Result<Found, QueryError> {
        let mut rows = LogicalPlanBuilder::from(self.scan("sample")?);
        if let Some(predicate) = conjunction(shape.filters().cloned()) {
            rows = rows.filter(predicate)?;
        }
        let keys: Vec<Expr> =
            shape.keys().into_iter().enumerate().map(|(index, key)| key.alias(format!("key_{index}"))).collect();
        let names: Vec<Expr> = (0..keys.len()).map(|index| col(format!("key_{index}"))).collect();
        let shown = keys.into_iter().chain([col(LATE_ROW), col(ODD_FILE)]);
        let groups = rows.project(shown)?.aggregate(
            names,
            [count(lit(1_i64)).alias("passing"), min(col(LATE_ROW)).alias("late"), min(col(ODD_FILE)).alias("odd")],
        )?;
        let total = |expr: Expr, name: &str| sum(cast(expr, DataType::Int64)).alias(name);
        let plan = groups.aggregate(
            Vec::<Expr>::new(),
            [
                total(col("passing"), "passing"),
                count(lit(1_i64)).alias("groups"),
                total(lit(1_i64) - col("late"), "in_half_rows"),
                total(lit(1_i64) - col("odd"), "in_half_files"),
            ],
        )?;
        let found = run(engine, state, &plan.build()?).await?;
        let number = |column: usize| {
            let values = found.first().map(|batch| batch.column(column).clone());
            let value = values.and_then(|values| {
                let values = values.as_any().downcast_ref::<Int64Array>()?.clone();
                (!values.is_empty()).then(|| values.iter().next().flatten()).flatten()
            });
            value.and_then(|value| u64::try_from(value).ok()).unwrap_or(0)
        };
        Ok(Found {
            passing: number(0),
            rows: self.rows,
            groups: number(1),
            in_half_rows: number(2),
            in_half_files: number(3),
        })
    }

    /// Bytes that a row of the view takes in a file, measured by writing those of the sample; None: there are none.
    ///
    /// # Errors
    /// An expression that fails on a row.
    pub async fn bytes_per_row(
        &self,
        engine: &Arc<Inner>,
        state: &SessionState,
        design: &Design,
    ) -> Result<Option<f64>, QueryError> {
        let base =
            Scan { table: design.question.source.as_str().into(), source: provider_as_source(self.table.clone()) };
        let plan = rollup::partial_plan(design, base, None, &engine.shared.rollup)?;
        let partials = run(engine, state, &plan).await?;
        let rows: usize = partials.iter().map(RecordBatch::num_rows).sum();
        if rows == 0 {
            return Ok(None);
        }
        let bytes = engine.lake.encoded_bytes(&partials)?;
        Ok(Some(bytes as f64 / rows as f64))
    }

    fn scan(&self, name: &str) -> Result<LogicalPlan, QueryError> {
        Ok(LogicalPlanBuilder::scan(name, provider_as_source(self.table.clone()), None)?.build()?)
    }
}

/// Runs where queries run; dropped with the statement.
async fn run(engine: &Arc<Inner>, state: &SessionState, plan: &LogicalPlan) -> Result<Vec<RecordBatch>, QueryError> {
    let (state, plan, task) = (state.clone(), plan.clone(), engine.shared.task());
    let running = async move { Ok::<_, QueryError>(collect(state.create_physical_plan(&plan).await?, task).await?) };
    engine.shared.cpu.spawn(running).await?
}

/// The rows behind the first `seen` of a file of which `taken` are read.
fn tagged(batch: &RecordBatch, (seen, taken): (u64, u64), file: usize) -> Result<RecordBatch, QueryError> {
    let places = (seen..).take(batch.num_rows());
    let late: Int64Array = places.map(|place| Some(i64::from(place >= taken.div_ceil(2)))).collect();
    let odd: Int64Array = std::iter::repeat_n(Some(i64::from(file % 2 == 1)), batch.num_rows()).collect();
    let tags = [LATE_ROW, ODD_FILE].map(|name| Arc::new(Field::new(name, DataType::Int64, false)));
    let fields = batch.schema().fields().iter().cloned().chain(tags).collect::<Vec<_>>();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let columns: Vec<ArrayRef> =
        batch.columns().iter().cloned().chain([Arc::new(late) as ArrayRef, Arc::new(odd)]).collect();
    RecordBatch::try_new(schema, columns).map_err(|error| QueryError::Internal { message: error.to_string() })
}

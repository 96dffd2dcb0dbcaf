//! Statements about materialized views that answer rows and change nothing: EXPLAIN REFRESH, VERIFY, ADVISE.
//!
//! They run where the lake is read only too, and end with their client, as queries do; the work is that of the plug,
//! or of `advise`.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream;

use super::{Work, change, query, within};
use crate::base::quoted;
use crate::catalog::ObjectKind;
use crate::query::advise;
use crate::query::commands::{VERIFIED_SIDE, explained_schema};
use crate::query::engine::Inner;
use crate::query::running::State;
use crate::query::viewer::Viewer;
use crate::query::{Answer, Outcome, Params, Prepared, QueryError, StatementKind};

pub(super) async fn explain_refresh(work: &mut Work, view: &str) -> Result<Answer, QueryError> {
    check_view(&work.engine, view)?;
    work.enter(State::Running);
    let (engine, context) = (work.engine.clone(), change::context(work));
    let told =
        within(work.cancel.clone(), work.limit, async { Ok(engine.commands()?.explain_refresh(view, context).await?) });
    answer(work, &explained_schema(), &told.await?)
}

pub(super) async fn verify(work: &mut Work, view: &str, range: Option<(String, String)>) -> Result<Answer, QueryError> {
    check_view(&work.engine, view)?;
    let (cancel, limit) = (work.cancel.clone(), work.limit);
    let (engine, context) = (work.engine.clone(), change::context(work));
    let _turn = within(cancel.clone(), limit, engine.admission.enter(&work.whose)).await?;
    work.enter(State::Running);
    let found = within(cancel, limit, async {
        let expected = prepare_verify(&engine, view).await?.schema;
        let found = engine.commands()?.verify(view, range, context).await?;
        Ok((expected, found))
    });
    let (expected, found) = found.await?;
    answer(work, &expected, &found)
}

pub(super) async fn advise(work: &mut Work, query: Option<&str>) -> Result<Answer, QueryError> {
    let (cancel, limit, engine) = (work.cancel.clone(), work.limit, work.engine.clone());
    let _turn = within(cancel.clone(), limit, engine.admission.enter(&work.whose)).await?;
    work.enter(State::Running);
    let advice = within(cancel, limit, advise::advise(&engine, query, &work.viewer)).await?;
    answer(work, &advise::schema(), &advice)
}

pub(super) fn prepare_advise() -> Prepared {
    whole(advise::schema())
}

pub(super) fn prepare_explain_refresh(engine: &Arc<Inner>, view: &str) -> Result<Prepared, QueryError> {
    check_view(engine, view)?;
    Ok(whole(explained_schema()))
}

/// Of rows that are one batch.
fn whole(schema: SchemaRef) -> Prepared {
    Prepared { kind: StatementKind::Query, schema, parameters: Arc::new(Schema::empty()), is_divisible: false }
}

/// The columns are those of the view, as a query would answer them, behind the one that says whose row it is.
pub(super) async fn prepare_verify(engine: &Arc<Inner>, view: &str) -> Result<Prepared, QueryError> {
    check_view(engine, view)?;
    let prepared = query::prepare(
        engine,
        (&format!("SELECT * FROM {}", quoted(view)), Vec::new()),
        &Params::None,
        &Viewer::trusted(),
    )
    .await?;
    let side: FieldRef = Arc::new(Field::new(VERIFIED_SIDE, DataType::Utf8, true));
    let fields: Vec<FieldRef> = std::iter::once(side).chain(prepared.schema.fields().iter().cloned()).collect();
    Ok(whole(Arc::new(Schema::new(fields))))
}

/// # Errors
/// `NotFound` with the nearest name; something that is no materialized view.
fn check_view(engine: &Inner, view: &str) -> Result<(), QueryError> {
    engine.catalog.snapshot().object(ObjectKind::MaterializedView, view)?;
    Ok(())
}

/// Rows of the plug as the rows of a query, in the columns that were promised.
fn answer(work: &Work, promised: &SchemaRef, rows: &RecordBatch) -> Result<Answer, QueryError> {
    let rows = conformed(promised, rows)?;
    if let Some(watch) = &work.watch {
        watch.add_rows(u64::try_from(rows.num_rows()).unwrap_or(u64::MAX));
    }
    let rows = RecordBatchStreamAdapter::new(promised.clone(), stream::iter([Ok(rows)]));
    Ok(Answer {
        query_id: work.query_id.clone(),
        schema: promised.clone(),
        outcome: Outcome::Rows(Box::pin(rows)),
        details: None,
        data_as_of: work.now,
        state: None,
    })
}

fn conformed(promised: &SchemaRef, rows: &RecordBatch) -> Result<RecordBatch, QueryError> {
    let schema = rows.schema();
    let names = |schema: &Schema| -> Vec<String> { schema.fields().iter().map(|field| field.name().clone()).collect() };
    if names(&schema) != names(promised) {
        let message =
            format!("columns {} were answered instead of {}", names(&schema).join(", "), names(promised).join(", "));
        return Err(QueryError::Internal { message });
    }
    let columns = rows.columns().iter().zip(promised.fields());
    let columns: Result<Vec<ArrayRef>, _> = columns.map(|(column, field)| cast(column, field.data_type())).collect();
    let conformed = columns.and_then(|columns| RecordBatch::try_new(promised.clone(), columns));
    conformed.map_err(|error| QueryError::Internal { message: error.to_string() })
}

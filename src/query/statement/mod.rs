//! One file per family of statements. [`run`] decides which; [`prepare`] tells what it would answer.

mod change;
mod conform;
mod delete;
mod divisible;
mod insert;
mod inspect;
mod kill;
pub(super) mod query;
mod security;
mod set;
mod show;
mod turn;
mod typed_values;

use std::future::Future;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::execution::TaskContext;
use tokio_util::sync::CancellationToken;

use super::authorise::authorise;
use super::engine::Inner;
use super::placeholders::number_placeholders;
use super::planner::ParameterTypes;
use super::running::{State, Watch};
use super::stream::Limit;
use super::turns::Whose;
use super::viewer::Viewer;
use super::{Answer, Outcome, Params, Prepared, Progress, QueryError, QueryId, Reach, Session, StatementKind};
use crate::auth::Allowance;
use crate::base::{Classify, Kind, Timestamp};
use crate::catalog::{Statement, parse_statement};

pub(super) use set::{REWRITE, TIMEOUT};

/// One statement being worked on.
pub(super) struct Work {
    pub(super) engine: Arc<Inner>,
    pub(super) session: Arc<Session>,
    pub(super) viewer: Viewer,
    /// Whose turns and memory it takes.
    pub(super) whose: Whose,
    /// How much of it the viewer may ask for.
    pub(super) allowance: Allowance,
    /// Memory pool, spill folder and object stores of its plans.
    pub(super) task: Arc<TaskContext>,
    pub(super) params: Params,
    pub(super) declared: Vec<FieldRef>,
    pub(super) progress: Option<Arc<dyn Progress>>,
    /// Taken by what outlives the call: a stream of rows.
    pub(super) watch: Option<Watch>,
    pub(super) query_id: QueryId,
    pub(super) cancel: CancellationToken,
    pub(super) limit: Limit,
    pub(super) now: Timestamp,
}

impl Work {
    pub(super) fn enter(&self, state: State) {
        if let Some(watch) = &self.watch {
            watch.enter(state);
        }
    }

    /// Which files the statement may name.
    fn reach(&self) -> Reach {
        Reach::of(self.session.origin, &self.engine.config)
    }

    /// The same work for another task; the place in the list of statements stays here.
    fn without_watch(&self) -> Work {
        Work {
            engine: self.engine.clone(),
            session: self.session.clone(),
            viewer: self.viewer.clone(),
            whose: self.whose.clone(),
            task: self.task.clone(),
            allowance: self.allowance,
            params: self.params.clone(),
            declared: self.declared.clone(),
            progress: self.progress.clone(),
            watch: None,
            query_id: self.query_id.clone(),
            cancel: self.cancel.clone(),
            limit: self.limit,
            now: self.now,
        }
    }

    /// The answer of a statement without rows.
    pub(super) fn done(&self, rows: Option<u64>, message: impl Into<String>) -> Answer {
        Answer {
            query_id: self.query_id.clone(),
            schema: summary_schema(),
            outcome: Outcome::Done { rows, message: message.into() },
            details: None,
            data_as_of: self.now,
            state: None,
        }
    }
}

/// Of statements that change something.
fn summary_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("rows", DataType::Int64, true), Field::new("message", DataType::Utf8, true)]))
}

/// Runs one statement.
pub(super) async fn run(work: &mut Work, sql: &str) -> Result<Answer, QueryError> {
    let run = work.watch.as_ref().map(|watch| watch.run.clone());
    let outcome = dispatched(work, sql).await;
    let Some(run) = run else { return outcome };
    outcome.map_err(|error| match error.kind() {
        Kind::Cancelled => run.why_cancelled(),
        Kind::NotFound => {
            run.note_hidden(&work.engine.catalog.snapshot());
            error
        }
        _ => error,
    })
}

async fn dispatched(work: &mut Work, sql: &str) -> Result<Answer, QueryError> {
    let (cancel, limit) = (work.cancel.clone(), work.limit);
    let statement = parse(sql)?;
    if let Some(watch) = &work.watch {
        watch.run.note(&statement);
    }
    authorise(&statement, &work.viewer, &work.engine.catalog.snapshot())?;
    match statement {
        Statement::Query(text) => within(cancel, limit, query::run(work, show::functions(&text))).await,
        Statement::Show(target) => show::show(work, target).await,
        Statement::Describe { name } => show::describe(work, &name).await,
        Statement::Set { key, value } => set::set(work, &key, &value),
        Statement::Reset { key } => set::reset(work, key.as_deref()),
        Statement::Insert { table, columns, source } => {
            let insert = insert::Insert { table, columns, source };
            change::insert(work, insert).await
        }
        Statement::Delete(delete) => change::delete(work, delete).await,
        Statement::Refresh(refresh) => change::refresh(work, refresh).await,
        Statement::ExplainRefresh { view } => inspect::explain_refresh(work, &view).await,
        Statement::Verify { view, range } => inspect::verify(work, &view, range).await,
        Statement::Advise { query } => inspect::advise(work, query.as_deref()).await,
        Statement::Copy(copy) => change::copy(work, copy).await,
        Statement::Maintain(maintain) => change::maintain(work, maintain).await,
        Statement::Security(statement) => security::run(work, *statement).await,
        Statement::Replay(replay) => change::replay(work, replay).await,
        Statement::Kill { query_id } => kill::kill(work, &query_id),
        Statement::Create(create) => change::create(work, *create).await,
        Statement::Drop(drop) => change::drop_object(work, drop).await,
        Statement::AlterAddColumn(alter) => change::add_column(work, alter).await,
        Statement::AlterOptions(alter) => change::set_options(work, alter).await,
    }
}

/// Kind, columns and parameters, without running. `types` are those of `$1`, `$2`, … as far as the client says them. With `params`
/// the columns of a query are those of a run with them.
pub(super) async fn prepare(
    engine: &Arc<Inner>,
    (sql, types): (&str, ParameterTypes),
    params: &Params,
    viewer: &Viewer,
) -> Result<Prepared, QueryError> {
    let command = |kind| {
        let (schema, parameters) = (summary_schema(), Arc::new(Schema::empty()));
        Prepared { kind, schema, parameters, is_divisible: false }
    };
    let statement = parse(sql)?;
    authorise(&statement, viewer, &engine.catalog.snapshot())?;
    match statement {
        Statement::Query(text) => query::prepare(engine, (show::functions(&text), types), params, viewer).await,
        Statement::Show(target) => show::prepare(engine, show::Shown::Target(target), viewer).await,
        Statement::Describe { name } => show::prepare(engine, show::Shown::Name(name), viewer).await,
        Statement::Insert { table, columns, source } => {
            insert::prepare(engine, insert::Insert { table, columns, source }, (summary_schema(), viewer)).await
        }
        Statement::Delete(delete) => delete::prepare(engine, delete, (summary_schema(), viewer)).await,
        Statement::ExplainRefresh { view } => inspect::prepare_explain_refresh(engine, &view),
        Statement::Verify { view, .. } => inspect::prepare_verify(engine, &view).await,
        Statement::Advise { .. } => Ok(inspect::prepare_advise()),
        Statement::Refresh(_) | Statement::Copy(_) | Statement::Replay(_) => Ok(command(StatementKind::Update)),
        Statement::Create(_)
        | Statement::Drop(_)
        | Statement::AlterAddColumn(_)
        | Statement::Maintain(_)
        | Statement::Kill { .. }
        | Statement::Security(_)
        | Statement::AlterOptions(_)
        | Statement::Set { .. }
        | Statement::Reset { .. } => Ok(command(StatementKind::Command)),
    }
}

/// Whether the statement ends others: who has as many running as they may must be able to.
pub(super) fn ends_others(sql: &str) -> bool {
    sql.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("KILL"))
}

/// Parses a statement with its `?` numbered; a syntax error has its place in the text as the user wrote it.
fn parse(sql: &str) -> Result<Statement, QueryError> {
    let numbered = number_placeholders(sql)?;

    parse_statement(&numbered).map_err(|error| match parse_statement(sql) {
        Err(original) => original.into(),
        Ok(_) => error.into(),
    })
}

/// `work`, unless cancelled or out of time first.
async fn within<T, F>(cancel: CancellationToken, limit: Limit, work: F) -> Result<T, QueryError>
where
    F: Future<Output = Result<T, QueryError>>,
{
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(QueryError::Cancelled),
        () = tokio::time::sleep_until(limit.deadline) => Err(limit.error()),
        done = work => done,
    }
}

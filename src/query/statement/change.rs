//! Statements that change something: they run to a known end even when the client goes.
//!
//! ```text
//! caller ── waits for ──► task (base::task): turn ─► INSERT · DELETE · COPY · REFRESH · CREATE · DROP · ALTER ─► outcome
//!    │                        ▲ cancel token
//!    └─ gone / time over ─────┘
//! ```
//! The work is signalled, never dropped half-way: a commit is either made or not, and the caller learns which.

use std::future::Future;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use tokio::sync::oneshot;

use super::Work;
use super::delete;
use super::insert::{self, Insert};
use crate::base::{Classify, Kind};
use crate::catalog::{
    AlterAddColumn, AlterOptions, CopyInto, Create, Delete, DropObject, Maintain, MaintainWork, Refresh, Replay,
};
use crate::query::running::State;
use crate::query::{Answer, CommandContext, Outcome, Progress, QueryError, ddl};

struct Silent;

impl Progress for Silent {}

/// Whether a statement waits for its turn among queries.
#[derive(Clone, Copy)]
enum Turn {
    Needed,
    /// Definitions: short, and needed to mend what overloads the server.
    Skipped,
}

pub(super) async fn insert(work: &mut Work, insert: Insert) -> Result<Answer, QueryError> {
    to_end(work, Turn::Needed, move |work| async move {
        let context = context(&work);
        insert::run(&work, insert, context).await
    })
    .await
}

pub(super) async fn delete(work: &mut Work, delete: Delete) -> Result<Answer, QueryError> {
    to_end(work, Turn::Needed, move |work| async move {
        let context = context(&work);
        Box::pin(delete::run(&work, delete, context)).await
    })
    .await
}

pub(super) async fn refresh(work: &mut Work, refresh: Refresh) -> Result<Answer, QueryError> {
    to_end(work, Turn::Needed, move |work| async move {
        let view = refresh.view.clone();
        let rows = work.engine.commands()?.refresh(refresh, context(&work)).await?;
        Ok(match sees_whole(&work, &view) {
            true => work.done(Some(rows), format!("materialized view {view} refreshed: {rows} rows")),
            false => work.done(None, format!("materialized view {view} refreshed")),
        })
    })
    .await
}

pub(super) async fn copy(work: &mut Work, copy: CopyInto) -> Result<Answer, QueryError> {
    work.reach().check(&copy.from)?;
    to_end(work, Turn::Needed, move |work| async move {
        let table = copy.table.clone();
        let files = work.engine.commands()?.copy_into(copy, context(&work)).await?;
        let rows = total(&files, "rows");
        let message = format!("{rows} rows loaded into {table} from {} files", files.num_rows());
        Ok(Answer { details: Some(files), ..work.done(Some(rows), message) })
    })
    .await
}

pub(super) async fn maintain(work: &mut Work, maintain: Maintain) -> Result<Answer, QueryError> {
    to_end(work, Turn::Needed, move |work| async move {
        let (table, is_optimize) = (maintain.table.clone(), matches!(maintain.work, MaintainWork::Optimize));
        let (report, message) = work.engine.commands()?.maintain(maintain, context(&work)).await?;
        Ok(match sees_whole(&work, &table) {
            true => Answer { details: Some(report), ..work.done(None, message) },
            false => work.done(None, format!("{table} {}", if is_optimize { "optimized" } else { "vacuumed" })),
        })
    })
    .await
}

pub(super) async fn replay(work: &mut Work, replay: Replay) -> Result<Answer, QueryError> {
    to_end(work, Turn::Needed, move |work| async move {
        let table = replay.table.clone();
        let report = work.engine.commands()?.replay(replay, context(&work)).await?;
        let mut message = format!("{} rejected rows replayed into {table}", report.accepted);
        if report.duplicates > 0 {
            message.push_str(&format!(", {} were there already", report.duplicates));
        }
        if report.rejected > 0 {
            message.push_str(&format!(", {} rejected again (see status_reason in system.rejects)", report.rejected));
        }
        Ok(work.done(Some(report.accepted), message))
    })
    .await
}

pub(super) async fn create(work: &mut Work, create: Create) -> Result<Answer, QueryError> {
    work.reach().check_definition(&create)?;
    to_end(work, Turn::Skipped, move |work| async move {
        let message = ddl::create(&work.engine, create).await?;
        Ok(work.done(None, message))
    })
    .await
}

pub(super) async fn drop_object(work: &mut Work, drop: DropObject) -> Result<Answer, QueryError> {
    to_end(work, Turn::Skipped, move |work| async move {
        let message = ddl::drop_object(&work.engine, drop).await?;
        Ok(work.done(None, message))
    })
    .await
}

pub(super) async fn add_column(work: &mut Work, alter: AlterAddColumn) -> Result<Answer, QueryError> {
    to_end(work, Turn::Skipped, move |work| async move {
        let message = ddl::add_column(&work.engine, alter).await?;
        Ok(work.done(None, message))
    })
    .await
}

pub(super) async fn set_options(work: &mut Work, alter: AlterOptions) -> Result<Answer, QueryError> {
    to_end(work, Turn::Skipped, move |work| async move {
        let message = ddl::set_options(&work.engine, alter, &work.reach()).await?;
        Ok(work.done(None, message))
    })
    .await
}

/// Whether the caller may know how many rows there are: REFRESH and OPTIMIZE work on all of them, whoever asks for it.
fn sees_whole(work: &Work, relation: &str) -> bool {
    work.viewer.sees_whole(&work.engine.catalog.snapshot(), relation)
}

pub(super) fn context(work: &Work) -> CommandContext {
    CommandContext {
        query_id: work.query_id.clone(),
        cancel: work.cancel.clone(),
        progress: work.progress.clone().unwrap_or_else(|| Arc::new(Silent)),
        reach: work.reach(),
        task: work.task.clone(),
    }
}

/// Sum of a number column of a report.
fn total(report: &RecordBatch, column: &str) -> u64 {
    let Some(column) = report.column_by_name(column) else { return 0 };
    let Some(numbers) = column.as_primitive_opt::<Int64Type>() else { return 0 };
    numbers.iter().flatten().filter_map(|number| u64::try_from(number).ok()).sum()
}

/// Runs `change` in a task of its own and waits for its end.
async fn to_end<F, R>(work: &mut Work, turn: Turn, change: F) -> Result<Answer, QueryError>
where
    F: FnOnce(Work) -> R + Send + 'static,
    R: Future<Output = Result<Answer, QueryError>> + Send,
{
    work.engine.lake.check_writable()?;
    let (cancel, limit) = (work.cancel.clone(), work.limit);
    let permit = match turn {
        Turn::Skipped => None,
        Turn::Needed => Some(super::within(cancel.clone(), limit, work.engine.admission.enter(&work.whose)).await?),
    };
    work.enter(State::Running);
    let inner = work.without_watch();
    let (report, mut reported) = oneshot::channel();
    let tasks = work.engine.tasks.clone();
    tasks.spawn("statement", async move {
        let outcome = change(inner).await;
        drop(permit);
        // A caller that is gone does not need to know.
        let _ = report.send(outcome);
    });
    let mut in_time = true;
    let outcome = tokio::select! {
        ended = &mut reported => ended,
        () = tokio::time::sleep_until(limit.deadline) => {
            in_time = false;
            cancel.cancel();
            reported.await
        }
    };
    let outcome = outcome.unwrap_or_else(|_| {
        Err(QueryError::Internal { message: "the statement hit a bug; look into the log".to_owned() })
    });
    match outcome {
        Err(error) if !in_time && error.kind() == Kind::Cancelled => Err(limit.error()),
        Ok(answer) => {
            if let (Outcome::Done { rows: Some(rows), .. }, Some(watch)) = (&answer.outcome, &work.watch) {
                watch.add_rows(*rows);
            }
            Ok(answer)
        }
        other => other,
    }
}

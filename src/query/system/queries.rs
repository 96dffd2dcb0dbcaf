//! `system.queries`: statements running now and finished lately, in this process, newest first.

use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::rows::{batch, flags, moment, moments, numbers, texts};
use crate::query::QueryError;
use crate::query::engine::Inner;
use crate::query::running::State;
use crate::query::viewer::Viewer;

pub(super) fn schema() -> SchemaRef {
    super::rows::schema(&[
        ("query_id", DataType::Utf8),
        ("session_id", DataType::Utf8),
        ("user_name", DataType::Utf8),
        ("origin", DataType::Utf8),
        ("state", DataType::Utf8),
        ("started_at", moment()),
        ("elapsed_ms", DataType::Int64),
        ("is_slow", DataType::Boolean),
        ("rows", DataType::Int64),
        ("error_kind", DataType::Utf8),
        ("error", DataType::Utf8),
        ("sql", DataType::Utf8),
        ("plan_digest", DataType::Utf8),
    ])
}

/// Only statements that are the viewer's to know.
pub(super) fn rows(engine: &Inner, viewer: &Viewer) -> Result<RecordBatch, QueryError> {
    let mut all = engine.registry.list();
    all.retain(|run| viewer.may_see_run(run));
    let states: Vec<State> = all.iter().map(|run| run.state()).collect();
    let kinds = states.iter().map(|state| match state {
        State::Failed(kind) => Some(kind.as_str()),
        State::Waiting | State::Planning | State::Running | State::Done => None,
    });
    batch(
        schema(),
        vec![
            texts(all.iter().map(|run| Some(&run.id.0))),
            texts(all.iter().map(|run| Some(&run.session_id))),
            texts(all.iter().map(|run| Some(&run.user))),
            texts(all.iter().map(|run| Some(run.origin.as_str()))),
            texts(states.iter().map(|state| Some(state.as_str()))),
            moments(all.iter().map(|run| Some(run.started_at))),
            numbers(all.iter().map(|run| u64::try_from(run.elapsed().as_millis()).ok())),
            flags(all.iter().map(|run| Some(engine.registry.is_slow(run.elapsed())))),
            numbers(all.iter().map(|run| Some(run.rows()))),
            texts(kinds),
            texts(all.iter().map(|run| run.error())),
            texts(all.iter().map(|run| Some(&run.sql))),
            texts(all.iter().map(|run| run.plan.get())),
        ],
    )
}

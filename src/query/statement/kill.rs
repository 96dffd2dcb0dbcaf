//! `KILL QUERY id`: ends a statement that runs in this process, at the wish of its caller or of who may administer.
//!
//! A statement that the caller may not end is answered like one that does not exist. The killed one ends as every cancelled
//! one does: its client reads CANCELLED and why, a change is either committed or not made.

use super::Work;
use crate::query::running::{Found, Principal, Run, State};
use crate::query::viewer::Viewer;
use crate::query::{Answer, QueryError, QueryId};

/// Returns when the statement is told; it may take a moment to end.
pub(super) fn kill(work: &mut Work, query_id: &str) -> Result<Answer, QueryError> {
    work.enter(State::Running);
    let not_found = || QueryError::NotFound {
        message: format!("statement '{query_id}' not found; system.queries has those that run in this process"),
    };
    match work.engine.registry.find(&QueryId(query_id.to_owned())) {
        Some(Found { run, .. }) if !may_end(&work.viewer, &run) => Err(not_found()),
        Some(Found { run, is_running: true }) => {
            run.kill();
            tracing::info!(query_id, user = run.user, by = work.viewer.user(), "statement killed");
            Ok(work.done(None, format!("statement {query_id} is told to end")))
        }
        Some(Found { run, is_running: false }) => {
            Err(QueryError::Ended { query_id: query_id.to_owned(), state: run.state().as_str() })
        }
        None => Err(not_found()),
    }
}

fn may_end(viewer: &Viewer, run: &Run) -> bool {
    viewer
        .caller()
        .is_none_or(|access| access.may_administer() || run.caller.as_ref() == Some(&Principal::of(access.identity())))
}

//! `POST /v1/sql`: one statement with its parameters.
//!
//! Body: `{"sql": "SELECT … WHERE ad_id = $1", "params": ["7"]}`, or `{"sql": "… $ad", "params": {"ad": "7"}}`. Rows come
//! back in the form `Accept` asks for (see `reply`); statements that change something answer `{"rows":n,"message":…}`
//! in JSON whatever `Accept` says. There is no session behind HTTP, so `SET` is refused rather than forgotten; how old rows of
//! views may be is a header of the request (see `staleness`).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::observe::RequestId;
use super::problem::Problem;
use super::reply::{self, Head};
use super::row_encoder::JsonShape;
use super::{Shared, accept, body, gate, params, query_string, staleness};
use crate::base::Kind;
use crate::catalog::{Statement, parse_statement};
use crate::query::{self, Origin, Outcome};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SqlBody<'a> {
    sql: String,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

pub async fn post(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    query_string::refuse_all(parts.uri.query())?;
    let format = accept::negotiate(&parts.headers)?;
    body::content_type(&parts.headers, &["application/json"])?;
    let received = body::read(&parts.headers, body, &shared.bodies).await?;
    let body: SqlBody<'_> = serde_json::from_slice(&received.bytes).map_err(|error| {
        Problem::invalid(format!("the body is not {{\"sql\": text, \"params\": array or object}}: {error}"))
    })?;
    let params = match body.params {
        Some(raw) => params::read(raw)?,
        None => query::Params::None,
    };
    refuse_set(&body.sql)?;

    let request_id = parts.extensions.get::<RequestId>().cloned().unwrap_or_else(|| RequestId("".into()));
    let session = gate::session(&parts, &request_id.0, Origin::Http)?;
    staleness::allow(&session, &parts.headers)?;
    let answer =
        shared.parts.engine.execute(query::Request { params, ..query::Request::new(body.sql, &session) }).await?;
    let head = Head { query_id: answer.query_id, data_as_of: answer.data_as_of, request_id };
    match answer.outcome {
        Outcome::Rows(stream) => reply::rows(head, stream, format, JsonShape::Table).await,
        Outcome::Done { rows, message } => reply::done(&head, rows, &message, answer.details.as_ref()),
    }
}

/// A setting would live as long as the request: saying "done" would be a lie.
fn refuse_set(sql: &str) -> Result<(), Problem> {
    let starts_with_set = sql.trim_start().get(..3).is_some_and(|word| word.eq_ignore_ascii_case("set"));
    if starts_with_set && matches!(parse_statement(sql), Ok(Statement::Set { .. })) {
        let detail = "SET has no effect here: an HTTP request has no session; use Flight SQL or the REPL, or, for \
                      adlake.max_staleness, the header adlake-max-staleness";
        return Err(Problem::new(Kind::Unimplemented, detail));
    }
    Ok(())
}

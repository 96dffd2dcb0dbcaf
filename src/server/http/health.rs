//! `/`, `/healthz`, `/readyz` and `/metrics`: for people looking around and machines watching.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::problem::Problem;
use super::{Shared, gate};
use crate::base::Kind;
use crate::telemetry::metrics;

/// Longest wait for the store to answer a readiness probe.
const READY_TIMEOUT: Duration = Duration::from_secs(5);
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The process lives and answers.
pub async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// Statements can be answered: the lake is reachable and the server is not stopping.
pub async fn readyz(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, Problem> {
    if shared.parts.tasks.is_stopping() {
        return Err(Problem::new(Kind::Unavailable, "the server is stopping"));
    }
    match tokio::time::timeout(READY_TIMEOUT, (shared.parts.ready)()).await {
        Ok(Ok(())) => Ok(Json(json!({ "status": "ready" }))),
        Ok(Err(reason)) => Err(Problem::new(Kind::Unavailable, format!("not ready: {reason}"))),
        Err(_) => {
            let seconds = READY_TIMEOUT.as_secs();
            Err(Problem::new(Kind::Unavailable, format!("not ready: the lake did not answer within {seconds} s")))
        }
    }
}

/// Labels name tables and views: for those who maintain them.
pub async fn metrics_text(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, Problem> {
    let access = gate::access(&shared, &request.into_parts().0)?;
    if access.is_some_and(|access| !access.is_engineer()) {
        return Err(Problem::new(Kind::PermissionDenied, "metrics need role engineer"));
    }
    let text = metrics().render().map_err(|_| Problem::new(Kind::Internal, "cannot print the metrics"))?;
    Ok(([(CONTENT_TYPE, OPENMETRICS)], text).into_response())
}

/// What is here.
pub async fn index(State(shared): State<Arc<Shared>>, request: Request) -> Result<Json<Value>, Problem> {
    let access = gate::access(&shared, &request.into_parts().0)?;
    let may_call = |name: &str| access.as_ref().is_none_or(|access| access.may_call(name));
    let table = shared.endpoints.table(&shared.parts.catalog);
    let callable = table.all().filter(|endpoint| may_call(&endpoint.name));
    let endpoints: Vec<Value> =
        callable.map(|endpoint| json!({ "name": endpoint.name, "path": endpoint.path.text() })).collect();
    Ok(Json(json!({
        "service": "adlake",
        "version": env!("CARGO_PKG_VERSION"),
        "routes": {
            "POST /v1/sql": "one SQL statement: {\"sql\": …, \"params\": …}; JSON, NDJSON, CSV or Arrow by Accept",
            "POST /v1/tables/{table}/rows": "rows as NDJSON or a JSON array",
            "GET /openapi.json": "description of everything here",
            "GET /healthz": "the process lives",
            "GET /readyz": "statements can be answered",
            "GET /metrics": "OpenMetrics",
        },
        "endpoints": endpoints,
    })))
}

//! `POST /v1/tables/{table}/rows`: rows in, committed before the reply (ACK-1).
//!
//! The append runs as a task of its own: a client that goes away does not stop it half-way, and sending the same rows
//! again is counted as duplicates (DED-1).

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::oneshot;

use super::problem::Problem;
use super::{Shared, body, query_string};
use crate::base::Kind;
use crate::ingest::{AppendReport, AppendRequest, Payload};

const NDJSON: &str = "application/x-ndjson";
const JSON: &str = "application/json";

/// What became of the rows of one request.
#[derive(Serialize)]
pub struct Report {
    accepted: u64,
    duplicates: u64,
    rejected: Vec<Rejected>,
    /// Table version that holds the accepted rows.
    version: u64,
}

#[derive(Serialize)]
struct Rejected {
    line: u64,
    field: Option<String>,
    reason: String,
}

impl From<AppendReport> for Report {
    fn from(report: AppendReport) -> Self {
        let rejected = report.rejected.into_iter();
        Self {
            accepted: report.accepted,
            duplicates: report.duplicates,
            rejected: rejected.map(|row| Rejected { line: row.line, field: row.field, reason: row.reason }).collect(),
            version: report.version.0,
        }
    }
}

pub async fn post(
    State(shared): State<Arc<Shared>>,
    Path(table): Path<String>,
    request: Request<Body>,
) -> Result<Json<Report>, Problem> {
    let (parts, body) = request.into_parts();
    // Before the body: a misspelt table should not cost an upload.
    let format = match check(&shared, &table, &parts) {
        Ok(format) => format,
        Err(problem) => {
            body::refuse(body).await;
            return Err(problem);
        }
    };
    let received = body::read(&parts.headers, body, &shared.bodies).await?;

    let (tell, told) = oneshot::channel();
    let ingestor = shared.parts.ingestor.clone();
    shared.parts.tasks.spawn("http append", async move {
        let payload = format(received.bytes.clone());
        let request = AppendRequest { table, payload, producer: None, on_bad_row: None, source: "http" };
        let outcome = ingestor.append(request).await;
        drop(received);
        // The receiver is gone when the client is; the rows are committed all the same.
        let _ = tell.send(outcome);
    });
    let outcome = told.await.map_err(|_| Problem::new(Kind::Internal, "appending the rows failed; send them again"))?;
    Ok(Json(outcome?.into()))
}

fn check(shared: &Shared, table: &str, parts: &Parts) -> Result<fn(Bytes) -> Payload, Problem> {
    query_string::refuse_all(parts.uri.query())?;
    shared.parts.catalog.snapshot().relation(table)?;
    match body::content_type(&parts.headers, &[NDJSON, JSON])? {
        NDJSON => Ok(Payload::Ndjson),
        _ => Ok(Payload::JsonArray),
    }
}

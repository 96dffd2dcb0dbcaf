//! `POST /v1/tables/{table}/rows`: rows in, committed before the reply (ACK-1).
//!
//! The append runs as a task of its own: a client that goes away does not stop it half-way, and sending the same rows
//! again is counted as duplicates (DED-1).
//!
//! | | |
//! |---|---|
//! | body | NDJSON, a JSON array of objects, or one JSON object |
//! | `Adlake-Producer-Id`, `Adlake-Sequence` | a numbered request: repeated, it gets the first one's answer, `replayed` |
//! | `?on_bad_row=reject\|fail` | a bad row is left out, or refuses the request; without it, as the table says |

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::oneshot;

use super::problem::Problem;
use super::{Shared, body, gate, query_string};
use crate::base::{Classify, Kind};
use crate::ingest::{AppendReport, AppendRequest, OnBadRow, Payload, Producer};
use crate::server::audit::Noted;

const NDJSON: &str = "application/x-ndjson";
const JSON: &str = "application/json";
pub const PRODUCER_ID: &str = "adlake-producer-id";
pub const SEQUENCE: &str = "adlake-sequence";
pub const ON_BAD_ROW: &str = "on_bad_row";

/// What became of the rows of one request.
#[derive(Serialize)]
pub struct Report {
    accepted: u64,
    duplicates: u64,
    rejected: Vec<Rejected>,
    /// Table version that holds the accepted rows.
    version: u64,
    /// The producer sent this before: this is what it was answered then.
    replayed: bool,
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
            replayed: report.replayed,
        }
    }
}

pub async fn post(
    State(shared): State<Arc<Shared>>,
    Path(table): Path<String>,
    request: Request<Body>,
) -> Result<Json<Report>, Problem> {
    let (parts, body) = request.into_parts();
    let noted = Noted::begin(&shared.parts.gate, gate::caller(&parts)?, gate::address(&parts), "http");
    noted.about(&table);
    let failed = |problem: &Problem| noted.ended(Err(problem.kind()));
    // Before the body: a misspelt table should not cost an upload.
    let asked = match may_insert(&shared, &table, &parts).and_then(|()| check(&shared, &table, &parts)) {
        Ok(asked) => asked,
        Err(problem) => {
            failed(&problem);
            body::refuse(body).await;
            return Err(problem);
        }
    };
    let received = body::read(&parts.headers, body, &shared.bodies).await.inspect_err(failed)?;

    let (tell, told) = oneshot::channel();
    let ingestor = shared.parts.ingestor.clone();
    shared.parts.tasks.spawn("http append", async move {
        let Asked { format, producer, on_bad_row } = asked;
        let payload = format(received.bytes.clone());
        let outcome = ingestor.append(AppendRequest { table, payload, producer, on_bad_row, source: "http" }).await;
        drop(received);
        noted.ended(outcome.as_ref().map(|report| report.accepted).map_err(Classify::kind));
        // The receiver is gone when the client is; the rows are committed all the same.
        let _ = tell.send(outcome);
    });
    let outcome = told.await.map_err(|_| Problem::new(Kind::Internal, "appending the rows failed; send them again"))?;
    let here = parts.uri.path_and_query().map_or("", |path| path.as_str());
    outcome.map(|report| Json(report.into())).map_err(|error| Problem::from(error).redirected(here))
}

fn may_insert(shared: &Shared, table: &str, parts: &Parts) -> Result<(), Problem> {
    let catalog = shared.parts.catalog.snapshot();
    Ok(shared.parts.gate.check_insert(gate::caller(parts)?, table, &catalog)?)
}

/// What the head of a request says.
struct Asked {
    format: fn(Bytes) -> Payload,
    producer: Option<Producer>,
    on_bad_row: Option<OnBadRow>,
}

fn check(shared: &Shared, table: &str, parts: &Parts) -> Result<Asked, Problem> {
    let on_bad_row = on_bad_row(parts.uri.query())?;
    shared.parts.catalog.snapshot().relation(table)?;
    let format: fn(Bytes) -> Payload = match body::content_type(&parts.headers, &[NDJSON, JSON])? {
        NDJSON => Payload::Ndjson,
        _ => Payload::JsonArray,
    };
    Ok(Asked { format, producer: producer(&parts.headers)?, on_bad_row })
}

fn on_bad_row(query: Option<&str>) -> Result<Option<OnBadRow>, Problem> {
    let mut wish = None;
    for (name, value) in query_string::parse(query)? {
        if name != ON_BAD_ROW {
            return Err(query_string::unknown(&name, &[ON_BAD_ROW]));
        }
        wish = Some(match value.as_str() {
            "reject" => OnBadRow::Reject,
            "fail" => OnBadRow::Fail,
            _ => {
                return Err(Problem::parameter(ON_BAD_ROW, format!("{ON_BAD_ROW} is '{value}'; it is reject or fail")));
            }
        });
    }
    Ok(wish)
}

fn producer(headers: &HeaderMap) -> Result<Option<Producer>, Problem> {
    let text = |name: &str| match headers.get(name).map(HeaderValue::to_str) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text.trim())),
        Some(Err(_)) => Err(Problem::parameter(name, format!("header {name} is not plain ASCII"))),
    };
    let (id, sequence) = match (text(PRODUCER_ID)?, text(SEQUENCE)?) {
        (None, None) => return Ok(None),
        (Some(id), Some(sequence)) => (id, sequence),
        (Some(_), None) => return Err(missing(SEQUENCE, PRODUCER_ID)),
        (None, Some(_)) => return Err(missing(PRODUCER_ID, SEQUENCE)),
    };
    let sequence: i64 = sequence.parse().map_err(|_| {
        Problem::parameter(SEQUENCE, format!("header {SEQUENCE} is '{sequence}', not a whole number of 64 bits"))
    })?;
    Ok(Some(Producer::new(id, sequence)?))
}

fn missing(absent: &str, present: &str) -> Problem {
    Problem::parameter(absent, format!("header {present} needs header {absent} beside it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &'static str)]) -> Result<Option<Producer>, Problem> {
        let headers = pairs
            .iter()
            .map(|(name, value)| (axum::http::HeaderName::from_static(name), HeaderValue::from_static(value)));
        producer(&headers.collect())
    }

    #[test]
    fn a_producer_has_an_id_and_a_number() {
        assert_eq!(read(&[]).unwrap(), None);
        let both = read(&[(PRODUCER_ID, "edge-1"), (SEQUENCE, "7")]).unwrap();
        assert_eq!(both, Some(Producer { id: "edge-1".into(), sequence: 7 }));
        for (pairs, says) in [
            (&[(PRODUCER_ID, "a")][..], "needs header adlake-sequence"),
            (&[(SEQUENCE, "1")], "needs header adlake-producer-id"),
            (&[(PRODUCER_ID, "a"), (SEQUENCE, "-1")], "sequence is -1"),
            (&[(PRODUCER_ID, "a"), (SEQUENCE, "1.5")], "not a whole number"),
            (&[(PRODUCER_ID, "a b"), (SEQUENCE, "1")], "producer id must be"),
        ] {
            let problem = read(pairs).unwrap_err();
            assert!(problem.detail().contains(says), "{}", problem.detail());
        }
    }

    #[test]
    fn what_a_bad_row_does_is_asked_in_the_query() {
        assert_eq!(on_bad_row(None).unwrap(), None);
        assert_eq!(on_bad_row(Some("on_bad_row=fail")).unwrap(), Some(OnBadRow::Fail));
        assert!(on_bad_row(Some("on_bad_row=ignore")).unwrap_err().detail().contains("reject or fail"));
        assert!(on_bad_row(Some("on_bad_rows=fail")).unwrap_err().detail().contains("did you mean 'on_bad_row'?"));
    }
}

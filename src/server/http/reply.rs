//! An answer of the engine as a streamed HTTP reply.
//!
//! ```text
//! first batch ─ error ─► problem with its own status (nothing was sent yet)
//!      │
//!      ▼
//! 200 + head ─► batch ─► batch ─► … ─► tail
//!                          └ error ─► NDJSON: a last line {"error":{…}}; the other forms: the transfer breaks off
//! ```
//!
//! The stream is dropped when the client goes away, which cancels the query. Nothing is collected: at most one batch of
//! the engine and its encoded piece are in memory.

use std::collections::VecDeque;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use datafusion::common::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use serde_json::{Map, Value, json};

use super::accept::Format;
use super::observe::RequestId;
use super::problem::Problem;
use super::row_encoder::{JsonShape, RowEncoder};
use crate::base::{Kind, Timestamp};
use crate::query::QueryId;
use crate::server::encode::{wire_batch, wire_schema};
use crate::server::error::Fault;
use crate::telemetry::metrics;

pub const QUERY_ID: HeaderName = HeaderName::from_static("adlake-query-id");
pub const DATA_AS_OF: HeaderName = HeaderName::from_static("adlake-data-as-of");

/// Rows encoded at a time, so that one reply does not hold a thread for long.
const SLICE_ROWS: usize = 1024;

/// What is known of an answer before its rows.
pub struct Head {
    pub query_id: QueryId,
    pub data_as_of: Timestamp,
    pub request_id: RequestId,
}

impl Head {
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_str(&self.query_id.0) {
            headers.insert(QUERY_ID, value);
        }
        if let Ok(value) = HeaderValue::from_str(&self.data_as_of.to_string()) {
            headers.insert(DATA_AS_OF, value);
        }
        headers
    }

    /// Members before the rows in JSON.
    fn members(&self, shape: JsonShape) -> Value {
        match shape {
            JsonShape::Table => {
                json!({ "query_id": self.query_id.0, "data_as_of": self.data_as_of.to_string() })
            }
            JsonShape::Objects => Value::Object(Map::new()),
        }
    }
}

/// Streams the rows in `format`. An error before the first batch is a problem with its own status.
pub async fn rows(
    head: Head,
    mut stream: SendableRecordBatchStream,
    format: Format,
    shape: JsonShape,
) -> Result<Response, Problem> {
    let schema = wire_schema(&stream.schema());
    let encoder = RowEncoder::new(format, schema.clone(), shape, head.members(shape));
    let encoder = encoder.map_err(|error| Problem::parameter("accept", error.to_string()))?;
    let first = stream.next().await.transpose().map_err(|error| Problem::from(Fault::from(error)))?;
    let headers = head.headers();
    let state = Streaming {
        stream,
        schema,
        encoder,
        format,
        request_id: head.request_id,
        waiting: VecDeque::new(),
        stage: Stage::Begin(first),
    };
    let pieces = futures::stream::unfold(state, |mut state| async move {
        let item = state.next().await?;
        Some((item, state))
    });
    // Compression polls once more after the end.
    let body = Body::from_stream(pieces.fuse());
    let mut response = (headers, body).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    Ok(response)
}

struct Streaming {
    stream: SendableRecordBatchStream,
    schema: SchemaRef,
    encoder: RowEncoder,
    format: Format,
    request_id: RequestId,
    /// Slices of the batch being sent.
    waiting: VecDeque<RecordBatch>,
    stage: Stage,
}

enum Stage {
    Begin(Option<RecordBatch>),
    Rows,
    Ended,
}

impl Streaming {
    /// The next piece of the body; an error breaks the transfer off.
    async fn next(&mut self) -> Option<Result<Bytes, std::io::Error>> {
        match self.piece().await {
            Ok(Some(bytes)) => Some(Ok(bytes)),
            Ok(None) => None,
            Err(error) => {
                self.stage = Stage::Ended;
                Some(self.broken(error))
            }
        }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, DataFusionError> {
        if let Stage::Begin(first) = &mut self.stage {
            let first = first.take();
            let begin = self.encoder.begin()?;
            self.stage = Stage::Rows;
            match first {
                Some(batch) => self.slice(&batch)?,
                None => return self.finish(begin),
            }
            if !begin.is_empty() {
                return Ok(Some(begin));
            }
        }
        loop {
            if let Some(batch) = self.waiting.pop_front() {
                return Ok(Some(self.encoder.batch(&batch)?));
            }
            if matches!(self.stage, Stage::Ended) {
                return Ok(None);
            }
            match self.stream.next().await.transpose()? {
                Some(batch) => self.slice(&batch)?,
                None => return self.finish(Bytes::new()),
            }
        }
    }

    fn finish(&mut self, before: Bytes) -> Result<Option<Bytes>, DataFusionError> {
        self.stage = Stage::Ended;
        let end = self.encoder.end()?;
        let all = if before.is_empty() { end } else { [before, end].concat().into() };
        Ok((!all.is_empty()).then_some(all))
    }

    fn slice(&mut self, batch: &RecordBatch) -> Result<(), DataFusionError> {
        let batch = wire_batch(batch, &self.schema)?;
        let rows = batch.num_rows();
        // Arrow batches go out as they are: cutting them up would only cost the client.
        let step = if self.format == Format::Arrow { rows.max(1) } else { SLICE_ROWS };
        let starts = (0..rows).step_by(step);
        self.waiting.extend(starts.map(|start| batch.slice(start, step.min(rows - start))));
        Ok(())
    }

    fn broken(&self, error: DataFusionError) -> Result<Bytes, std::io::Error> {
        let problem = Problem::from(Fault::from(error));
        metrics().count(
            "http_replies_broken",
            "Replies that failed after their first row",
            &[("kind", problem.kind().as_str())],
            1,
        );
        tracing::warn!(request_id = %self.request_id.0, kind = %problem.kind(), detail = problem.detail(), "reply broken off");
        match self.format {
            Format::Ndjson => {
                let mut line = json!({ "error": problem.document(&self.request_id.0) }).to_string();
                line.push('\n');
                Ok(line.into())
            }
            Format::Json | Format::Csv | Format::Arrow => Err(std::io::Error::other(problem.detail().to_owned())),
        }
    }
}

/// Collects at most two rows, for replies that are one object.
pub async fn single(mut stream: SendableRecordBatchStream) -> Result<Vec<RecordBatch>, Problem> {
    let schema = wire_schema(&stream.schema());
    let mut rows = Vec::new();
    while rows.len() < 2 {
        let Some(batch) = stream.next().await else { break };
        let batch = batch.and_then(|batch| Ok(wire_batch(&batch, &schema)?));
        let batch = batch.map_err(|error| Problem::from(Fault::from(error)))?;
        rows.extend((0..batch.num_rows().min(2)).map(|row| batch.slice(row, 1)));
    }
    Ok(rows)
}

/// The reply to a statement that changed something: `{"rows":n,"message":…}`, with `"details":[{…}]` where there are some
/// (COPY: one object per file).
pub fn done(head: &Head, rows: Option<u64>, message: &str, details: Option<&RecordBatch>) -> Result<Response, Problem> {
    let mut document = json!({
        "rows": rows,
        "message": message,
        "query_id": head.query_id.0,
        "data_as_of": head.data_as_of.to_string(),
    });
    if let Some(batch) = details {
        let mut writer = arrow::json::ArrayWriter::new(Vec::new());
        writer.write(batch).and_then(|()| writer.finish()).map_err(|error| unencodable(&error))?;
        document["details"] = serde_json::from_slice(&writer.into_inner())
            .map_err(|error| Problem::new(Kind::Internal, format!("cannot encode the answer: {error}")))?;
    }
    let mut response = (head.headers(), document.to_string()).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(Format::Json.media_type()));
    Ok(response)
}

/// One finished JSON document.
pub fn document(head: &Head, bytes: Bytes) -> Response {
    let mut response = (head.headers(), bytes).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(Format::Json.media_type()));
    response
}

/// For encoding failures outside a stream.
pub fn unencodable(error: &arrow::error::ArrowError) -> Problem {
    Problem::new(Kind::Internal, format!("cannot encode the answer: {error}"))
}

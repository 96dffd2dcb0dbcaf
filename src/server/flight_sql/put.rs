//! Plain Flight `DoPut` with a descriptor of type PATH, `[table]`: every record batch is one append, answered by a `PutResult`.
//!
//! The `app_metadata` of a batch may be JSON; all its members are optional:
//! `{"request_id": 7, "producer_id": "edge-1", "sequence": 12, "on_bad_row": "reject" | "fail"}`.
//! The answer's `app_metadata` is JSON:
//! `{"request_id", "accepted", "duplicates", "rejected": [{"row", "field", "reason"}], "version", "replayed"}`, or
//! `{"request_id", "error": {"code", "kind", "message", "retry_after_ms", "owner"}}` when nothing of the batch was taken.
//!
//! - Answers come when rows are committed (ACK-1), in the order of commits; batches of one producer in the order sent.
//! - A batch that came with `app_metadata` is answered, in error too, and the call goes on. A bad batch without any ends the
//!   call with its error, so that a client that does not read answers still learns of it when it closes.
//! - Columns go by name; large, view, dictionary and narrower types are cast. Every batch is committed by itself: for all or
//!   nothing use `CommandStatementIngest` (`bulk`).

use super::error::invalid;
use super::service::Service;
use super::upload;
use super::{CATALOG, PUBLIC};
use crate::base::Span;
use crate::ingest::{AppendReport, AppendRequest, OnBadRow, Payload, Producer};
use crate::server::appends::{Answer, Incoming};
use crate::server::audit::Noted;
use crate::server::error::{Fault, status_of};
use arrow::record_batch::RecordBatch;
use arrow_flight::decode::{DecodedFlightData, DecodedPayload};
use arrow_flight::flight_descriptor::DescriptorType;
use arrow_flight::sql::server::PeekableFlightDataStream;
use arrow_flight::{FlightData, FlightDescriptor, PutResult};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use std::pin::Pin;
use tonic::{Request, Response, Status};

type PutResults = Pin<Box<dyn Stream<Item = Result<PutResult, Status>> + Send>>;

/// What a client says about a batch.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    #[serde(default)]
    request_id: u64,
    producer_id: Option<String>,
    sequence: Option<i64>,
    on_bad_row: Option<Wish>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wish {
    Reject,
    Fail,
}

/// What an answer needs to know of its batch.
struct Tag {
    request_id: u64,
    /// Whether the client looks at answers.
    listens: bool,
}

#[derive(Serialize)]
struct Accepted {
    request_id: u64,
    accepted: u64,
    duplicates: u64,
    rejected: Vec<Rejected>,
    version: u64,
    replayed: bool,
}

#[derive(Serialize)]
struct Rejected {
    row: u64,
    field: Option<String>,
    reason: String,
}

#[derive(Serialize)]
struct Refused {
    request_id: u64,
    error: Reason,
}

#[derive(Serialize)]
struct Reason {
    /// gRPC status code.
    code: i32,
    kind: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
}

impl Service {
    /// Appends the batches of a call to the table its descriptor names.
    pub(super) async fn put(
        &self,
        request: Request<PeekableFlightDataStream>,
        message_bytes_max: usize,
    ) -> Result<Response<PutResults>, Status> {
        let session = self.sessions().of(&request)?;
        let mut messages = request.into_inner();
        let descriptor = match messages.peek().await {
            Some(Ok(first)) => first.flight_descriptor.clone().unwrap_or_default(),
            Some(Err(status)) => return Err(status.clone()),
            None => return Err(invalid("DoPut without a message")),
        };
        let table = table_of(&descriptor)?;
        // Before the rows: a misspelt table should not cost an upload.
        self.check_insert(&session, &table)?;
        super::batch_insert::table_columns(self.catalog(), &table)?;
        let service = self.clone();
        let incoming = upload::decoded(messages, message_bytes_max).try_filter_map(move |decoded| {
            let next = match decoded {
                DecodedFlightData { inner, payload: DecodedPayload::RecordBatch(batch) } => {
                    Some(incoming((&table, service.noted(&session, &table)), &inner, batch))
                }
                _ => None,
            };
            futures::future::ok(next)
        });
        let answers = self.appends().many(incoming.boxed());
        Ok(Response::new(Box::pin(answers.map(|answer| answer.and_then(put_result)))))
    }
}

/// The one table a descriptor names: `[table]`, or with catalog and schema before it.
fn table_of(descriptor: &FlightDescriptor) -> Result<String, Status> {
    let path: Vec<&str> = descriptor.path.iter().map(String::as_str).collect();
    match (descriptor.r#type(), path.as_slice()) {
        (DescriptorType::Path, [table] | [PUBLIC, table] | [CATALOG, PUBLIC, table]) if !table.is_empty() => {
            Ok((*table).to_owned())
        }
        _ => Err(invalid(
            "DoPut begins with a Flight SQL command, or with a descriptor of type PATH that names one table: [table]",
        )),
    }
}

fn incoming((table, noted): (&str, Noted), message: &FlightData, batch: RecordBatch) -> Incoming<Tag> {
    let note = note(&message.app_metadata);
    let request_id = note.as_ref().map_or(0, |note| note.request_id);
    let tag = Tag { request_id, listens: !message.app_metadata.is_empty() };
    let bytes = message.data_body.len().max(batch.get_array_memory_size());
    let table = table.to_owned();
    Incoming { tag, bytes, noted, decode: Box::new(move || request(table, note?, batch)) }
}

fn note(app_metadata: &Bytes) -> Result<Note, Fault> {
    if app_metadata.is_empty() {
        return Ok(Note::default());
    }
    serde_json::from_slice(app_metadata).map_err(|error| {
        let wanted = r#"{"request_id": 1, "producer_id": "…", "sequence": 0, "on_bad_row": "reject"}"#;
        Fault::invalid(format!("app_metadata of a batch is not JSON such as {wanted}: {error}"))
    })
}

fn request(table: String, note: Note, batch: RecordBatch) -> Result<AppendRequest, Fault> {
    let Note { producer_id, sequence, on_bad_row, .. } = note;
    let producer = match (producer_id, sequence) {
        (None, None) => None,
        (Some(id), Some(sequence)) => Some(Producer::new(&id, sequence).map_err(|error| Fault::from(&error))?),
        (Some(_), None) | (None, Some(_)) => {
            return Err(Fault::invalid("producer_id and sequence go together in app_metadata"));
        }
    };
    let on_bad_row = on_bad_row.map(|wish| match wish {
        Wish::Reject => OnBadRow::Reject,
        Wish::Fail => OnBadRow::Fail,
    });
    Ok(AppendRequest { table, payload: Payload::Arrow(vec![batch]), producer, on_bad_row, source: "flight" })
}

fn put_result(answer: Answer<Tag>) -> Result<PutResult, Status> {
    let Answer { tag: Tag { request_id, listens }, outcome } = answer;
    let json = match outcome {
        Ok(report) => serde_json::to_vec(&accepted(request_id, report)),
        Err(fault) if listens => serde_json::to_vec(&Refused { request_id, error: reason(fault) }),
        Err(fault) => return Err(fault.into_status()),
    };
    let json = json.map_err(|error| super::error::internal(format!("cannot write an answer: {error}")))?;
    Ok(PutResult { app_metadata: json.into() })
}

fn accepted(request_id: u64, report: AppendReport) -> Accepted {
    let AppendReport { accepted, duplicates, rejected, version, replayed } = report;
    let rejected = rejected.into_iter().map(|row| Rejected { row: row.line, field: row.field, reason: row.reason });
    Accepted { request_id, accepted, duplicates, rejected: rejected.collect(), version: version.0, replayed }
}

fn reason(fault: Fault) -> Reason {
    let Fault { kind, message, retry_after, owner, .. } = fault;
    let millis = |span: Span| u64::try_from(span.duration().as_millis()).unwrap_or(u64::MAX);
    Reason {
        code: status_of(kind).grpc as i32,
        kind: kind.as_str(),
        message,
        retry_after_ms: retry_after.map(millis),
        owner: owner.map(|owner| owner.grpc),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(parts: &[&str]) -> FlightDescriptor {
        FlightDescriptor::new_path(parts.iter().map(|part| (*part).to_owned()).collect())
    }

    #[test]
    fn a_path_names_one_table() {
        assert_eq!(table_of(&path(&["clicks"])).unwrap(), "clicks");
        assert_eq!(table_of(&path(&["adlake", "public", "clicks"])).unwrap(), "clicks");
        for wrong in [path(&[]), path(&[""]), path(&["a", "b"]), FlightDescriptor::new_cmd("x")] {
            assert_eq!(table_of(&wrong).unwrap_err().code(), tonic::Code::InvalidArgument);
        }
    }

    #[test]
    fn notes_are_read_strictly() {
        let read = |text: &'static str| note(&Bytes::from_static(text.as_bytes()));
        let full = read(r#"{"request_id": 7, "producer_id": "p", "sequence": 1, "on_bad_row": "fail"}"#).unwrap();
        assert_eq!((full.request_id, full.sequence), (7, Some(1)));
        assert_eq!(read("").unwrap().request_id, 0);
        for wrong in ["7", "{\"request_id\": -1}", "{\"on_bad_row\": \"drop\"}", "{\"sequnce\": 1}", "\u{1}"] {
            assert!(read(wrong).unwrap_err().message.contains("app_metadata"), "{wrong}");
        }
    }
}

//! `adlake.v1.Ingest`: each method decodes, appends and encodes; the work is in `appends`.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tonic::{Extensions, Request, Response, Status, Streaming};

use super::codec::RequestBytes;
use super::decode;
use super::messages::{AppendError, AppendReply, Rejected};
use super::service_trait::ingest_server::Ingest;
use crate::catalog::Catalog;
use crate::ingest::{AppendReport, AppendRequest};
use crate::server::appends::{Answer, Appends, Incoming};
use crate::server::audit::Noted;
use crate::server::error::{Fault, status_of, too_large_message};
use crate::server::gate::{Caller, Gate};
use crate::server::peer::Peer;

/// A compressed Arrow payload may become this many times `flight.max_message_size`.
const EXPANSION_MAX: usize = 8;

pub struct Service {
    appends: Appends,
    plain_bytes_max: usize,
    gate: Gate,
    catalog: Arc<Catalog>,
}

impl Service {
    pub fn new(appends: Appends, message_bytes_max: usize, (gate, catalog): (Gate, Arc<Catalog>)) -> Self {
        Self { appends, plain_bytes_max: message_bytes_max.saturating_mul(EXPANSION_MAX), gate, catalog }
    }

    /// Decodes a message, and refuses it where its caller may not put rows in.
    fn decoder(
        &self,
        caller: &Caller,
    ) -> impl Fn(Bytes, &Noted) -> Result<AppendRequest, Fault> + Clone + Send + use<> {
        let caller = caller.clone();
        let (gate, catalog, limit) = (self.gate.clone(), self.catalog.clone(), self.plain_bytes_max);
        move |bytes, noted| {
            let request = decode::request(bytes, limit)?;
            noted.about(&request.table);
            gate.check_insert(&caller, &request.table, &catalog.snapshot())?;
            Ok(request)
        }
    }
}

/// Whose call it is, and where from.
fn caller_of(extensions: &Extensions) -> (Caller, Option<IpAddr>) {
    let caller = extensions.get().cloned().unwrap_or(Caller::ANYBODY);
    (caller, extensions.get::<Peer>().and_then(Peer::host))
}

type Replies = Pin<Box<dyn Stream<Item = Result<AppendReply, Status>> + Send>>;

#[tonic::async_trait]
impl Ingest for Service {
    type AppendStreamStream = Replies;

    async fn append(&self, request: Request<RequestBytes>) -> Result<Response<AppendReply>, Status> {
        let (caller, address) = caller_of(request.extensions());
        let (decode, noted) = (self.decoder(&caller), Noted::begin(&self.gate, &caller, address, "grpc"));
        let RequestBytes(bytes) = request.into_inner();
        let id = decode::request_id(&bytes);
        let named = noted.clone();
        let outcome = self.appends.one((bytes.len(), noted), move || decode(bytes, &named)).await;
        outcome.map(|report| Response::new(accepted(id, report))).map_err(Fault::into_status)
    }

    async fn append_stream(&self, request: Request<Streaming<RequestBytes>>) -> Result<Response<Replies>, Status> {
        let (caller, address) = caller_of(request.extensions());
        let (decode, gate) = (self.decoder(&caller), self.gate.clone());
        let incoming = request.into_inner().map(move |message| {
            let RequestBytes(bytes) = message.map_err(too_large_message)?;
            let (decode, noted) = (decode.clone(), Noted::begin(&gate, &caller, address, "grpc"));
            let named = noted.clone();
            Ok(Incoming {
                tag: decode::request_id(&bytes),
                bytes: bytes.len(),
                noted,
                decode: Box::new(move || decode(bytes, &named)),
            })
        });
        let answers = self.appends.many(incoming);
        Ok(Response::new(Box::pin(answers.map(|answer| answer.map(reply)))))
    }
}

fn reply(answer: Answer<u64>) -> AppendReply {
    let Answer { tag: request_id, outcome } = answer;
    match outcome {
        Ok(report) => accepted(request_id, report),
        Err(fault) => AppendReply { request_id, error: Some(refused(fault)), ..AppendReply::default() },
    }
}

fn accepted(request_id: u64, report: AppendReport) -> AppendReply {
    let AppendReport { accepted, duplicates, rejected, version, replayed } = report;
    let rejected = rejected.into_iter().map(|row| Rejected { row: row.line, field: row.field, reason: row.reason });
    let rejected = rejected.collect();
    AppendReply { request_id, accepted, duplicates, rejected, version: version.0, replayed, error: None }
}

fn refused(fault: Fault) -> AppendError {
    let Fault { kind, message, retry_after, owner, .. } = fault;
    let millis = |span: crate::base::Span| u64::try_from(span.duration().as_millis()).unwrap_or(u64::MAX);
    AppendError {
        code: status_of(kind).grpc as i32,
        message,
        retry_after_ms: retry_after.map(millis),
        owner: owner.map(|owner| owner.grpc),
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::base::Span;
    use crate::ingest::IngestError;

    #[test]
    fn a_refused_batch_says_when_to_send_it_again() {
        let busy = IngestError::Busy { message: "queue full".into(), retry_after: Span::from_millis(250) };
        let answer = reply(Answer { tag: 5, outcome: Err(Fault::from(&busy)) });
        let error = answer.error.unwrap();
        assert_eq!(
            (answer.request_id, error.code, error.retry_after_ms),
            (5, Code::ResourceExhausted as i32, Some(250))
        );
        let elsewhere =
            IngestError::NotOwner { table: "t".into(), http: "http://h:1".into(), grpc: "grpc://h:2".into() };
        assert_eq!(refused(Fault::from(&elsewhere)).owner.as_deref(), Some("grpc://h:2"));
    }
}

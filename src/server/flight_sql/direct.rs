//! `DoGet` of statements without copying the columns: gRPC frames made of the columns' own buffers.
//!
//! The generated service encodes every message into one contiguous buffer, two copies per result. Results are most of what
//! this server sends, so their `DoGet` is framed here: `[compressed? length] [protobuf fields] [buffer] [buffer] …`, each
//! piece its own HTTP/2 chunk. Everything else (other methods, other tickets, compressed requests) goes to the inner service.
//!
//! Follows the gRPC-over-HTTP/2 framing and `FlightData` of `Flight.proto`: data_header = 2, app_metadata = 3,
//! data_body = 1000, which is last in the message by design, "so it can be sent without copying".

use super::encode::Part;
use super::error::status;
use super::outgoing::Parts;
use super::service::Service;
use super::statements::compression_of;
use super::ticket::StatementTicket;
use crate::base::Kind;
use arrow_flight::Ticket;
use arrow_flight::sql::{Any, TicketStatementQuery};
use axum::body::to_bytes;
use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt;
use futures::future::BoxFuture;
use http_body::Frame;
use prost::Message;
use prost::encoding::encode_varint;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, HeaderValue, Request, Response};
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tonic::{Extensions, Status};

const DO_GET: &str = "/arrow.flight.protocol.FlightService/DoGet";
/// Compression flag and length in front of every gRPC message.
const GRPC_PREFIX_BYTES: usize = 5;
/// Pieces smaller than this (bitmaps, padding) are gathered; copying them is cheaper than a chunk of their own.
const GATHERED_BYTES_MAX: usize = 4 << 10;
/// Protobuf tags, wire type 2 (length-delimited).
const TAG_DATA_HEADER: u64 = 2 << 3 | 2;
const TAG_APP_METADATA: u64 = 3 << 3 | 2;
const TAG_DATA_BODY: u64 = 1000 << 3 | 2;

/// The Flight service with its own `DoGet` for statements.
#[derive(Clone)]
pub(super) struct Direct<S> {
    inner: S,
    service: Service,
    request_bytes_max: usize,
}

impl<S> Direct<S> {
    pub fn new(inner: S, service: Service, request_bytes_max: usize) -> Self {
        Self { inner, service, request_bytes_max }
    }
}

impl<S: NamedService> NamedService for Direct<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> tower::Service<Request<Body>> for Direct<S>
where
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.uri().path() != DO_GET {
            return Box::pin(self.inner.call(request));
        }
        let (service, limit) = (self.service.clone(), self.request_bytes_max);
        // The clone is the one that was not polled ready; the services below are always ready.
        let mut inner = self.inner.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let Ok(bytes) = to_bytes(axum::body::Body::new(body), limit).await else {
                let refused = status(Kind::ResourceExhausted, format!("a ticket of more than {limit} bytes"));
                return Ok(refused.into_http());
            };
            let Some(ticket) = statement_ticket(&bytes) else {
                let body = Body::new(axum::body::Body::from(bytes));
                return inner.call(Request::from_parts(head, body)).await;
            };
            let mut call =
                tonic::Request::from_parts(MetadataMap::from_headers(head.headers), Extensions::default(), ());
            *call.extensions_mut() = head.extensions;
            Ok(match answer(&service, &call, &ticket).await {
                Ok(parts) => respond(parts),
                Err(status) => status.into_http(),
            })
        })
    }
}

async fn answer(service: &Service, call: &tonic::Request<()>, ticket: &TicketStatementQuery) -> Result<Parts, Status> {
    let session = service.sessions().of(call)?;
    let compression = compression_of(call.metadata(), &session)?;
    service.fetch(StatementTicket::decode(ticket)?, &session, compression).await
}

/// The statement ticket of a request body, when it is exactly one plain message with one.
fn statement_ticket(bytes: &Bytes) -> Option<TicketStatementQuery> {
    let (prefix, message) = (bytes.get(..GRPC_PREFIX_BYTES)?, bytes.get(GRPC_PREFIX_BYTES..)?);
    let length = u32::from_be_bytes(prefix.get(1..)?.try_into().ok()?);
    if prefix.first() != Some(&0) || usize::try_from(length).ok()? != message.len() {
        return None;
    }
    let ticket = Ticket::decode(message).ok()?;
    Any::decode(ticket.ticket).ok()?.unpack().ok()?
}

fn respond(parts: Parts) -> Response<Body> {
    let body = Framed { parts, frames: VecDeque::new(), ended: false };
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

/// A response body: the frames of each part, then the status.
struct Framed {
    parts: Parts,
    frames: VecDeque<Bytes>,
    ended: bool,
}

impl http_body::Body for Framed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(frame))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            let next = match self.parts.poll_next_unpin(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(next) => next,
            };
            let ending = match next {
                Some(Ok(part)) => match frame(part, &mut self.frames) {
                    Ok(()) => continue,
                    Err(status) => status,
                },
                Some(Err(status)) => status,
                None => Status::ok(""),
            };
            self.ended = true;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers(&ending)))));
        }
    }
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if let Err(unfit) = status.add_header(&mut trailers) {
        tracing::error!(error = %unfit, "a status does not fit into headers");
        trailers.insert("grpc-status", HeaderValue::from_static("13"));
    }
    trailers
}

/// Adds one gRPC message to `frames`.
fn frame(part: Part, frames: &mut VecDeque<Bytes>) -> Result<(), Status> {
    let mut fields = BytesMut::with_capacity(part.header.len() + part.app_metadata.len() + 32);
    put_field(TAG_DATA_HEADER, &part.header, &mut fields);
    if !part.app_metadata.is_empty() {
        put_field(TAG_APP_METADATA, &part.app_metadata, &mut fields);
    }
    let body_bytes = part.body_bytes();
    if body_bytes > 0 {
        encode_varint(TAG_DATA_BODY, &mut fields);
        encode_varint(body_bytes as u64, &mut fields);
    }
    let length = u32::try_from(fields.len() + body_bytes)
        .map_err(|_| status(Kind::ResourceExhausted, "one row of this result is larger than 4 GiB"))?;
    let mut gathered = BytesMut::with_capacity(GRPC_PREFIX_BYTES + fields.len() + GATHERED_BYTES_MAX);
    gathered.put_u8(0);
    gathered.put_u32(length);
    gathered.put_slice(&fields);
    for piece in part.body {
        if piece.len() < GATHERED_BYTES_MAX {
            gathered.put_slice(&piece);
            continue;
        }
        if !gathered.is_empty() {
            frames.push_back(gathered.split().freeze());
        }
        frames.push_back(piece);
    }
    if !gathered.is_empty() {
        frames.push_back(gathered.freeze());
    }
    Ok(())
}

fn put_field(tag: u64, value: &Bytes, fields: &mut BytesMut) {
    encode_varint(tag, fields);
    encode_varint(value.len() as u64, fields);
    fields.put_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_flight::FlightData;
    use arrow_flight::sql::ProstMessageExt;

    #[test]
    fn frames_are_the_protobuf_message_the_client_expects() {
        let large = Bytes::from(vec![7; GATHERED_BYTES_MAX]);
        let part = Part {
            header: Bytes::from_static(b"header"),
            app_metadata: Bytes::from_static(b"about"),
            body: vec![Bytes::from_static(b"small"), large.clone(), Bytes::from_static(b"pad")],
        };
        let mut frames = VecDeque::new();
        frame(part, &mut frames).unwrap();
        assert_eq!(frames.get(1), Some(&large), "a large buffer is its own chunk");
        let all: Vec<u8> = frames.iter().flat_map(|frame| frame.iter().copied()).collect();
        let (prefix, message) = all.split_at(GRPC_PREFIX_BYTES);
        assert_eq!(prefix[0], 0);
        assert_eq!(u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize, message.len());
        let decoded = FlightData::decode(message).unwrap();
        assert_eq!(decoded.data_header.as_ref(), b"header");
        assert_eq!(decoded.app_metadata.as_ref(), b"about");
        assert_eq!(decoded.data_body.as_ref(), [b"small", &large[..], b"pad"].concat());
    }

    #[test]
    fn only_statement_tickets_are_answered_here() {
        let framed = |ticket: &Ticket, flag: u8| {
            let message = ticket.encode_to_vec();
            let length = u32::try_from(message.len()).unwrap().to_be_bytes();
            Bytes::from([&[flag][..], &length, &message].concat())
        };
        let statement = StatementTicket { id: "a".to_owned(), ..StatementTicket::default() };
        let ticket = Ticket::new(statement.encode());
        assert!(statement_ticket(&framed(&ticket, 0)).is_some());
        assert!(statement_ticket(&framed(&ticket, 1)).is_none());
        let other = arrow_flight::sql::CommandGetCatalogs {}.as_any().encode_to_vec();
        assert!(statement_ticket(&framed(&Ticket::new(other), 0)).is_none());
        assert!(statement_ticket(&Bytes::from_static(b"\0\0\0")).is_none());
    }
}

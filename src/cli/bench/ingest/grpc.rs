//! `AppendStream` with typed clicks: encoded batches are sent as they are.

use anyhow::{Context, Result, bail};
use bytes::{BufMut, Bytes};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Status, Streaming};

use super::Sender;
use super::drive::{self, Answer, Counts, Refusal};
use crate::cli::connect::Dialer;
use crate::cli::failure::Failure;
use messages::{AppendReply, AppendRequest};

/// What any client generates from `proto/`.
#[allow(
    dead_code,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    reason = "generated; requests are encoded ahead"
)]
pub mod messages {
    include!(concat!(env!("OUT_DIR"), "/client/adlake.v1.rs"));
}

const PATH: &str = "/adlake.v1.Ingest/AppendStream";

/// One stream of requests on a connection of its own.
pub struct Wire {
    sender: Sender,
    requests: mpsc::Sender<Bytes>,
    replies: Streaming<AppendReply>,
}

impl Wire {
    pub async fn open(dialer: &Dialer, sender: Sender) -> Result<Self, Failure> {
        let mut client = tonic::client::Grpc::new(dialer.channel(|endpoint| endpoint).await?);
        client.ready().await.with_context(|| format!("{} is not ready", dialer.url))?;
        let (requests, sent) = mpsc::channel(1);
        let call = client.streaming(Request::new(ReceiverStream::new(sent)), PATH.parse()?, EncodedCodec);
        let replies = call.await.context("cannot open AppendStream; is it an adlake server?")?.into_inner();
        Ok(Self { sender, requests, replies })
    }
}

impl drive::Wire for Wire {
    async fn send(&mut self) -> Result<u64> {
        let sender = &mut self.sender;
        let number = sender.next_number();
        let mut bytes = sender.templates.fill(number, &mut sender.ids, sender.clock.now());
        // Fields of one message may be sent in parts that are simply put together.
        let mut rest = AppendRequest { request_id: number, ..AppendRequest::default() };
        if let Some(producer) = &sender.producer {
            rest.producer_id.clone_from(producer);
            rest.sequence = i64::try_from(number)?;
        }
        bytes.extend(rest.encode_to_vec());
        if self.requests.send(bytes.into()).await.is_err() {
            // Why is in the replies.
            self.replies.message().await?;
            bail!("the server closed the stream");
        }
        Ok(number)
    }

    async fn receive(&mut self) -> Result<Answer> {
        let Some(reply) = self.replies.message().await.context("the stream broke off")? else {
            bail!("the server closed the stream with requests unanswered");
        };
        let outcome = match reply.error {
            None => Ok(Counts {
                accepted: reply.accepted,
                duplicates: reply.duplicates,
                rejected: reply.rejected.len() as u64,
            }),
            Some(error) => Err(Refusal {
                kind: format!("{:?}", Code::from_i32(error.code)),
                message: error.message,
                retry_after: error.retry_after_ms.map(std::time::Duration::from_millis),
            }),
        };
        Ok(Answer { number: reply.request_id, outcome })
    }

    fn numbers(&self) -> bool {
        self.sender.producer.is_some()
    }
}

/// Requests that are encoded already.
#[derive(Default)]
struct EncodedCodec;

impl Codec for EncodedCodec {
    type Encode = Bytes;
    type Decode = AppendReply;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for EncodedCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for EncodedCodec {
    type Item = AppendReply;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<AppendReply>, Status> {
        let reply = AppendReply::decode(from);
        reply.map(Some).map_err(|error| Status::internal(format!("cannot read a reply: {error}")))
    }
}

//! Flight `DoPut` to a table's path: one record batch per request, numbered by its `app_metadata`.

use ::arrow::record_batch::RecordBatch;
use anyhow::{Context, Result, bail};
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::utils::batches_to_flight_data;
use arrow_flight::{FlightData, FlightDescriptor, PutResult};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::Sender;
use super::drive::{self, Answer, Counts, Refusal};
use crate::cli::connect::Dialer;
use crate::cli::failure::Failure;

/// One call on a connection of its own.
pub struct Wire {
    sender: Sender,
    messages: mpsc::Sender<FlightData>,
    results: Streaming<PutResult>,
}

#[derive(Deserialize)]
struct Reply {
    request_id: u64,
    #[serde(default)]
    accepted: u64,
    #[serde(default)]
    duplicates: u64,
    #[serde(default)]
    rejected: Vec<IgnoredAny>,
    error: Option<Error>,
}

#[derive(Deserialize)]
struct Error {
    kind: String,
    message: String,
    retry_after_ms: Option<u64>,
}

impl Wire {
    pub async fn open(dialer: &Dialer, sender: Sender) -> Result<Self, Failure> {
        let mut client = FlightServiceClient::new(dialer.channel(|endpoint| endpoint).await?);
        let (messages, sent) = mpsc::channel(1);
        let empty = RecordBatch::new_empty(sender.templates.schema());
        let mut first = batches_to_flight_data(&sender.templates.schema(), vec![empty])?.swap_remove(0);
        first.flight_descriptor = Some(FlightDescriptor::new_path(vec![sender.table.clone()]));
        messages.send(first).await.context("cannot begin DoPut")?;
        let call = client.do_put(ReceiverStream::new(sent)).await;
        let results = call.with_context(|| format!("{} refused DoPut", dialer.url))?.into_inner();
        Ok(Self { sender, messages, results })
    }
}

impl drive::Wire for Wire {
    async fn send(&mut self) -> Result<u64> {
        let sender = &mut self.sender;
        let number = sender.next_number();
        let batch = sender.templates.get(number).fresh(&mut sender.ids, sender.clock.now())?;
        let mut message =
            batches_to_flight_data(&batch.schema(), vec![batch])?.pop().context("no message for a batch")?;
        let note = match &sender.producer {
            None => json!({ "request_id": number }),
            Some(producer) => json!({ "request_id": number, "producer_id": producer, "sequence": number }),
        };
        message.app_metadata = note.to_string().into();
        if self.messages.send(message).await.is_err() {
            // Why is in the results.
            self.results.message().await?;
            bail!("the server closed the call");
        }
        Ok(number)
    }

    async fn receive(&mut self) -> Result<Answer> {
        let Some(PutResult { app_metadata }) = self.results.message().await.context("the call broke off")? else {
            bail!("the server closed the call with batches unanswered");
        };
        let reply: Reply = serde_json::from_slice(&app_metadata).context("an answer that is not the server's JSON")?;
        let counts =
            Counts { accepted: reply.accepted, duplicates: reply.duplicates, rejected: reply.rejected.len() as u64 };
        let outcome = match reply.error {
            None => Ok(counts),
            Some(Error { kind, message, retry_after_ms }) => {
                Err(Refusal { kind, message, retry_after: retry_after_ms.map(std::time::Duration::from_millis) })
            }
        };
        Ok(Answer { number: reply.request_id, outcome })
    }

    fn numbers(&self) -> bool {
        self.sender.producer.is_some()
    }
}

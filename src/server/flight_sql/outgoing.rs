//! How a result flows from the engine to the network.
//!
//! ```text
//! engine's stream ─► cast to wire types ─► split ─► encode ─► channel of a few parts ─► gRPC
//!        └────────────── one task per result ─────────────┘        (client's flow control)
//! ```
//!
//! Encoding runs beside sending. A client that leaves closes the channel, the task ends, the engine's stream is dropped and
//! with it the query. A result that ends early (its task died) ends in an error, never as if it were complete.

use super::encode::{DataStream, Encoder, Part};
use super::error::{cancelled, from_arrow, from_stream, internal};
use super::running::Run;
use crate::base::Tasks;
use crate::query::IpcCompression;
use crate::telemetry::metrics;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::execution::SendableRecordBatchStream;
use futures::{Stream, StreamExt, TryStreamExt};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tonic::Status;

/// Encoded messages waiting for the network, per result.
const PARTS_WAITING: usize = 4;

/// A result to stream.
pub(super) struct Outgoing {
    /// As promised by `FlightInfo`.
    pub schema: SchemaRef,
    /// In the first message: `{"query_id": …, "data_as_of": …}`.
    pub app_metadata: Bytes,
    pub rows: SendableRecordBatchStream,
    pub compression: IpcCompression,
    /// Dropped, and with it the query cancelled, when the result has ended or the client has left.
    pub run: Run,
}

/// The messages of a result. Dropping it cancels what is left.
pub(super) enum Parts {
    Ready(std::vec::IntoIter<Part>),
    Streaming(Streaming),
}

/// The receiving end of a result's task.
pub(super) struct Streaming {
    receiver: mpsc::Receiver<Message>,
    finished: bool,
}

enum Message {
    Part(Result<Part, Status>),
    End,
}

impl Parts {
    pub fn ready(parts: Vec<Part>) -> Self {
        Self::Ready(parts.into_iter())
    }

    /// Starts the task of a result.
    pub fn stream(outgoing: Outgoing, tasks: &Tasks) -> Self {
        let (sender, receiver) = mpsc::channel(PARTS_WAITING);
        tasks.spawn("flight result", async move {
            if send_all(outgoing, &sender).await.is_some() {
                // A closed channel means the client has left; nobody is there to be told.
                drop(sender.send(Message::End).await);
            }
        });
        Self::Streaming(Streaming { receiver, finished: false })
    }

    /// As `DoGet` of the generated service returns it.
    pub fn into_flight_data(self) -> DataStream {
        Box::pin(self.map_ok(Part::into_flight_data))
    }
}

impl Stream for Parts {
    type Item = Result<Part, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let streaming = match self.get_mut() {
            Self::Ready(parts) => return Poll::Ready(parts.next().map(Ok)),
            Self::Streaming(streaming) if streaming.finished => return Poll::Ready(None),
            Self::Streaming(streaming) => streaming,
        };
        streaming.receiver.poll_recv(cx).map(|message| match message {
            Some(Message::Part(Ok(part))) => Some(Ok(part)),
            Some(Message::Part(Err(status))) => {
                streaming.finished = true;
                Some(Err(status))
            }
            Some(Message::End) => {
                streaming.finished = true;
                None
            }
            None => {
                streaming.finished = true;
                Some(Err(internal("the result ended before it was complete; run the statement again")))
            }
        })
    }
}

/// Sends schema and batches; `None` when the client has left.
async fn send_all(outgoing: Outgoing, sender: &mpsc::Sender<Message>) -> Option<()> {
    let Outgoing { schema, app_metadata, mut rows, compression, run } = outgoing;
    let mut encoder = match Encoder::new(schema, compression) {
        Ok(encoder) => encoder,
        Err(error) => return send(sender, Err(internal(format!("cannot encode this result: {error}")))).await,
    };
    send(sender, Ok(encoder.schema_part(app_metadata))).await?;
    loop {
        let next = tokio::select! {
            biased;
            () = sender.closed() => return None,
            () = run.cancel.cancelled() => Some(Err(cancelled())),
            next = rows.next() => next.map(|batch| batch.map_err(from_stream)),
        };
        let Some(batch) = next else { return Some(()) };
        if batch.as_ref().is_ok_and(|batch| batch.num_rows() == 0) {
            continue;
        }
        let encoded = match batch {
            Ok(batch) => encoded(encoder, batch).await,
            Err(status) => Err(status),
        };
        match encoded {
            Ok((again, parts)) => {
                encoder = again;
                for part in parts {
                    count(&part);
                    send(sender, Ok(part)).await?;
                }
            }
            Err(status) => return send(sender, Err(status)).await,
        }
    }
}

/// The messages of a batch. Compressing takes milliseconds, so it is done apart from what serves connections.
async fn encoded(mut encoder: Encoder, batch: RecordBatch) -> Result<(Encoder, Vec<Part>), Status> {
    let compresses = encoder.compresses();
    let encode = move || encoder.batch_parts(&batch).map(|parts| (encoder, parts));
    let done = match compresses {
        false => encode(),
        true => {
            let done = tokio::task::spawn_blocking(encode).await;
            done.map_err(|died| internal(format!("compressing a result failed: {died}")))?
        }
    };
    done.map_err(from_arrow)
}

async fn send(sender: &mpsc::Sender<Message>, part: Result<Part, Status>) -> Option<()> {
    sender.send(Message::Part(part)).await.ok()
}

fn count(part: &Part) {
    let bytes = u64::try_from(part.body_bytes()).unwrap_or(u64::MAX);
    metrics().count("flight_sent_bytes", "bytes of result batches sent over Flight SQL", &[], bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::flight_sql::running::Running;
    use arrow::array::{ArrayRef, Int64Array};
    use datafusion::error::DataFusionError;
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use std::sync::Arc;

    fn outgoing(
        rows: impl Stream<Item = Result<RecordBatch, DataFusionError>> + Send + 'static,
    ) -> (Outgoing, tokio_util::sync::CancellationToken) {
        let schema = batch().schema();
        let run = Arc::<Running>::default().start("run").unwrap();
        let cancel = run.cancel.clone();
        let rows: SendableRecordBatchStream = Box::pin(RecordBatchStreamAdapter::new(schema.clone(), rows));
        let compression = IpcCompression::None;
        (Outgoing { schema, app_metadata: Bytes::new(), rows, compression, run }, cancel)
    }

    fn batch() -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        RecordBatch::try_from_iter([("n", column)]).unwrap()
    }

    #[tokio::test]
    async fn a_whole_result_is_schema_and_batches() {
        let (outgoing, cancel) = outgoing(futures::stream::iter([Ok(batch()), Ok(batch())]));
        let parts: Vec<_> = Parts::stream(outgoing, &Tasks::new()).collect().await;
        assert_eq!(parts.len(), 3);
        assert!(parts.iter().all(Result::is_ok));
        cancel.cancelled().await;
    }

    #[tokio::test]
    async fn a_result_whose_task_dies_is_not_taken_for_complete() {
        let rows = futures::stream::iter([0, 1]).map(|n| if n == 0 { Ok(batch()) } else { panic!("a bug") });
        let (outgoing, _) = outgoing(rows);
        let parts: Vec<_> = Parts::stream(outgoing, &Tasks::new()).collect().await;
        assert!(parts.last().is_some_and(Result::is_err), "{} parts, no error", parts.len());
    }

    #[tokio::test]
    async fn a_client_that_leaves_cancels_the_query() {
        let (outgoing, cancel) = outgoing(futures::stream::pending());
        let mut parts = Parts::stream(outgoing, &Tasks::new());
        assert!(parts.next().await.is_some_and(|part| part.is_ok()));
        drop(parts);
        cancel.cancelled().await;
    }

    #[tokio::test]
    async fn cancelling_ends_the_result_with_an_error() {
        let (outgoing, cancel) = outgoing(futures::stream::pending());
        let mut parts = Parts::stream(outgoing, &Tasks::new());
        assert!(parts.next().await.is_some_and(|part| part.is_ok()));
        cancel.cancel();
        let Some(Err(status)) = parts.next().await else { panic!("no error") };
        assert_eq!(status.code(), tonic::Code::Cancelled);
        assert!(parts.next().await.is_none());
    }
}

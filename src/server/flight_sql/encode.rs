//! Results on the wire: types every client reads, messages of bounded size, encoding beside sending.
//!
//! ```text
//! engine's stream ─► cast to wire types ─► split ─► IPC encode ─► channel of a few messages ─► gRPC
//!        └────────────── one task per result ──────────────┘            (client's flow control)
//! ```
//!
//! Types that clients cannot read are sent as their plain relatives: views as `Utf8`/`Binary`, dictionaries and run-end
//! encoded columns as their values, small decimals as `Decimal128`, half floats as `Float32` ([`wire_type`]).
//! Top-level columns are declared nullable, so that a plan whose nullability is narrower than its data cannot fail a query.
//!
//! A result that ends early (its task died) ends in an error, never as if it were complete.

use super::error::{cancelled, from_stream, internal};
use super::running::Run;
use crate::base::Tasks;
use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_flight::{FlightData, SchemaAsIpc};
use bytes::Bytes;
use datafusion::execution::SendableRecordBatchStream;
use futures::{Stream, StreamExt};
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// What `DoGet` returns.
pub(super) type DataStream = Pin<Box<dyn Stream<Item = Result<FlightData, Status>> + Send>>;

/// Size messages aim at; half of what gRPC libraries accept unless told otherwise.
const MESSAGE_BYTES_TARGET: usize = 2 << 20;
/// Encoded messages waiting for the network, per result.
const MESSAGES_WAITING: usize = 4;

/// The type a column of type `from` is sent as.
pub(super) fn wire_type(from: &DataType) -> DataType {
    use DataType::*;
    match from {
        Utf8View => Utf8,
        BinaryView => Binary,
        Float16 => Float32,
        Decimal32(precision, scale) | Decimal64(precision, scale) => Decimal128(*precision, *scale),
        Dictionary(_, value) => wire_type(value),
        RunEndEncoded(_, values) => wire_type(values.data_type()),
        List(field) | ListView(field) => List(wire_field(field)),
        LargeList(field) | LargeListView(field) => LargeList(wire_field(field)),
        FixedSizeList(field, size) => FixedSizeList(wire_field(field), *size),
        Struct(fields) => Struct(wire_fields(fields)),
        Map(entries, sorted) => Map(wire_field(entries), *sorted),
        plain => plain.clone(),
    }
}

fn wire_field(field: &FieldRef) -> FieldRef {
    Arc::new(field.as_ref().clone().with_data_type(wire_type(field.data_type())))
}

fn wire_fields(fields: &Fields) -> Fields {
    fields.iter().map(wire_field).collect()
}

/// The schema a result of schema `from` is sent with; the same for `FlightInfo` and `DoGet`.
pub(super) fn wire_schema(from: &Schema) -> SchemaRef {
    let fields = from.fields().iter().map(|field| {
        let wire = Field::new(field.name(), wire_type(field.data_type()), true);
        wire.with_metadata(field.metadata().clone())
    });
    Arc::new(Schema::new(fields.collect::<Fields>()))
}

/// The schema of a table as metadata shows it: wire types, nullability kept.
pub(super) fn described_schema(from: &Schema) -> Schema {
    Schema::new(wire_fields(from.fields()))
}

/// Brings a batch to the wire schema; columns that already have their wire type are not touched.
pub(super) fn to_wire(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    if batch.num_columns() != schema.fields().len() {
        let message = format!("{} columns came, {} were planned", batch.num_columns(), schema.fields().len());
        return Err(ArrowError::SchemaError(message));
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let cast = |(column, field): (&ArrayRef, &FieldRef)| {
        if column.data_type() == field.data_type() {
            return Ok(column.clone());
        }
        cast_with_options(column, field.data_type(), &strict)
    };
    let columns = batch.columns().iter().zip(schema.fields()).map(cast).collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
}

/// The bytes a batch itself has, whatever larger buffers it is a slice of.
pub(super) fn bytes_of(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}

/// Cuts a batch into pieces of about `target` bytes, without copying.
fn split(batch: RecordBatch, target: usize) -> Vec<RecordBatch> {
    let rows = batch.num_rows();
    let pieces = bytes_of(&batch).div_ceil(target.max(1)).clamp(1, rows.max(1));
    if pieces == 1 {
        return vec![batch];
    }
    let step = rows.div_ceil(pieces);
    (0..rows).step_by(step).map(|start| batch.slice(start, step.min(rows - start))).collect()
}

/// Encodes the batches of one result.
struct Encoder {
    schema: SchemaRef,
    options: IpcWriteOptions,
    generator: IpcDataGenerator,
    dictionaries: DictionaryTracker,
    context: IpcWriteContext,
}

impl Encoder {
    fn new(schema: SchemaRef) -> Self {
        Self {
            schema,
            options: IpcWriteOptions::default(),
            generator: IpcDataGenerator::default(),
            dictionaries: DictionaryTracker::new(true),
            context: IpcWriteContext::default(),
        }
    }

    fn schema_message(&self, app_metadata: Bytes) -> FlightData {
        let message: FlightData = SchemaAsIpc::new(&self.schema, &self.options).into();
        message.with_app_metadata(app_metadata)
    }

    fn batch_messages(&mut self, batch: &RecordBatch) -> Result<Vec<FlightData>, ArrowError> {
        let batch = to_wire(batch, &self.schema)?;
        split(batch, MESSAGE_BYTES_TARGET)
            .into_iter()
            .map(|piece| {
                let (_, encoded) =
                    self.generator.encode(&piece, &mut self.dictionaries, &self.options, &mut self.context)?;
                Ok(encoded.into())
            })
            .collect()
    }
}

/// A result already in memory (metadata, stored results).
pub(super) fn batches(schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<DataStream, Status> {
    let mut encoder = Encoder::new(schema);
    let mut messages = vec![encoder.schema_message(Bytes::new())];
    for batch in batches {
        let encoded = encoder.batch_messages(&batch);
        messages.extend(encoded.map_err(|error| internal(format!("cannot encode a result: {error}")))?);
    }
    Ok(Box::pin(futures::stream::iter(messages.into_iter().map(Ok))))
}

/// A result to stream.
pub(super) struct Outgoing {
    /// As promised by `FlightInfo`.
    pub schema: SchemaRef,
    /// In the first message: `{"query_id": …, "data_as_of": …}`.
    pub app_metadata: Bytes,
    pub rows: SendableRecordBatchStream,
    /// Dropped, and with it the query cancelled, when the result has ended or the client has left.
    pub run: Run,
}

enum Message {
    Part(Result<FlightData, Status>),
    End,
}

/// Streams a result; dropping the stream cancels the query.
pub(super) fn stream(outgoing: Outgoing, tasks: &Tasks) -> DataStream {
    let (sender, receiver) = mpsc::channel(MESSAGES_WAITING);
    tasks.spawn("flight result", send_all(outgoing, sender));
    let ended = |finished: &mut bool, message: Option<Message>| match message {
        Some(Message::Part(part)) => Some(part),
        Some(Message::End) => {
            *finished = true;
            None
        }
        None if *finished => None,
        None => {
            *finished = true;
            Some(Err(internal("the result ended before it was complete; run the statement again")))
        }
    };
    let messages = ReceiverStream::new(receiver).map(Some).chain(futures::stream::once(async { None }));
    Box::pin(messages.scan(false, move |finished, message| futures::future::ready(ended(finished, message))))
}

async fn send_all(outgoing: Outgoing, sender: mpsc::Sender<Message>) {
    let Outgoing { schema, app_metadata, mut rows, run } = outgoing;
    let mut encoder = Encoder::new(schema);
    if sender.send(Message::Part(Ok(encoder.schema_message(app_metadata)))).await.is_err() {
        return;
    }
    loop {
        let next = tokio::select! {
            biased;
            () = sender.closed() => return,
            () = run.cancel.cancelled() => Some(Err(cancelled())),
            next = rows.next() => next.map(|batch| batch.map_err(from_stream)),
        };
        let Some(batch) = next else { break };
        if batch.as_ref().is_ok_and(|batch| batch.num_rows() == 0) {
            continue;
        }
        let encoded = batch.and_then(|batch| encoder.batch_messages(&batch).map_err(|error| from_stream(error.into())));
        match encoded {
            Ok(messages) => {
                for message in messages {
                    if sender.send(Message::Part(Ok(message))).await.is_err() {
                        return;
                    }
                }
            }
            Err(status) => {
                drop(sender.send(Message::Part(Err(status))).await);
                drop(sender.send(Message::End).await);
                return;
            }
        }
    }
    drop(sender.send(Message::End).await);
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray, StringViewArray};

    #[test]
    fn no_view_or_dictionary_is_sent_at_any_depth() {
        let nested = DataType::Struct(Fields::from(vec![
            Field::new("a", DataType::Utf8View, true),
            Field::new("b", DataType::List(Arc::new(Field::new("item", DataType::BinaryView, true))), true),
        ]));
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8View));
        let sent = format!("{:?} {:?}", wire_type(&nested), wire_type(&dictionary));
        assert!(!sent.contains("View") && !sent.contains("Dictionary"), "{sent}");
    }

    #[test]
    fn view_columns_keep_their_values() {
        let column: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a long enough string value"), None]));
        let batch = RecordBatch::try_from_iter([("s", column)]).unwrap();
        let sent = to_wire(&batch, &wire_schema(&batch.schema())).unwrap();
        let expected = StringArray::from(vec![Some("a long enough string value"), None]);
        assert_eq!(sent.column(0).as_any().downcast_ref::<StringArray>(), Some(&expected));
    }

    #[test]
    fn a_large_batch_is_split_and_a_slice_of_it_is_not() {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1_000));
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let pieces = split(batch.clone(), 1_000);
        assert_eq!(pieces.len(), 8);
        assert_eq!(pieces.iter().map(RecordBatch::num_rows).sum::<usize>(), 1_000);
        assert_eq!(split(batch.slice(10, 100), 1_000).len(), 1);
    }
}

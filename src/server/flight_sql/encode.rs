//! Results on the wire: messages of bounded size, columns sent without copying them.
//!
//! Types clients cannot read are sent as their plain relatives, by the table in `server/encode.rs`. Compressed are the buffers of
//! batches, each by itself, when the call or its session asks for it (`adlake.ipc_compression`).
//!
//! A [`Part`] is one Flight message whose body still is the columns' own buffers; `direct` hands them to HTTP/2 as they are.
//! How results flow is in `outgoing`.

use super::error::internal;
use crate::query::IpcCompression;
use crate::server::encode::{wire_batch, wire_type};
use arrow::array::{Array, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{IpcWriteOptions, StreamEncoder};
use arrow_flight::{FlightData, SchemaAsIpc};
use bytes::{Bytes, BytesMut};
use futures::Stream;
use std::pin::Pin;
use tonic::Status;

/// What `DoGet` returns.
pub(super) type DataStream = Pin<Box<dyn Stream<Item = Result<FlightData, Status>> + Send>>;

/// Size messages aim at; half of what gRPC libraries accept unless told otherwise.
const MESSAGE_BYTES_TARGET: usize = 2 << 20;
/// Continuation marker and length in front of every message of an Arrow IPC stream.
const IPC_PREFIX_BYTES: usize = 8;

/// The schema of a table as metadata shows it: wire types, nullability kept.
pub(super) fn described_schema(from: &Schema) -> Schema {
    let field = |field: &FieldRef| field.as_ref().clone().with_data_type(wire_type(field.data_type()));
    Schema::new(from.fields().iter().map(field).collect::<Vec<_>>())
}

/// Brings a batch to the wire schema; columns that already have their wire type are not touched.
pub(super) fn to_wire(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    if batch.num_columns() != schema.fields().len() {
        let message = format!("{} columns came, {} were planned", batch.num_columns(), schema.fields().len());
        return Err(ArrowError::SchemaError(message));
    }
    wire_batch(batch, schema)
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

/// One Flight message: a schema or a batch.
pub(super) struct Part {
    pub header: Bytes,
    pub app_metadata: Bytes,
    /// The body in pieces: the columns' buffers and the padding between them.
    pub body: Vec<Bytes>,
}

impl Part {
    pub fn body_bytes(&self) -> usize {
        self.body.iter().map(Bytes::len).sum()
    }

    /// The message with its body in one piece.
    pub fn into_flight_data(self) -> FlightData {
        let mut body = BytesMut::with_capacity(self.body_bytes());
        self.body.iter().for_each(|piece| body.extend_from_slice(piece));
        FlightData {
            flight_descriptor: None,
            data_header: self.header,
            app_metadata: self.app_metadata,
            data_body: body.freeze(),
        }
    }
}

/// A buffer as the owner of bytes.
struct Owner(Buffer);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// Encodes the batches of one result.
pub(super) struct Encoder {
    schema: SchemaRef,
    stream: StreamEncoder,
    compresses: bool,
}

impl Encoder {
    pub fn new(schema: SchemaRef, compression: IpcCompression) -> Result<Self, ArrowError> {
        let codec = match compression {
            IpcCompression::None => None,
            IpcCompression::Lz4 => Some(CompressionType::LZ4_FRAME),
            IpcCompression::Zstd => Some(CompressionType::ZSTD),
        };
        let options = IpcWriteOptions::default().try_with_compression(codec)?;
        let mut stream = StreamEncoder::try_new_with_options(&schema, options)?;
        // The first call also writes the schema, which Flight sends in a message of its own form.
        stream.encode(&RecordBatch::new_empty(schema.clone()))?;
        Ok(Self { schema, stream, compresses: codec.is_some() })
    }

    /// Whether encoding is work, beside handing buffers on.
    pub fn compresses(&self) -> bool {
        self.compresses
    }

    pub fn schema_part(&self, app_metadata: Bytes) -> Part {
        let options = IpcWriteOptions::default();
        let message: FlightData = SchemaAsIpc::new(&self.schema, &options).into();
        Part { header: message.data_header, app_metadata, body: Vec::new() }
    }

    /// The messages of a batch, each of about [`MESSAGE_BYTES_TARGET`].
    pub fn batch_parts(&mut self, batch: &RecordBatch) -> Result<Vec<Part>, ArrowError> {
        let batch = to_wire(batch, &self.schema)?;
        split(batch, MESSAGE_BYTES_TARGET).iter().map(|piece| self.part(piece)).collect()
    }

    /// An IPC stream message is prefix, header, body; a Flight message is header and body.
    fn part(&mut self, batch: &RecordBatch) -> Result<Part, ArrowError> {
        let mut front = BytesMut::new();
        let mut wanted = IPC_PREFIX_BYTES;
        let mut body = Vec::new();
        for buffer in self.stream.encode(batch)? {
            if front.len() >= wanted {
                body.push(Bytes::from_owner(Owner(buffer)));
                continue;
            }
            front.extend_from_slice(&buffer);
            if wanted == IPC_PREFIX_BYTES && front.len() >= wanted {
                let length = front.get(4..IPC_PREFIX_BYTES).and_then(|four| <[u8; 4]>::try_from(four).ok());
                wanted += usize::try_from(length.map_or(0, i32::from_le_bytes)).unwrap_or(0);
            }
        }
        if front.len() != wanted {
            return Err(ArrowError::IpcError(format!("a message header of {} bytes, {wanted} expected", front.len())));
        }
        let header = front.freeze().slice(IPC_PREFIX_BYTES..);
        Ok(Part { header, app_metadata: Bytes::new(), body })
    }
}

/// A result already in memory (metadata, stored results), as parts.
pub(super) fn parts(schema: SchemaRef, batches: &[RecordBatch]) -> Result<Vec<Part>, Status> {
    let encode = || {
        let mut encoder = Encoder::new(schema, IpcCompression::None)?;
        let mut parts = vec![encoder.schema_part(Bytes::new())];
        for batch in batches {
            parts.extend(encoder.batch_parts(batch)?);
        }
        Ok(parts)
    };
    encode().map_err(|error: ArrowError| internal(format!("cannot encode a result: {error}")))
}

/// A result already in memory, as `DoGet` returns it.
pub(super) fn batches(schema: SchemaRef, batches: &[RecordBatch]) -> Result<DataStream, Status> {
    let messages = parts(schema, batches)?.into_iter().map(|part| Ok(part.into_flight_data()));
    Ok(Box::pin(futures::stream::iter(messages)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::encode::wire_schema;
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field};
    use std::sync::Arc;

    #[test]
    fn another_number_of_columns_than_planned_is_said() {
        let batch = RecordBatch::new_empty(Arc::new(Schema::empty()));
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        assert!(matches!(to_wire(&batch, &schema), Err(ArrowError::SchemaError(_))));
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

    #[tokio::test]
    async fn what_is_sent_decodes_to_what_was_there() {
        use arrow_flight::decode::FlightRecordBatchStream;
        use futures::{StreamExt, TryStreamExt};
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter((0..5_000).map(|n| (n % 7 != 0).then_some(n))));
        let texts: ArrayRef =
            Arc::new(StringArray::from_iter((0..5_000).map(|n| (n % 3 != 0).then(|| format!("text {n}")))));
        let batch = RecordBatch::try_from_iter([("n", numbers), ("s", texts)]).unwrap();
        let schema = wire_schema(&batch.schema());
        for rows in [batch.slice(0, 5_000), batch.slice(11, 1_003), batch.slice(4_999, 1), batch.slice(0, 0)] {
            let sent = batches(schema.clone(), std::slice::from_ref(&rows)).unwrap();
            let received = FlightRecordBatchStream::new_from_flight_data(sent.map_err(Into::into).boxed());
            let received: Vec<_> = received.try_collect().await.unwrap();
            assert_eq!(arrow::compute::concat_batches(&schema, &received).unwrap(), to_wire(&rows, &schema).unwrap());
        }
    }

    #[tokio::test]
    async fn compressed_batches_are_smaller_and_decode_to_the_same() {
        use arrow_flight::decode::FlightRecordBatchStream;
        use futures::TryStreamExt;
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter((0..50_000).map(|n| (n % 7 != 0).then_some(n / 100))));
        let texts: ArrayRef =
            Arc::new(StringArray::from_iter((0..50_000).map(|n| (n % 3 != 0).then(|| format!("text {}", n % 50)))));
        let batch = RecordBatch::try_from_iter([("n", numbers), ("s", texts)]).unwrap();
        let schema = wire_schema(&batch.schema());
        let mut sizes = Vec::new();
        for compression in [IpcCompression::None, IpcCompression::Lz4, IpcCompression::Zstd] {
            let mut encoder = Encoder::new(schema.clone(), compression).unwrap();
            let mut parts = vec![encoder.schema_part(Bytes::new())];
            for rows in [batch.slice(0, 50_000), batch.slice(11, 1), batch.slice(7, 0), batch.slice(40_000, 10_000)] {
                parts.extend(encoder.batch_parts(&rows).unwrap());
            }
            sizes.push(parts.iter().map(Part::body_bytes).sum::<usize>());
            let messages = futures::stream::iter(parts.into_iter().map(|part| Ok(part.into_flight_data())));
            let received: Vec<_> = FlightRecordBatchStream::new_from_flight_data(messages).try_collect().await.unwrap();
            let all = arrow::compute::concat_batches(&schema, &received).unwrap();
            assert_eq!(all.num_rows(), 60_001);
            assert_eq!(all.slice(0, 50_000), to_wire(&batch, &schema).unwrap());
            assert_eq!(all.slice(50_001, 10_000), to_wire(&batch.slice(40_000, 10_000), &schema).unwrap());
        }
        assert!(sizes[1] < sizes[0] / 2 && sizes[2] < sizes[0] / 2, "{sizes:?}");
    }
}

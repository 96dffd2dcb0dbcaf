//! Arrow rows that a client uploads by `DoPut`, decoded without trusting them.
//!
//! A compressed batch says how large it will become; that is believed up to a limit, and checked. Arrow's reader panics on some damaged
//! metadata: that is caught and is the sender's error.

use super::error::{from_client_stream, invalid};
use crate::server::arrow_payload::{DAMAGED, check_claims, plain_size};
use arrow::array::RecordBatch;
use arrow_flight::FlightData;
use arrow_flight::decode::{DecodedFlightData, DecodedPayload, FlightDataDecoder};
use arrow_flight::error::FlightError;
use futures::{Stream, StreamExt, TryStreamExt};
use std::panic::AssertUnwindSafe;
use tonic::Status;

/// A compressed batch may become this many times `flight.max_message_size`.
const EXPANSION_MAX: usize = 8;

/// What a `DoPut` stream brings: schema, batches. A first message that only names the command is skipped.
pub(super) fn decoded(
    stream: impl Stream<Item = Result<FlightData, Status>> + Send + 'static,
    message_bytes_max: usize,
) -> impl Stream<Item = Result<DecodedFlightData, Status>> + Send + Unpin + 'static {
    let plain_bytes_max = message_bytes_max.saturating_mul(EXPANSION_MAX);
    let speaks = |message: &FlightData| futures::future::ready(!message.data_header.is_empty());
    let messages = stream.try_filter(speaks).map(move |message| checked(message?, plain_bytes_max));
    let messages = messages.map_err(FlightError::from);
    // Nothing of the decoder is used after a panic.
    let decoded = AssertUnwindSafe(FlightDataDecoder::new(messages.boxed())).catch_unwind();
    decoded.map(|next| match next {
        Ok(read) => read.map_err(from_client_stream),
        Err(_panic) => Err(invalid(DAMAGED)),
    })
}

/// The batches of a `DoPut` stream.
pub(super) fn batches(
    stream: impl Stream<Item = Result<FlightData, Status>> + Send + 'static,
    message_bytes_max: usize,
) -> impl Stream<Item = Result<RecordBatch, Status>> + Send + Unpin + 'static {
    let batch = |decoded: DecodedFlightData| match decoded.payload {
        DecodedPayload::RecordBatch(batch) => Some(batch),
        DecodedPayload::Schema(_) | DecodedPayload::None => None,
    };
    decoded(stream, message_bytes_max).try_filter_map(move |next| futures::future::ok(batch(next)))
}

/// As [`batches`]; a stream with a schema begins with a batch without rows, so that its columns are known.
pub(super) fn batches_with_schema(
    stream: impl Stream<Item = Result<FlightData, Status>> + Send + 'static,
    message_bytes_max: usize,
) -> impl Stream<Item = Result<RecordBatch, Status>> + Send + Unpin + 'static {
    let batch = |decoded: DecodedFlightData| match decoded.payload {
        DecodedPayload::RecordBatch(batch) => Some(batch),
        DecodedPayload::Schema(schema) => Some(RecordBatch::new_empty(schema)),
        DecodedPayload::None => None,
    };
    decoded(stream, message_bytes_max).try_filter_map(move |next| futures::future::ok(batch(next)))
}

/// The message, unless its body would become too large when decompressed, or larger than it claims.
fn checked(message: FlightData, plain_bytes_max: usize) -> Result<FlightData, Status> {
    let header = arrow::ipc::root_as_message(&message.data_header)
        .map_err(|error| invalid(format!("cannot read the Arrow data sent: {error}")))?;
    match plain_size(&header, &message.data_body) {
        Ok(bytes) if bytes <= plain_bytes_max => match check_claims(&header, &message.data_body) {
            Ok(()) => Ok(message),
            Err(reason) => Err(invalid(reason)),
        },
        Ok(_) => Err(invalid(format!(
            "a batch is larger than {plain_bytes_max} bytes when decompressed; send smaller batches"
        ))),
        Err(reason) => Err(invalid(reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, StringArray};
    use arrow_flight::encode::FlightDataEncoderBuilder;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn sent() -> Vec<FlightData> {
        let words: ArrayRef = Arc::new(StringArray::from(vec!["one", "two", "three"]));
        let batch = RecordBatch::try_from_iter([("words", words)]).unwrap();
        let encoded = FlightDataEncoderBuilder::new().build(futures::stream::iter([Ok(batch.clone()), Ok(batch)]));
        futures::executor::block_on(encoded.try_collect()).unwrap()
    }

    fn received(messages: Vec<FlightData>) -> Vec<Result<usize, Status>> {
        let stream = futures::stream::iter(messages.into_iter().map(Ok));
        futures::executor::block_on(batches(stream, 1 << 20).map_ok(|batch| batch.num_rows()).collect())
    }

    #[test]
    fn batches_are_read_and_the_command_is_skipped() {
        let mut messages = sent();
        messages.insert(0, FlightData::default());
        let rows: Vec<usize> = received(messages).into_iter().map(Result::unwrap).collect();
        assert_eq!(rows, [3, 3]);
        let stream = futures::stream::iter(sent().into_iter().take(1).map(Ok));
        let first = futures::executor::block_on(batches_with_schema(stream, 1 << 20).next()).unwrap().unwrap();
        assert_eq!((first.num_rows(), first.num_columns()), (0, 1));
    }

    proptest! {
        #[test]
        fn damaged_messages_are_read_or_refused(changes in proptest::collection::vec((0..3_usize, any::<usize>(), any::<u8>()), 1..6)) {
            let mut messages = sent();
            for (message, at, byte) in changes {
                let mut header = messages[message].data_header.to_vec();
                let length = header.len();
                header[at % length] = byte;
                messages[message].data_header = header.into();
            }
            for refused in received(messages).into_iter().filter_map(Result::err) {
                prop_assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{}", refused);
            }
        }
    }
}

//! A request is taken as its bytes: decoding happens on a CPU thread (`decode`), not where connections are served, and a
//! request that cannot be decoded is one bad batch of its stream, not the stream's end.

use bytes::{Buf, Bytes};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::ProstCodec;

use super::messages::AppendReply;

/// One encoded `AppendRequest`.
#[derive(Debug)]
pub struct RequestBytes(pub Bytes);

/// Requests as bytes, replies as messages.
#[derive(Default)]
pub struct RequestCodec;

impl Codec for RequestCodec {
    type Encode = AppendReply;
    type Decode = RequestBytes;
    type Encoder = <ProstCodec<AppendReply, AppendReply> as Codec>::Encoder;
    type Decoder = RequestDecoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<AppendReply, AppendReply>::default().encoder()
    }

    fn decoder(&mut self) -> RequestDecoder {
        RequestDecoder
    }
}

pub struct RequestDecoder;

impl Decoder for RequestDecoder {
    type Item = RequestBytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<RequestBytes>, Status> {
        let length = buffer.remaining();
        Ok(Some(RequestBytes(buffer.copy_to_bytes(length))))
    }
}

//! An `AppendRequest` of gRPC, typed rows and Arrow inside it included.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    let _ = adlake::server::grpc::decode::request_id(&bytes);
    let _ = adlake::server::grpc::decode::request(bytes, 1 << 20);
});

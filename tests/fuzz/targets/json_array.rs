//! A request body: every row is decoded or rejected, every body decoded or refused; nothing panics, no row is lost.
#![no_main]

mod columns;

use adlake::catalog::UnknownFields;
use adlake::ingest::Payload;
use adlake::ingest::decode::open_payload;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for unknown in [UnknownFields::Reject, UnknownFields::Ignore] {
        let payload = Payload::JsonArray(data.to_vec().into());
        let Ok(mut decoder) = open_payload(payload, &columns::columns(), unknown, columns::ROW_BYTES_MAX) else { return };
        while let Ok(Some(_)) = decoder.next_step() {}
    }
});

//! An Arrow IPC stream, then its rows for a table.
#![no_main]

mod columns;

use adlake::catalog::UnknownFields;
use adlake::ingest::Payload;
use adlake::ingest::decode::open_payload;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // Arrow's reader panics on damaged metadata and the server catches that; libFuzzer would end at the panic's hook.
    std::panic::set_hook(Box::new(|_| {}));
    let Ok(batches) = adlake::server::arrow_payload::read_stream(Bytes::copy_from_slice(data), 1 << 20) else { return };
    let payload = Payload::Arrow(batches);
    let Ok(mut decoder) = open_payload(payload, &columns::columns(), UnknownFields::Ignore, columns::ROW_BYTES_MAX) else {
        return;
    };
    while let Ok(Some(_)) = decoder.next_step() {}
});

//! A CSV file with a header.
#![no_main]

mod columns;

use std::io::Cursor;

use adlake::ingest::decode::csv::Header;
use adlake::ingest::decode::{ColumnMap, CsvDecoder, CsvShape, Decoder, TimeReader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let columns = columns::columns();
    let Ok(map) = ColumnMap::new(&[], &columns) else { return };
    let shape = CsvShape { delimiter: b',', header: Header::FirstRow };
    let content = Cursor::new(data.to_vec());
    let decoder = CsvDecoder::new(content, shape, &columns, &map, TimeReader::standard(), columns::ROW_BYTES_MAX);
    let Ok(mut decoder) = decoder else { return };
    while let Ok(Some(_)) = decoder.next_step() {}
});

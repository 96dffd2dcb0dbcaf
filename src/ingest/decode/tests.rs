//! Decoders as their callers use them: whole bodies in, rows and rejections out. And: no bytes make them panic.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
use arrow::util::pretty::pretty_format_batches;
use proptest::prelude::*;

use super::csv::Header;
use super::*;

const LIMIT: usize = 200;

fn table() -> Schema {
    Schema::new(vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("n", DataType::Int64, true),
        Field::new("price", DataType::Decimal128(10, 2), true),
        Field::new("tags", DataType::List(Arc::new(Field::new("element", DataType::Utf8, true))), true),
    ])
}

fn plain_map() -> ColumnMap {
    ColumnMap::new(&[], &table()).unwrap()
}

/// Rows as a printed table, rejections as sentences.
fn drain(mut decoder: impl Decoder) -> Result<(String, Vec<String>), IngestError> {
    let (mut batches, mut rejected) = (Vec::new(), Vec::new());
    while let Some(step) = decoder.next_step()? {
        batches.push(step.batch.rows);
        rejected.extend(step.rejected.iter().map(Rejection::sentence));
    }
    let table = pretty_format_batches(&batches).map(|table| table.to_string()).unwrap_or_default();
    Ok((table, rejected))
}

fn ndjson(body: &[u8], map: &[(&str, &str)]) -> Result<(String, Vec<String>), IngestError> {
    let map: Vec<_> = map.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
    let map = ColumnMap::new(&map, &table())?;
    drain(NdjsonDecoder::new(body, &table(), map, TimeReader::standard(), LIMIT)?)
}

fn csv_of(body: &[u8], header: Header, map: &[(&str, &str)]) -> Result<(String, Vec<String>), IngestError> {
    let map: Vec<_> = map.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
    let map = ColumnMap::new(&map, &table())?;
    let shape = CsvShape { delimiter: b',', header };
    drain(CsvDecoder::new(body, shape, &table(), &map, TimeReader::standard(), LIMIT)?)
}

#[test]
fn ndjson_rows_come_out_typed() {
    let body = br#"{"id":"a","at":"2017-11-07T09:30:38Z","n":7,"price":0.10,"tags":["x",null]}

{"n":"8","id":5,"at":1510047038000}
"#;
    let (rows, rejected) = ndjson(body, &[]).unwrap();
    assert_eq!(rejected, Vec::<String>::new());
    assert!(rows.contains("| a  | 2017-11-07T09:30:38Z | 7 | 0.10  | [x, ] |"), "{rows}");
    assert!(rows.contains("| 5  | 2017-11-07T09:30:38Z | 8 |       |       |"), "{rows}");
}

#[test]
fn ndjson_rejects_rows_one_by_one() {
    let long = format!("{{\"id\":\"{}\"}}", "x".repeat(LIMIT));
    let body = [
        r#"{"id":"ok"}"#,
        r#"{"id":"a","nn":1}"#,
        r#"{"id":"a","n":99999999999999999999}"#,
        r#"{"id":"a","id":"b"}"#,
        r#"{"id":"a""#,
        "[1]",
        r#"{"id":"a"} x"#,
        &long,
        r#"{"id":"a","price":"0.123"}"#,
    ]
    .join("\n");
    let mut body = body.into_bytes();
    body.extend_from_slice(b"\n{\"id\":\"\xff\"}\n{\"id\":\"end\"}");
    let (rows, rejected) = ndjson(&body, &[]).unwrap();
    assert!(rows.contains("| ok ") && rows.contains("| end "), "{rows}");
    let wanted = [
        "line 2, field 'nn': is not a column of the table; did you mean 'n'?",
        "line 3, field 'n': '99999999999999999999' is out of range",
        "line 4, field 'id': is given twice",
        "line 5: is not valid JSON: EOF while parsing an object at character 9",
        "line 6: is not a JSON object",
        "line 7: is not valid JSON: something follows the object",
        "line 8: is 209 bytes long, more than the 200 B a row may have",
        "line 9, field 'price': '0.123' has more than 2 digits behind the point",
        "line 10: is not valid UTF-8 (byte 8)",
    ];
    assert_eq!(rejected.len(), wanted.len(), "{rejected:#?}");
    for (rejection, wanted) in rejected.iter().zip(wanted) {
        assert!(rejection.starts_with(wanted), "{rejection}\nwanted {wanted}");
    }
}

#[test]
fn json_fields_are_mapped() {
    let (rows, rejected) = ndjson(br#"{"key":"a","junk":{"x":[1]}}"#, &[("key", "id"), ("*", "")]).unwrap();
    assert!(rows.contains("| a ") && rejected.is_empty(), "{rows} {rejected:?}");
}

#[test]
fn json_arrays_number_their_rows() {
    let body = br#" [ {"id":"a"}, 7, {"id":"b","n":1.5} ] "#;
    let decoder = JsonArrayDecoder::new(bytes::Bytes::from_static(body), &table(), plain_map(), LIMIT).unwrap();
    let (rows, rejected) = drain(decoder).unwrap();
    assert!(rows.contains("| a "), "{rows}");
    assert_eq!(rejected, ["line 2: is not a JSON object", "line 3, field 'n': '1.5' is not an integer"]);
    let one =
        JsonArrayDecoder::new(bytes::Bytes::from_static(b"{\"id\":\"a\"}"), &table(), plain_map(), LIMIT).unwrap();
    assert!(drain(one).unwrap().0.contains("| a "));
    for bad in [&b"[{\"id\":\"a\"},"[..], b"", b"hello", b"[\xff]", b"\"text\""] {
        assert!(
            JsonArrayDecoder::new(bytes::Bytes::copy_from_slice(bad), &table(), plain_map(), LIMIT).is_err(),
            "{bad:?}"
        );
    }
}

#[test]
fn csv_reads_quotes_and_keeps_line_numbers() {
    let body = b"id,n,at\r\n\"a, \"\"q\"\"\",1,2017-11-07 09:30:38\r\n\r\n\"two\nlines\",x,\nb,3\nc,,\n";
    let (rows, rejected) = csv_of(body, Header::FirstRow, &[]).unwrap();
    assert!(rows.contains("| a, \"q\" | 2017-11-07T09:30:38Z | 1 |"), "{rows}");
    assert!(rows.contains("| c "), "{rows}");
    assert_eq!(rejected, ["line 4, field 'n': 'x' is not an integer", "line 6: has 2 fields, not 3"]);
}

#[test]
fn csv_without_header_numbers_its_columns() {
    let map = [("column_1", "id"), ("column_2", ""), ("column_3", "n")];
    let (rows, rejected) = csv_of(b"a,zzz,1\nb,zzz,2", Header::None, &map).unwrap();
    assert!(rows.contains("| a ") && rows.contains("| b ") && rejected.is_empty(), "{rows}");
    let error = csv_of(b"a,zzz,1", Header::None, &map[..2]).unwrap_err().to_string();
    assert!(error.contains("no column for 'column_3'") && error.contains("--map column_3="), "{error}");
}

#[test]
fn csv_rejects_rows_one_by_one() {
    let mut body = b"id,n\nok,1\n".to_vec();
    body.extend_from_slice(b"\xff,2\n");
    body.extend_from_slice(format!("{},3\n", "y".repeat(5_000)).as_bytes());
    body.extend_from_slice(format!("{}\n", ",".repeat(20_000)).as_bytes());
    body.extend_from_slice(b"end,4\n\"unclosed,5\nmore,6");
    let (rows, rejected) = csv_of(&body, Header::FirstRow, &[]).unwrap();
    assert!(rows.contains("| ok ") && rows.contains("| end "), "{rows}");
    assert_eq!(rejected.len(), 4, "{rejected:#?}");
    assert_eq!(rejected[0], "line 3, field 'id': is not valid UTF-8");
    assert!(rejected[1].starts_with("line 4: is 500"), "{}", rejected[1]);
    assert!(rejected[2].starts_with("line 5: has more than"), "{}", rejected[2]);
    assert!(rejected[3].starts_with("line 7: has 1 fields, not 2"), "{}", rejected[3]);
}

#[test]
fn csv_files_without_sense_are_refused() {
    for body in [&b""[..], b"\n\n", b"id,id\n", b"id,other\n", b"id,\xff\n"] {
        assert!(csv_of(body, Header::FirstRow, &[]).is_err(), "{body:?}");
    }
}

#[test]
fn many_rows_come_in_several_steps() {
    let body: String = (0..20_000).map(|n| format!("{{\"id\":\"k{n}\",\"n\":{n}}}\n")).collect();
    let map = ColumnMap::default();
    let map = ColumnMap::new(&[], &table()).unwrap_or(map);
    let mut decoder = NdjsonDecoder::new(body.as_bytes(), &table(), map, TimeReader::standard(), LIMIT).unwrap();
    let (mut steps, mut sum) = (0, 0);
    while let Some(step) = decoder.next_step().unwrap() {
        steps += 1;
        sum += step.batch.rows.column(2).as_primitive::<Int64Type>().iter().flatten().sum::<i64>();
    }
    assert_eq!((steps, sum), (3, 199_990_000));
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = ndjson(&bytes, &[]);
        let _ = csv_of(&bytes, Header::FirstRow, &[("*", "")]);
        let _ = csv_of(&bytes, Header::None, &[("*", "")]);
        let _ = JsonArrayDecoder::new(bytes::Bytes::from(bytes.clone()), &table(), plain_map(), LIMIT).and_then(drain);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        std::fs::write(&path, [b"PAR1", bytes.as_slice(), b"PAR1"].concat()).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        let map = ColumnMap::new(&[], &table()).unwrap();
        let _ = ParquetDecoder::new(file, &table(), &map, &TimeReader::standard()).and_then(drain);
    }

    /// Bytes that look like the format get further in.
    #[test]
    fn no_json_like_text_makes_a_decoder_panic(text in r#"(\{("(id|n|at|price|tags|x)":("[ -~é]{0,12}"|-?[0-9]{1,25}(\.[0-9]{0,5})?(e-?[0-9]{1,4})?|\[("a"|1|null|,){0,4}\]|null|true),?){0,4}\}\n?){0,4}"#) {
        let _ = ndjson(text.as_bytes(), &[]);
        let _ = JsonArrayDecoder::new(bytes::Bytes::from(format!("[{text}]")), &table(), plain_map(), LIMIT).and_then(drain);
    }

    #[test]
    fn no_csv_like_text_makes_a_decoder_panic(text in "id,n,at\n([0-9a-z\"é. :-]{0,10},?){0,20}\n([0-9\",\n-]{0,40})") {
        let _ = csv_of(text.as_bytes(), Header::FirstRow, &[]);
    }
}

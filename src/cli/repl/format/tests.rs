//! Every format on the same awkward rows.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use parking_lot::Mutex;

use super::*;

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

fn batch(names: &[Option<&str>], counts: &[Option<i64>]) -> RecordBatch {
    let fields = vec![Field::new("name", DataType::Utf8, true), Field::new("n", DataType::Int64, true)];
    let names: StringArray = names.iter().copied().collect();
    let counts: Int64Array = counts.iter().copied().collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(names), Arc::new(counts)]).unwrap()
}

fn awkward() -> RecordBatch {
    let names = [Some("a,\"b\""), None, Some(""), Some("NULL"), Some("x\ty\nz|\\"), Some("\u{4e2d}\u{6587}")];
    batch(&names, &[Some(1), Some(-20), None, Some(3), Some(4), Some(5)])
}

fn render(format: OutputFormat, expanded: bool, batches: &[RecordBatch]) -> String {
    let shared = Shared::default();
    let style = Style { format, expanded, colour: false };
    let mut writer = writer(style, &batches[0].schema(), Box::new(shared.clone())).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    shared.text()
}

#[test]
fn table() {
    let text = render(OutputFormat::Table, false, &[awkward()]);
    let wanted = "    name      |  n
--------------+-----
 a,\"b\"        |   1
 NULL         | -20
              | NULL
 'NULL'       |   3
 x\\ty         |   4
 z|\\          |
 \u{4e2d}\u{6587}         |   5
(6 rows)
";
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(squeeze(&text), squeeze(&wanted.replace("--------------+-----", text.lines().nth(1).unwrap())));
    let bars: Vec<_> = text.lines().skip(2).take(4).map(|line| line.find('|')).collect();
    assert!(bars.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
}

#[test]
fn a_value_of_several_lines_takes_several_lines() {
    let rows = batch(&[Some("Sort\n  Scan\u{1b}[2J clicks\r\n"), Some("one")], &[None, Some(2)]);
    let text = render(OutputFormat::Table, false, std::slice::from_ref(&rows));
    let wanted = [
        "          name          |  n",
        "------------------------+------",
        " Sort                   | NULL",
        "   Scan\\u{1b}[2J clicks |",
        " one                    |    2",
        "(2 rows)",
        "",
    ];
    let wanted = wanted.join("\n");
    assert_eq!(text, wanted);
    let text = render(OutputFormat::Table, true, &[rows]);
    assert!(text.contains("name | Sort\n     |   Scan\\u{1b}[2J clicks\nn    | NULL\n"), "{text}");
}

#[test]
fn table_is_held_back_only_for_widths() {
    let shared = Shared::default();
    let style = Style { format: OutputFormat::Table, expanded: false, colour: false };
    let first = batch(&vec![Some("a"); table::WIDTH_ROWS], &vec![Some(1); table::WIDTH_ROWS]);
    let mut writer = writer(style, &first.schema(), Box::new(shared.clone())).unwrap();
    writer.write(&batch(&[Some("a")], &[Some(1)])).unwrap();
    assert_eq!(shared.text(), "");
    writer.write(&first).unwrap();
    assert_eq!(shared.text().lines().count(), 2 + 1 + table::WIDTH_ROWS);
    writer.write(&batch(&[Some("much wider")], &[Some(1)])).unwrap();
    assert!(shared.text().ends_with("\n much wider | 1\n"), "a wide late value is not cut");
}

#[test]
fn expanded() {
    let text = render(OutputFormat::Table, true, &[batch(&[Some("a")], &[None])]);
    assert_eq!(text, "-[ row 1 ]--------------------\nname | a\nn    | NULL\n(1 row)\n");
}

#[test]
fn csv() {
    let text = render(OutputFormat::Csv, false, &[awkward()]);
    let wanted = "name,n\n\"a,\"\"b\"\"\",1\n,-20\n\"\",\nNULL,3\n\"x\ty\nz|\\\",4\n\u{4e2d}\u{6587},5\n";
    assert_eq!(text, wanted);
}

#[test]
fn tsv() {
    let text = render(OutputFormat::Tsv, false, &[awkward()]);
    assert_eq!(text, "name\tn\na,\"b\"\t1\n\\N\t-20\n\t\\N\nNULL\t3\nx\\ty\\nz|\\\\\t4\n\u{4e2d}\u{6587}\t5\n");
}

#[test]
fn markdown() {
    let text = render(OutputFormat::Markdown, false, &[batch(&[Some("a|b"), None], &[Some(1), Some(2)])]);
    assert_eq!(text, "| name | n |\n| --- | --: |\n| a\\|b | 1 |\n| *NULL* | 2 |\n");
}

#[test]
fn json_is_one_array_over_many_batches() {
    let text = render(OutputFormat::Json, false, &[batch(&[Some("a")], &[None]), batch(&[None], &[Some(2)])]);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value, serde_json::json!([{"name": "a", "n": null}, {"name": null, "n": 2}]));
}

#[test]
fn ndjson_is_one_object_per_line() {
    let text = render(OutputFormat::Ndjson, false, &[batch(&[Some("a"), None], &[None, Some(2)])]);
    assert_eq!(text, "{\"name\":\"a\",\"n\":null}\n{\"name\":null,\"n\":2}\n");
}

#[test]
fn empty_results_are_well_formed() {
    let empty = batch(&[], &[]);
    assert_eq!(render(OutputFormat::Csv, false, std::slice::from_ref(&empty)), "name,n\n");
    assert_eq!(render(OutputFormat::Json, false, std::slice::from_ref(&empty)).trim(), "[]");
    assert!(render(OutputFormat::Table, false, &[empty]).ends_with("(0 rows)\n"));
}

#[test]
fn parquet_reads_back() {
    let shared = Shared::default();
    let style = Style { format: OutputFormat::Parquet, expanded: false, colour: false };
    let mut writer = writer(style, &awkward().schema(), Box::new(shared.clone())).unwrap();
    writer.write(&awkward()).unwrap();
    writer.finish().unwrap();
    let bytes = bytes::Bytes::from(shared.0.lock().clone());
    let mut reader = ::parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes, 1024).unwrap();
    assert_eq!(reader.next().unwrap().unwrap(), awkward());
}

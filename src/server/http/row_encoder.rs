//! Record batches to bytes, a piece at a time, in the form the client asked for.
//!
//! Values: integers and decimals are JSON numbers with all their digits, timestamps RFC 3339, binary hexadecimal,
//! NaN and infinities null. A CSV field is empty for NULL and for the empty string alike.

use std::io::Write;

use arrow::csv;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::json::StructMode;
use arrow::json::writer::{JsonFormat, LineDelimited, WriterBuilder};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use serde_json::{Value, json};

use super::accept::Format;

/// How `application/json` holds the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonShape {
    /// `{…, "columns":[{"name","type"}], "rows":[[…],…]}`: names once, any names.
    Table,
    /// `{…, "rows":[{…},…]}`.
    Objects,
}

/// Encodes one result: `begin`, `batch` for each batch, `end`.
pub enum RowEncoder {
    Json { schema: SchemaRef, shape: JsonShape, head: Value, any: bool },
    Ndjson,
    Csv { schema: SchemaRef },
    Arrow(Box<StreamWriter<Vec<u8>>>),
}

impl RowEncoder {
    /// `head` holds the members that stand before the rows in JSON.
    ///
    /// # Errors
    /// A column the form cannot hold.
    pub fn new(format: Format, schema: SchemaRef, shape: JsonShape, head: Value) -> Result<Self, ArrowError> {
        Ok(match format {
            Format::Json => Self::Json { schema, shape, head, any: false },
            Format::Ndjson => Self::Ndjson,
            Format::Csv => match schema.fields().iter().find(|field| field.data_type().is_nested()) {
                Some(field) => {
                    let message = format!(
                        "column '{}' holds {}, which CSV cannot; ask for JSON",
                        field.name(),
                        field.data_type()
                    );
                    return Err(ArrowError::CsvError(message));
                }
                None => Self::Csv { schema },
            },
            Format::Arrow => Self::Arrow(Box::new(StreamWriter::try_new(Vec::new(), &schema)?)),
        })
    }

    /// What stands before the first row.
    pub fn begin(&mut self) -> Result<Bytes, ArrowError> {
        match self {
            Self::Json { schema, shape, head, .. } => {
                if *shape == JsonShape::Table {
                    head["columns"] = columns(schema);
                }
                let mut text = head.to_string();
                // Reopens the object: `{…}` becomes `{…,"rows":[`.
                text.pop();
                text.push_str(if text.len() > 1 { ",\"rows\":[" } else { "\"rows\":[" });
                Ok(text.into())
            }
            Self::Ndjson => Ok(Bytes::new()),
            Self::Csv { schema } => {
                let mut text = Vec::new();
                csv::WriterBuilder::new()
                    .with_header(true)
                    .build(&mut text)
                    .write(&RecordBatch::new_empty(schema.clone()))?;
                Ok(text.into())
            }
            Self::Arrow(writer) => Ok(taken(writer)),
        }
    }

    pub fn batch(&mut self, batch: &RecordBatch) -> Result<Bytes, ArrowError> {
        let mut text = Vec::new();
        match self {
            Self::Json { shape, any, .. } => {
                if *any && batch.num_rows() > 0 {
                    text.push(b',');
                }
                *any |= batch.num_rows() > 0;
                let mode = match shape {
                    JsonShape::Table => StructMode::ListOnly,
                    JsonShape::Objects => StructMode::ObjectOnly,
                };
                json_rows(mode).build::<_, CommaSeparated>(&mut text).write(batch)?;
            }
            Self::Ndjson => json_rows(StructMode::ObjectOnly).build::<_, LineDelimited>(&mut text).write(batch)?,
            Self::Csv { .. } => csv::WriterBuilder::new().with_header(false).build(&mut text).write(batch)?,
            Self::Arrow(writer) => {
                writer.write(batch)?;
                return Ok(taken(writer));
            }
        }
        Ok(text.into())
    }

    /// What stands after the last row.
    pub fn end(&mut self) -> Result<Bytes, ArrowError> {
        match self {
            Self::Json { .. } => Ok(Bytes::from_static(b"]}")),
            Self::Ndjson | Self::Csv { .. } => Ok(Bytes::new()),
            Self::Arrow(writer) => {
                writer.finish()?;
                Ok(taken(writer))
            }
        }
    }
}

fn taken(writer: &mut StreamWriter<Vec<u8>>) -> Bytes {
    std::mem::take(writer.get_mut()).into()
}

fn json_rows(mode: StructMode) -> WriterBuilder {
    WriterBuilder::new().with_explicit_nulls(true).with_struct_mode(mode)
}

/// The one row of `batch` as a JSON object.
pub fn json_object(batch: &RecordBatch) -> Result<Bytes, ArrowError> {
    let mut text = Vec::new();
    json_rows(StructMode::ObjectOnly).build::<_, CommaSeparated>(&mut text).write(batch)?;
    Ok(text.into())
}

fn columns(schema: &SchemaRef) -> Value {
    let columns = schema.fields().iter();
    columns.map(|field| json!({ "name": field.name(), "type": super::sql_type::name(field.data_type()) })).collect()
}

/// Rows with commas between them and nothing around.
#[derive(Debug, Default)]
struct CommaSeparated;

impl JsonFormat for CommaSeparated {
    fn start_row<W: Write>(&self, writer: &mut W, is_first_row: bool) -> Result<(), ArrowError> {
        if !is_first_row {
            writer.write_all(b",")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Decimal128Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
    use arrow::ipc::reader::StreamReader;

    use super::*;

    fn sample() -> RecordBatch {
        let id = Int64Array::from(vec![Some(i64::MAX), None]);
        let price = Decimal128Array::from(vec![Some(123_456_789_012_345_678_901_234_567_890), Some(-5)]);
        let time = TimestampMicrosecondArray::from(vec![Some(1_500_000), None]).with_timezone("UTC");
        RecordBatch::try_from_iter_with_nullable([
            ("id", Arc::new(id) as ArrayRef, true),
            ("price", Arc::new(price.with_precision_and_scale(38, 2).unwrap()), true),
            ("at", Arc::new(time), true),
            ("name", Arc::new(StringArray::from(vec!["a\"b,c", ""])), true),
            ("ratio", Arc::new(Float64Array::from(vec![0.1, f64::NAN])), true),
        ])
        .unwrap()
    }

    fn encode(format: Format, shape: JsonShape, batches: &[RecordBatch]) -> Vec<u8> {
        let mut encoder = RowEncoder::new(format, sample().schema(), shape, json!({})).unwrap();
        let mut all = encoder.begin().unwrap().to_vec();
        for batch in batches {
            all.extend_from_slice(&encoder.batch(batch).unwrap());
        }
        all.extend_from_slice(&encoder.end().unwrap());
        all
    }

    #[test]
    fn json_keeps_every_digit() {
        let text = String::from_utf8(encode(Format::Json, JsonShape::Table, &[sample(), sample()])).unwrap();
        let row = r#"[9223372036854775807,1234567890123456789012345678.90,"1970-01-01T00:00:01.500Z","a\"b,c",0.1]"#;
        assert!(text.contains(row), "{text}");
        assert!(text.contains(r#"[null,-0.05,null,"",null]"#), "{text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["rows"].as_array().unwrap().len(), 4);
        assert_eq!(value["columns"][1], json!({ "name": "price", "type": "DECIMAL(38, 2)" }));
    }

    #[test]
    fn no_rows_are_still_a_document() {
        let empty = RecordBatch::new_empty(sample().schema());
        let value: Value = serde_json::from_slice(&encode(Format::Json, JsonShape::Objects, &[])).unwrap();
        assert_eq!(value, json!({ "rows": [] }));
        let after_empty = encode(Format::Json, JsonShape::Objects, &[empty, sample()]);
        assert_eq!(serde_json::from_slice::<Value>(&after_empty).unwrap()["rows"][1]["id"], Value::Null);
        assert_eq!(encode(Format::Csv, JsonShape::Table, &[]), b"id,price,at,name,ratio\n");
    }

    #[test]
    fn csv_and_ndjson_have_a_line_a_row() {
        let text = String::from_utf8(encode(Format::Csv, JsonShape::Table, &[sample()])).unwrap();
        assert!(text.contains("\"a\"\"b,c\""), "{text}");
        let lines = String::from_utf8(encode(Format::Ndjson, JsonShape::Table, &[sample(), sample()])).unwrap();
        assert_eq!(lines.lines().count(), 4);
        assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).unwrap().is_object()));
    }

    #[test]
    fn arrow_reads_back() {
        let bytes = encode(Format::Arrow, JsonShape::Table, &[sample(), sample()]);
        let read: Vec<_> = StreamReader::try_new(&bytes[..], None).unwrap().map(Result::unwrap).collect();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].columns()[..4], sample().columns()[..4]);
    }
}

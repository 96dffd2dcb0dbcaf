//! Batches encoded ahead, with places for fresh event ids and times.

use std::sync::Arc;

use ::arrow::array::{Array, AsArray, StringArray, TimestampMicrosecondArray};
use ::arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use ::arrow::datatypes::{Int64Type, SchemaRef};
use ::arrow::record_batch::RecordBatch;
use anyhow::{Context, Result};
use prost::Message;

use super::grpc::messages::append_request::Payload;
use super::grpc::messages::{AppendRequest, Click, Clicks};
use crate::base::Timestamp;
use crate::cli::generate;

/// Bytes of an id as text: a UUID.
const ID_BYTES: usize = 36;
/// Bytes of a present time as protobuf's varint (microseconds: 51 bits) and as text (milliseconds).
const VARINT_BYTES: usize = 8;
const MILLIS_BYTES: usize = 13;

/// How batches are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Arrow,
    Protobuf,
    Ndjson,
    /// One object.
    Json,
}

/// Encoded batches, used in turn.
pub struct Templates {
    form: Form,
    batches: Vec<Template>,
}

/// One batch.
pub struct Template {
    /// Without the columns that change, for Arrow.
    pub rows: RecordBatch,
    bytes: Vec<u8>,
    /// Where each row's id begins; its time lies `time_offset` bytes behind the id's end.
    ids: Vec<usize>,
}

/// Ids nobody has used: a mixed counter.
pub struct Ids {
    high: u64,
    low: u64,
    next: u64,
}

impl Ids {
    pub fn new(seed: u64, connection: u64) -> Self {
        Self { high: mixed(seed), low: mixed(seed ^ mixed(connection)), next: 0 }
    }

    fn next(&mut self) -> u128 {
        self.next += 1;
        // Mixing is one to one, so different counters never give the same low half.
        u128::from(mixed(self.high ^ self.next)) << 64 | u128::from(mixed(self.low.wrapping_add(self.next)))
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection.
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

impl Templates {
    pub fn new(form: Form, count: usize, row_count: usize, table: &str, now: Timestamp) -> Result<Self> {
        // Enough different single rows that no ad is in all of them.
        let count = if form == Form::Json { 4_096 } else { count };
        let rows = generate::clicks(1, count * row_count, now).context("cannot generate clicks")?;
        let slices = (0..count).map(|index| rows.slice(index * row_count, row_count));
        let batches = slices.map(|rows| Template::new(form, rows, table, now)).collect::<Result<_>>()?;
        Ok(Self { form, batches })
    }

    pub fn get(&self, number: u64) -> &Template {
        let count = self.batches.len() as u64;
        &self.batches[(number % count) as usize]
    }

    /// Batch `number`, with fresh ids and the time `now`.
    pub fn fill(&self, number: u64, ids: &mut Ids, now: Timestamp) -> Vec<u8> {
        let template = self.get(number);
        let mut bytes = template.bytes.clone();
        let (time, time_offset): (Vec<u8>, usize) = match self.form {
            Form::Protobuf => (varint(now), 1),
            Form::Arrow | Form::Ndjson | Form::Json => (now.millis().to_string().into_bytes(), TIME_KEY.len()),
        };
        for at in &template.ids {
            let (id, rest) = bytes[*at..].split_at_mut(ID_BYTES);
            write_id(id, ids.next());
            rest[time_offset..time_offset + time.len()].copy_from_slice(&time);
        }
        bytes
    }

    pub fn schema(&self) -> SchemaRef {
        self.get(0).rows.schema()
    }
}

/// What stands between an id and the time in JSON.
const TIME_KEY: &str = "\",\"event_time\":";

impl Template {
    fn new(form: Form, rows: RecordBatch, table: &str, now: Timestamp) -> Result<Self> {
        let bytes = match form {
            Form::Arrow => Vec::new(),
            Form::Protobuf => protobuf(&rows, table, now),
            Form::Ndjson | Form::Json => json(&rows, now),
        };
        let original = rows.column(0).as_string::<i32>();
        let mut ids = Vec::with_capacity(rows.num_rows());
        let mut from = 0;
        for id in original.iter().flatten().filter(|_| form != Form::Arrow) {
            let at = find(&bytes[from..], id.as_bytes()).context("an encoded row without its id")?;
            ids.push(from + at);
            from += at + ID_BYTES;
        }
        Ok(Self { rows, bytes, ids })
    }

    /// The rows with fresh ids and the time `now`; the other columns are shared.
    pub fn fresh(&self, ids: &mut Ids, now: Timestamp) -> Result<RecordBatch> {
        let row_count = self.rows.num_rows();
        let mut text = vec![0; row_count * ID_BYTES];
        for id in text.chunks_exact_mut(ID_BYTES) {
            write_id(id, ids.next());
        }
        let ends = (0..=row_count).map(|row| i32::try_from(row * ID_BYTES)).collect::<Result<Vec<_>, _>>()?;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
        let mut columns = self.rows.columns().to_vec();
        columns[0] = Arc::new(StringArray::try_new(offsets, Buffer::from_vec(text), None)?);
        columns[1] = Arc::new(TimestampMicrosecondArray::from(vec![now.micros(); row_count]).with_timezone("UTC"));
        Ok(RecordBatch::try_new(self.rows.schema(), columns)?)
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn varint(time: Timestamp) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(VARINT_BYTES);
    prost::encoding::encode_varint(time.micros().unsigned_abs(), &mut bytes);
    bytes
}

/// Lower-case hexadecimal digits in the groups of a UUID.
fn write_id(into: &mut [u8], id: u128) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut left = id;
    for at in (0..ID_BYTES).rev() {
        into[at] = match at {
            8 | 13 | 18 | 23 => b'-',
            _ => {
                let digit = DIGITS[(left & 0xf) as usize];
                left >>= 4;
                digit
            }
        };
    }
}

fn text(rows: &RecordBatch, name: &str, row: usize) -> Option<String> {
    let column = rows.column_by_name(name)?.as_string::<i32>();
    column.is_valid(row).then(|| column.value(row).to_owned())
}

fn price(rows: &RecordBatch, row: usize) -> Option<i64> {
    Some(rows.column_by_name("price_micros")?.as_primitive::<Int64Type>().value(row))
}

fn protobuf(rows: &RecordBatch, table: &str, now: Timestamp) -> Vec<u8> {
    let click = |row| Click {
        event_id: text(rows, "event_id", row),
        event_time: Some(now.micros()),
        impression_id: None,
        ad_id: text(rows, "ad_id", row),
        campaign_id: text(rows, "campaign_id", row),
        user_id: text(rows, "user_id", row),
        ip: text(rows, "ip", row),
        country: text(rows, "country", row),
        device: text(rows, "device", row),
        price_micros: price(rows, row),
    };
    let clicks = Clicks { rows: (0..rows.num_rows()).map(click).collect() };
    let request =
        AppendRequest { table: table.to_owned(), payload: Some(Payload::Clicks(clicks)), ..AppendRequest::default() };
    request.encode_to_vec()
}

/// The generator's values need no escapes.
fn json(rows: &RecordBatch, now: Timestamp) -> Vec<u8> {
    let mut lines = String::new();
    for row in 0..rows.num_rows() {
        let id = text(rows, "event_id", row).unwrap_or_default();
        lines.push_str(&format!("{{\"event_id\":\"{id}{TIME_KEY}{:0MILLIS_BYTES$}", now.millis()));
        for name in ["ad_id", "campaign_id", "user_id", "ip", "country", "device"] {
            lines.push_str(&format!(",\"{name}\":\"{}\"", text(rows, name, row).unwrap_or_default()));
        }
        lines.push_str(&format!(",\"price_micros\":{}}}\n", price(rows, row).unwrap_or_default()));
    }
    lines.into_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const NOW: Timestamp = Timestamp(1_767_323_045_000_000);

    fn templates(form: Form) -> Templates {
        Templates::new(form, 2, 50, "clicks", NOW).unwrap()
    }

    #[test]
    fn ids_never_repeat() {
        let (mut one, mut two) = (Ids::new(1, 0), Ids::new(1, 1));
        let ids: HashSet<u128> = (0..10_000).flat_map(|_| [one.next(), two.next()]).collect();
        assert_eq!(ids.len(), 20_000);
    }

    #[test]
    fn protobuf_batches_are_valid_with_fresh_ids_and_times() {
        let (templates, mut ids) = (templates(Form::Protobuf), Ids::new(1, 0));
        let later = Timestamp(NOW.micros() + 5_000_000);
        let mut seen = HashSet::new();
        for number in 0..3 {
            let request = AppendRequest::decode(&templates.fill(number, &mut ids, later)[..]).unwrap();
            let Some(Payload::Clicks(clicks)) = request.payload else { panic!("no clicks") };
            assert_eq!((request.table.as_str(), clicks.rows.len()), ("clicks", 50));
            for row in clicks.rows {
                assert_eq!(row.event_time, Some(later.micros()));
                assert!(row.ad_id.unwrap().starts_with("ad") && row.price_micros.is_some());
                assert!(seen.insert(uuid::Uuid::parse_str(&row.event_id.unwrap()).unwrap()));
            }
        }
    }

    #[test]
    fn json_batches_are_valid_with_fresh_ids_and_times() {
        let (templates, mut ids) = (templates(Form::Ndjson), Ids::new(1, 0));
        let later = Timestamp(NOW.micros() + 5_000_000);
        let text = String::from_utf8(templates.fill(1, &mut ids, later)).unwrap();
        let rows: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows.len(), 50);
        assert!(rows.iter().all(|row| row["event_time"] == later.millis() && row["country"].is_string()));
        let distinct: HashSet<&str> = rows.iter().map(|row| row["event_id"].as_str().unwrap()).collect();
        assert_eq!(distinct.len(), 50);
    }

    #[test]
    fn arrow_batches_share_what_does_not_change() {
        let (templates, mut ids) = (templates(Form::Arrow), Ids::new(1, 0));
        let template = templates.get(0);
        let fresh = template.fresh(&mut ids, NOW).unwrap();
        assert_ne!(fresh.column(0), template.rows.column(0));
        assert!(Arc::ptr_eq(fresh.column(3), template.rows.column(3)));
        assert!(uuid::Uuid::parse_str(fresh.column(0).as_string::<i32>().value(49)).is_ok());
    }
}

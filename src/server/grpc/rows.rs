//! A list of typed rows, read straight from the wire into columns: no object and no string per row.
//!
//! ```text
//! Clicks { rows: [Click, Click, …] } ─► per row: fields → cells (last one wins, unknown ones skipped) ─► columns ─► RecordBatch
//! ```
//! Follows the protobuf encoding specification (protobuf.dev/programming-guides/encoding). A row that is damaged damages the
//! request: lengths after it cannot be trusted. Which row and field it was is kept and told by [`Rows::into_batch`].

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{Field as ArrowField, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use bytes::{Buf, BufMut};
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::shapes::{Kind, Shape};

/// Most rows of one request: an empty row takes two bytes on the wire and sixty in memory.
const ROWS_MAX: usize = 1_000_000;
/// More than any shape has.
const FIELDS_MAX: usize = 15;

/// Rows as columns while they are read.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows<S: Shape> {
    columns: Vec<Column>,
    row_count: usize,
    /// The first damage met; nothing is read after it.
    damage: Option<String>,
    shape: PhantomData<S>,
}

#[derive(Clone, Debug, PartialEq)]
struct Column {
    values: Values,
    valid: Vec<bool>,
    /// Rows that have a value.
    set: usize,
}

#[derive(Clone, Debug, PartialEq)]
enum Values {
    Text { ends: Vec<i32>, bytes: Vec<u8> },
    Numbers(Vec<i64>),
}

/// One field of one row.
#[derive(Clone, Copy)]
enum Cell<'a> {
    Null,
    Text(&'a [u8]),
    Number(i64),
}

impl<S: Shape> Default for Rows<S> {
    fn default() -> Self {
        let column = |field: &super::shapes::Field| Column {
            values: match field.kind {
                Kind::Text => Values::Text { ends: vec![0], bytes: Vec::new() },
                Kind::Number | Kind::Time => Values::Numbers(Vec::new()),
            },
            valid: Vec::new(),
            set: 0,
        };
        Self { columns: S::FIELDS.iter().map(column).collect(), row_count: 0, damage: None, shape: PhantomData }
    }
}

impl<S: Shape> Rows<S> {
    /// The rows; columns that no row has are left out.
    ///
    /// # Errors
    /// Names the first row that is damaged, or whose text is not UTF-8.
    pub fn into_batch(self) -> Result<RecordBatch, String> {
        if let Some(damage) = self.damage {
            return Err(damage);
        }
        let (mut fields, mut arrays) = (Vec::new(), Vec::new());
        for (field, column) in S::FIELDS.iter().zip(self.columns) {
            if column.set == 0 {
                continue;
            }
            let array = column
                .into_array(field.kind)
                .map_err(|row| format!("row {row}, field '{}': is not UTF-8; protobuf strings must be", field.name))?;
            fields.push(ArrowField::new(field.name, array.data_type().clone(), true));
            arrays.push(array);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.row_count));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
            .map_err(|error| format!("the rows cannot be read: {error}"))
    }

    fn read_row(&mut self, row: &[u8]) -> Result<(), String> {
        let number = self.row_count + 1;
        if number > ROWS_MAX {
            return Err(format!("a request takes at most {ROWS_MAX} rows; send them in parts"));
        }
        let mut cells = [Cell::Null; FIELDS_MAX];
        read_fields::<S>(row, &mut cells).map_err(|reason| format!("row {number}{reason}"))?;
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push(cell).map_err(|()| format!("row {number}: the text of one column exceeds 2 GiB"))?;
        }
        self.row_count = number;
        Ok(())
    }
}

/// The fields of one row; the reason of a failure begins with the field, if one is known.
fn read_fields<'a, S: Shape>(row: &'a [u8], cells: &mut [Cell<'a>; FIELDS_MAX]) -> Result<(), String> {
    let mut rest = row;
    let mut next = 0;
    while !rest.is_empty() {
        let (tag, wire_type) = decode_key(&mut rest).map_err(|error| format!(": {error}"))?;
        // Fields nearly always come in the order of their numbers.
        let found = match S::FIELDS.get(next) {
            Some(field) if field.tag == tag => Some(next),
            _ => S::FIELDS.iter().position(|field| field.tag == tag),
        };
        let Some(found) = found else {
            skip_field(wire_type, tag, &mut rest, DecodeContext::default()).map_err(|error| format!(": {error}"))?;
            continue;
        };
        let field = &S::FIELDS[found];
        next = found + 1;
        let failed = |reason: &dyn std::fmt::Display| format!(", field '{}': {reason}", field.name);
        cells[found] = match (field.kind, wire_type) {
            (Kind::Text, WireType::LengthDelimited) => {
                let length = decode_varint(&mut rest).map_err(|error| failed(&error))?;
                let length = usize::try_from(length).ok().filter(|length| *length <= rest.len());
                let Some(length) = length else { return Err(failed(&"is cut off")) };
                let (text, after) = rest.split_at(length);
                rest = after;
                Cell::Text(text)
            }
            (Kind::Number | Kind::Time, WireType::Varint) => {
                // int64 travels as its two's complement.
                Cell::Number(decode_varint(&mut rest).map_err(|error| failed(&error))?.cast_signed())
            }
            _ => return Err(failed(&"is encoded as another type than the proto declares")),
        };
    }
    Ok(())
}

impl Column {
    /// Fails when the column's text grows beyond what Arrow's offsets can count.
    fn push(&mut self, cell: Cell<'_>) -> Result<(), ()> {
        let set = match (&mut self.values, cell) {
            (Values::Text { ends, bytes }, cell) => {
                if let Cell::Text(text) = cell {
                    bytes.extend_from_slice(text);
                }
                ends.push(i32::try_from(bytes.len()).map_err(|_| ())?);
                matches!(cell, Cell::Text(_))
            }
            (Values::Numbers(numbers), Cell::Number(number)) => {
                numbers.push(number);
                true
            }
            (Values::Numbers(numbers), Cell::Null | Cell::Text(_)) => {
                numbers.push(0);
                false
            }
        };
        self.valid.push(set);
        self.set += usize::from(set);
        Ok(())
    }

    /// The 1-based row whose text is not UTF-8, as error.
    fn into_array(self, kind: Kind) -> Result<ArrayRef, usize> {
        let nulls = (self.set < self.valid.len()).then(|| NullBuffer::from(self.valid));
        Ok(match self.values {
            Values::Numbers(numbers) if kind == Kind::Time => {
                Arc::new(TimestampMicrosecondArray::new(numbers.into(), nulls).with_timezone("UTC"))
            }
            Values::Numbers(numbers) => Arc::new(Int64Array::new(numbers.into(), nulls)),
            Values::Text { ends, bytes } => {
                let bytes = Buffer::from_vec(bytes);
                let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
                match StringArray::try_new(offsets.clone(), bytes.clone(), nulls) {
                    Ok(array) => Arc::new(array),
                    Err(_) => return Err(first_not_utf8(&offsets, &bytes)),
                }
            }
        })
    }
}

fn first_not_utf8(offsets: &OffsetBuffer<i32>, bytes: &[u8]) -> usize {
    let position = |offset: i32| usize::try_from(offset).unwrap_or_default();
    let bad = |ends: &[i32]| std::str::from_utf8(&bytes[position(ends[0])..position(ends[1])]).is_err();
    offsets.windows(2).position(bad).map_or(0, |row| row + 1)
}

/// Read only; the server never sends rows this way.
impl<S: Shape> prost::Message for Rows<S> {
    fn encode_raw(&self, _: &mut impl BufMut) {}

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        if tag != 1 || wire_type != WireType::LengthDelimited {
            return skip_field(wire_type, tag, buf, context);
        }
        let length = decode_varint(buf)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if self.damage.is_none() {
            let read = match buf.chunk().get(..length) {
                Some(row) => self.read_row(row),
                None if length <= buf.remaining() => {
                    let row = buf.copy_to_bytes(length);
                    self.damage = self.read_row(&row).err();
                    return Ok(());
                }
                None => Err(format!("row {}: is cut off", self.row_count + 1)),
            };
            self.damage = read.err();
        }
        buf.advance(length.min(buf.remaining()));
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        0
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
    use bytes::Bytes;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::server::grpc::shapes::Clicks;

    /// The client's messages, as any client has them.
    #[allow(clippy::all, clippy::allow_attributes_without_reason, clippy::too_many_lines, reason = "generated")]
    mod client {
        include!(concat!(env!("OUT_DIR"), "/client/adlake.v1.rs"));
    }

    fn read(rows: Vec<client::Click>) -> Result<RecordBatch, String> {
        let bytes = Bytes::from(client::Clicks { rows }.encode_to_vec());
        Rows::<Clicks>::decode(bytes).map_err(|error| error.to_string())?.into_batch()
    }

    fn click(id: &str) -> client::Click {
        client::Click { event_id: Some(id.to_owned()), event_time: Some(1_000_000), ..client::Click::default() }
    }

    #[test]
    fn rows_become_columns() {
        let priced = client::Click { price_micros: Some(-5), country: Some(String::new()), ..click("b") };
        let batch = read(vec![click("a"), priced, client::Click::default()]).unwrap();
        let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["event_id", "event_time", "country", "price_micros"], "columns nobody sent are left out");
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        assert_eq!(batch.column(1).data_type(), &utc);
        assert_eq!(batch.column(1).as_primitive::<TimestampMicrosecondType>().value(1), 1_000_000);
        assert_eq!(batch.column(0).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("a"), Some("b"), None]);
        assert_eq!(batch.column(2).as_string::<i32>().iter().collect::<Vec<_>>(), [None, Some(""), None]);
        assert_eq!(batch.column(3).as_primitive::<arrow::datatypes::Int64Type>().value(1), -5);
    }

    #[test]
    fn no_rows_are_an_empty_batch() {
        assert_eq!(read(Vec::new()).unwrap().num_rows(), 0);
    }

    #[test]
    fn unknown_fields_are_skipped_and_the_last_value_wins() {
        // event_id "x", unknown field 15 varint, unknown field 100 text, event_id "y".
        let row = [&[0x0a, 1, b'x', 0x78, 1][..], &[0xa2, 0x06, 2, b'?', b'?'], &[0x0a, 1, b'y']].concat();
        let list = [&[0x0a, u8::try_from(row.len()).unwrap()][..], &row].concat();
        let batch = Rows::<Clicks>::decode(&list[..]).unwrap().into_batch().unwrap();
        assert_eq!(batch.column(0).as_string::<i32>().value(0), "y");
    }

    fn damaged(list: &[u8], says: &str) {
        let text = match Rows::<Clicks>::decode(list) {
            Ok(rows) => rows.into_batch().unwrap_err(),
            Err(error) => error.to_string(),
        };
        assert!(text.contains(says), "'{text}' does not say '{says}'");
    }

    #[test]
    fn damage_is_named() {
        let good = [0x0a, 3, 0x0a, 1, b'x'];
        damaged(&[&good[..], &[0x0a, 9, 0x0a, 7, b'y']].concat(), "row 2: is cut off");
        damaged(&[&good[..], &[0x0a, 3, 0x0a, 7, b'y']].concat(), "row 2, field 'event_id': is cut off");
        damaged(&[&good[..], &[0x0a, 3, 0x0a, 1, 0xff]].concat(), "row 2, field 'event_id': is not UTF-8");
        damaged(&[0x0a, 2, 0x08, 1], "row 1, field 'event_id': is encoded as another type");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(rows) = Rows::<Clicks>::decode(&bytes[..]) {
                let _ = rows.into_batch();
            }
        }

        #[test]
        fn every_row_sent_is_read(ids in proptest::collection::vec("[a-zé]{0,9}", 0..50)) {
            let batch = read(ids.iter().map(|id| click(id)).collect()).unwrap();
            prop_assert_eq!(batch.num_rows(), ids.len());
            if !ids.is_empty() {
                let read: Vec<_> = batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned).collect();
                prop_assert_eq!(read, ids);
            }
        }
    }
}

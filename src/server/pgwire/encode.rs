//! Batches of rows as PostgreSQL's messages: the description of columns, and `DataRow`s written in place.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, make_encoder};
use bytes::{BufMut, BytesMut};
use pgwire::messages::data::{FieldDescription, RowDescription};

use super::complaint::Complaint;
use super::shape::Shape;
use super::values::{Format, Values};

/// Begins a row's message.
const DATA_ROW: u8 = b'D';

/// The columns of an answer as its client was told of them.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    schema: SchemaRef,
    shapes: Vec<Shape>,
    formats: Vec<Format>,
}

impl Columns {
    /// `codes` as `Bind` carries them: none = text, one = for all, else one for each.
    ///
    /// # Errors
    /// Codes that are none, or of another number than the columns.
    pub fn new(schema: &SchemaRef, codes: &[i16]) -> Result<Self, Complaint> {
        let count = schema.fields().len();
        let formats = match codes {
            [] => vec![Format::Text; count],
            [one] => vec![format(*one)?; count],
            each if each.len() == count => each.iter().map(|code| format(*code)).collect::<Result<_, _>>()?,
            each => {
                let message = format!("{} formats were asked for, there are {count} columns", each.len());
                return Err(Complaint::protocol(message));
            }
        };
        let shapes = schema.fields().iter().map(|field| Shape::of(field.data_type())).collect();
        Ok(Self { schema: schema.clone(), shapes, formats })
    }

    pub fn description(&self) -> RowDescription {
        let columns = self.schema.fields().iter().zip(&self.shapes).zip(&self.formats);
        let field = |((field, shape), format): ((&FieldRef, &Shape), &Format)| {
            let name = field.name().replace('\0', " ");
            let code = match format {
                Format::Text => 0,
                Format::Binary => 1,
            };
            FieldDescription::new(name, 0, 0, shape.oid(), shape.size(), shape.modifier(), code)
        };
        RowDescription::new(columns.map(field).collect())
    }

    /// The batch in the layout that rows are written from. Its columns may be of other types than announced, where the values
    /// of parameters decided them; then they become what was announced.
    ///
    /// # Errors
    /// Values that do not fit.
    pub fn laid_out(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>, Complaint> {
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let column = |(column, (field, shape)): (&ArrayRef, (&FieldRef, &Shape))| {
            let layout = shape.layout().unwrap_or_else(|| field.data_type().clone());
            match *column.data_type() == layout {
                true => Ok(column.clone()),
                false => cast_with_options(column, &layout, &strict).map_err(unwritable),
            }
        };
        if batch.num_columns() != self.shapes.len() {
            return Err(Complaint::unsupported(
                "the statement has other columns than when it was prepared; prepare it again",
            ));
        }
        batch.columns().iter().zip(self.schema.fields().iter().zip(&self.shapes)).map(column).collect()
    }

    /// Whether they are called like those of a schema.
    pub fn are_named_as(&self, schema: &Schema) -> bool {
        let names = self.schema.fields().iter().map(|field| field.name());
        names.eq(schema.fields().iter().map(|field| field.name()))
    }

    /// Whether they are sent like those of a schema.
    pub fn are_shaped_as(&self, schema: &Schema) -> bool {
        self.shapes.iter().copied().eq(schema.fields().iter().map(|field| Shape::of(field.data_type())))
    }

    /// Bytes of its own.
    pub fn bytes(&self) -> usize {
        self.shapes.len() * (size_of::<Shape>() + size_of::<Format>())
    }

    /// Writes rows of columns that are laid out: those of `range`, or so many that there are `bytes_max` bytes to send. Gives how
    /// many, one at least.
    ///
    /// # Errors
    /// Columns that are not.
    pub fn put_rows(
        &self,
        columns: &[ArrayRef],
        range: std::ops::Range<usize>,
        out: &mut BytesMut,
        bytes_max: usize,
    ) -> Result<usize, Complaint> {
        let options = EncoderOptions::default();
        let each = columns.iter().zip(self.schema.fields().iter().zip(&self.shapes));
        let values = each.map(|(column, (field, shape))| match shape.layout() {
            Some(_) => Values::new(column, *shape),
            None => Ok(Values::json(column, make_encoder(field, column, &options)?)),
        });
        let values = values.collect::<Result<Vec<_>, _>>().map_err(unwritable)?;
        let count = i16::try_from(values.len()).map_err(|_| Complaint::unsupported("more than 32767 columns"))?;
        let mut written = 0;
        for row in range {
            out.put_u8(DATA_ROW);
            let start = out.len();
            out.put_i32(0);
            out.put_i16(count);
            values.iter().zip(&self.formats).for_each(|(values, format)| values.put(row, *format, out));
            let length =
                i32::try_from(out.len() - start).map_err(|_| Complaint::new("54000", "a row has more than 2 GiB"))?;
            out[start..start + 4].copy_from_slice(&length.to_be_bytes());
            written += 1;
            if out.len() >= bytes_max {
                break;
            }
        }
        Ok(written)
    }
}

pub(super) fn format(code: i16) -> Result<Format, Complaint> {
    match code {
        0 => Ok(Format::Text),
        1 => Ok(Format::Binary),
        other => Err(Complaint::protocol(format!("there is no format {other}"))),
    }
}

fn unwritable(error: ArrowError) -> Complaint {
    Complaint::new("22000", format!("a value cannot be sent: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StringArray;
    use arrow::datatypes::{DataType, Field};

    use super::*;

    fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
        let fields = fields.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    #[test]
    fn rows_stop_when_there_is_enough_to_send() {
        let columns = Columns::new(&schema(&[("a", DataType::Utf8)]), &[]).unwrap();
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1000); 10]));
        let put = |range, bytes_max| {
            let mut out = BytesMut::new();
            (columns.put_rows(std::slice::from_ref(&texts), range, &mut out, bytes_max).unwrap(), out.len())
        };
        let (one, bytes) = put(0..10, 1);
        assert_eq!(one, 1);
        assert_eq!(put(0..10, 2500), (3, 3 * bytes));
        assert_eq!(put(4..10, usize::MAX), (6, 6 * bytes));
    }

    #[test]
    fn columns_are_those_that_were_announced() {
        let columns = Columns::new(&schema(&[("a", DataType::Utf8), ("b", DataType::Decimal128(10, 2))]), &[]).unwrap();
        let same = |fields: &[(&str, DataType)]| {
            let schema = schema(fields);
            (columns.are_named_as(&schema), columns.are_shaped_as(&schema))
        };
        assert_eq!(same(&[("a", DataType::Utf8View), ("b", DataType::Decimal128(10, 2))]), (true, true));
        assert_eq!(same(&[("a", DataType::Int64), ("b", DataType::Decimal128(10, 2))]), (true, false));
        assert_eq!(same(&[("a", DataType::Utf8), ("b", DataType::Decimal128(10, 1))]), (true, false));
        assert_eq!(same(&[("b", DataType::Utf8), ("a", DataType::Decimal128(10, 2))]), (false, true));
        assert_eq!(same(&[("a", DataType::Utf8)]), (false, false));
    }
}

//! JSON: one array, or one object per line. NULL is an explicit `null`.

use std::io::Write;

use arrow::json::Writer;
use arrow::json::writer::{JsonArray, LineDelimited, WriterBuilder};
use arrow::record_batch::RecordBatch;

use super::super::super::failure::Failure;
use super::{RowWriter, Sink};

/// Writes objects.
pub enum Json {
    Array(Writer<Sink, JsonArray>),
    Lines(Writer<Sink, LineDelimited>),
}

impl Json {
    pub fn array(sink: Sink) -> Self {
        Self::Array(WriterBuilder::new().with_explicit_nulls(true).build(sink))
    }

    pub fn lines(sink: Sink) -> Self {
        Self::Lines(WriterBuilder::new().with_explicit_nulls(true).build(sink))
    }
}

impl RowWriter for Json {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        match self {
            Self::Array(writer) => writer.write(batch)?,
            Self::Lines(writer) => {
                writer.write(batch)?;
                writer.get_mut().flush()?;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Failure> {
        match self {
            Self::Array(writer) => {
                writer.finish()?;
                writer.get_mut().write_all(b"\n")?;
                writer.get_mut().flush()?;
            }
            Self::Lines(writer) => {
                writer.finish()?;
                writer.get_mut().flush()?;
            }
        }
        Ok(())
    }
}

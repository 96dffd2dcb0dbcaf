//! The part of a load that computes: decode, validate, drop duplicates, on one blocking thread, while the writer sorts
//! and encodes on others. Batches go over in a bounded channel; rejections are staged as they pile up.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use tokio::runtime::Handle;
use tokio::sync::mpsc::Sender;

use super::Load;
use super::source::Source;
use crate::ingest::IngestError;
use crate::ingest::batch::{Batch, Rejection, RowFormat, Valid};
use crate::ingest::dedup::Dedup;
use crate::ingest::rejects::{RejectLog, RejectSource};
use crate::ingest::snapshot::check_size;
use crate::ingest::validate::Validator;
use crate::storage::StagedFile;

/// Batches decoded ahead of the writer.
pub const CHANNEL_BATCHES: usize = 8;
/// Rejections held in memory before they are staged.
const REJECTIONS_HELD: usize = 4_096;

pub type RowSender = Sender<Result<RecordBatch, DataFusionError>>;

/// Where valid rows go.
pub enum Sink {
    /// Rows without duplicates to the writer.
    Unique { dedup: Box<Dedup>, sender: RowSender },
    /// All rows, held for an upsert.
    Held { batches: Vec<Batch<Valid>>, bytes: usize },
}

/// Rejections of one file: staged, not visible yet.
#[derive(Default)]
pub struct Rejections {
    held: Vec<Rejection>,
    pub staged: Vec<StagedFile>,
    pub count: u64,
    first: Option<String>,
}

/// What one file is run with.
pub struct Pipeline {
    pub load: Arc<Load>,
    pub file: String,
    pub file_bytes: u64,
    pub validator: Validator,
    pub sink: Sink,
    pub rejects: Arc<RejectLog>,
    pub runtime: Handle,
}

/// What a sink keeps when all rows have passed.
pub enum Kept {
    Unique(Box<Dedup>),
    Held(Vec<Batch<Valid>>),
}

/// What is left when all rows have passed. The channel to the writer is closed: it knows that no more rows come.
pub struct Passed {
    pub kept: Kept,
    pub rejections: Rejections,
    /// Rows handed to the writer, or held.
    pub rows: u64,
}

enum Flow {
    Continue,
    /// The writer has stopped listening; it knows why.
    WriterGone,
}

impl Pipeline {
    /// Runs the file through. On an error, staged rejections are deleted.
    pub fn run(mut self, mut source: Source) -> Result<Passed, IngestError> {
        let mut rejections = Rejections::default();
        let mut rows = 0;
        match self.pass(&mut source, &mut rejections, &mut rows) {
            Ok(()) => Ok(Passed { kept: self.sink.close(), rejections, rows }),
            Err(error) => {
                self.runtime.block_on(self.rejects.discard(std::mem::take(&mut rejections.staged)));
                // The writer must not take the end of the channel for the end of the rows.
                if let Sink::Unique { sender, .. } = &self.sink {
                    let stopped = DataFusionError::Execution("the rows of the file were not accepted".to_owned());
                    let _ = sender.blocking_send(Err(stopped));
                }
                Err(error)
            }
        }
    }

    fn pass(&mut self, source: &mut Source, rejections: &mut Rejections, rows: &mut u64) -> Result<(), IngestError> {
        let (mut reported, mut decoded_rows) = (0_u64, 0_u64);
        while let Some(step) = source.decoder.next_step()? {
            if self.load.cancel.is_cancelled() {
                return Err(IngestError::Cancelled);
            }
            let decoded = step.batch.row_count() + step.rejected.len();
            self.reject(rejections, step.rejected, source)?;
            let validated = self.validator.validate(step.batch)?;
            self.reject(rejections, validated.rejected, source)?;
            let (flow, accepted) = self.sink.take(validated.batch, &self.runtime)?;
            *rows += accepted;
            decoded_rows += decoded as u64;
            let read = source.bytes_read(self.file_bytes, decoded_rows);
            self.load.progress.advance(read.saturating_sub(reported), decoded as u64);
            reported = reported.max(read);
            if matches!(flow, Flow::WriterGone) {
                return Ok(());
            }
        }
        self.load.progress.advance(self.file_bytes.saturating_sub(reported), 0);
        self.stage(rejections)
    }

    fn reject(
        &self,
        rejections: &mut Rejections,
        rejected: Vec<Rejection>,
        source: &Source,
    ) -> Result<(), IngestError> {
        let Some(first) = rejected.first() else { return Ok(()) };
        rejections.first.get_or_insert_with(|| first.sentence());
        rejections.count += rejected.len() as u64;
        if rejections.count > self.load.max_rejects {
            let first = rejections.first.clone().unwrap_or_default();
            return Err(IngestError::TooManyRejects { file: self.file.clone(), limit: self.load.max_rejects, first });
        }
        // Rows in the table's columns are past all that.
        let read_as = |format| source.read_as.clone().filter(|_| format != RowFormat::Columns);
        let rejected = rejected.into_iter().map(|row| Rejection { read_as: read_as(row.format), ..row });
        rejections.held.extend(rejected);
        if rejections.held.len() >= REJECTIONS_HELD { self.stage(rejections) } else { Ok(()) }
    }

    fn stage(&self, rejections: &mut Rejections) -> Result<(), IngestError> {
        if rejections.held.is_empty() {
            return Ok(());
        }
        let from = RejectSource { table: &self.load.target.name, source: &self.file };
        let held = std::mem::take(&mut rejections.held);
        let staged = self.runtime.block_on(self.rejects.stage(from, &held, &self.load.task))?;
        rejections.staged.extend(staged);
        Ok(())
    }
}

impl Sink {
    /// Ends the rows: the sender is dropped here.
    fn close(self) -> Kept {
        match self {
            Self::Unique { dedup, .. } => Kept::Unique(dedup),
            Self::Held { batches, .. } => Kept::Held(batches),
        }
    }

    /// Passes the batch on; how many rows of it were new.
    fn take(&mut self, batch: Batch<Valid>, runtime: &Handle) -> Result<(Flow, u64), IngestError> {
        if batch.row_count() == 0 {
            return Ok((Flow::Continue, 0));
        }
        match self {
            Self::Unique { dedup, sender } => {
                let unique = runtime.block_on(dedup.apply(batch))?;
                let accepted = unique.row_count() as u64;
                if accepted > 0 && sender.blocking_send(Ok(unique.rows)).is_err() {
                    return Ok((Flow::WriterGone, 0));
                }
                Ok((Flow::Continue, accepted))
            }
            Self::Held { batches, bytes } => {
                *bytes += batch.rows.get_array_memory_size();
                check_size(*bytes)?;
                let accepted = batch.row_count() as u64;
                batches.push(batch);
                Ok((Flow::Continue, accepted))
            }
        }
    }
}

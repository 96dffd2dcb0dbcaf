//! Rows of one answer on their way to the client: encoded a few at a time, sent while the next are computed.

use std::io;

use arrow::array::ArrayRef;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use tokio::io::AsyncWrite;
use tokio_util::sync::CancellationToken;

use super::complaint::Complaint;
use super::encode::Columns;
use super::outbox::{BYTES_AHEAD, Outbox};
use crate::server::error::Fault;

/// Most rows written between two looks at how much there is to send.
const ROWS_AHEAD: usize = 256;

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The client is told.
    Told(Complaint),
    /// There is no client any more.
    Lost(io::Error),
}

impl From<Complaint> for Trouble {
    fn from(complaint: Complaint) -> Self {
        Self::Told(complaint)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

/// How far the rows of an answer have gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// As many as were asked for; there may be more.
    Some,
    /// All; this many by this call.
    All(u64),
}

/// A query whose rows are not all sent. Dropping it ends the query.
pub(super) struct Rows {
    stream: SendableRecordBatchStream,
    pub columns: Columns,
    /// Laid out, and how many of its rows are sent.
    batch: Option<(Vec<ArrayRef>, usize, usize)>,
    pub cancel: CancellationToken,
}

impl Rows {
    pub fn new(stream: SendableRecordBatchStream, columns: Columns, cancel: CancellationToken) -> Self {
        Self { stream, columns, batch: None, cancel }
    }

    /// Sends rows, at most `most` of them.
    ///
    /// # Errors
    /// What the query failed of; a client that is gone.
    pub async fn send<W: AsyncWrite + Unpin>(
        &mut self,
        outbox: &mut Outbox<W>,
        most: Option<u64>,
    ) -> Result<Sent, Trouble> {
        let mut sent: u64 = 0;
        loop {
            let left = most.map_or(u64::MAX, |most| most - sent);
            if left == 0 {
                return Ok(Sent::Some);
            }
            let Some((columns, at, rows)) = &mut self.batch else {
                match self.stream.next().await {
                    None => return Ok(Sent::All(sent)),
                    Some(Err(error)) => return Err(Complaint::from(Fault::from(error)).into()),
                    Some(Ok(batch)) => {
                        self.batch = Some((self.columns.laid_out(&batch)?, 0, batch.num_rows()));
                        continue;
                    }
                }
            };
            let count = ROWS_AHEAD.min(*rows - *at).min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = self.columns.put_rows(columns, *at..*at + count, outbox.buffer(), BYTES_AHEAD)?;
            *at += count;
            sent += u64::try_from(count).unwrap_or(0);
            if *at == *rows {
                self.batch = None;
            }
            outbox.flush_some().await?;
        }
    }
}

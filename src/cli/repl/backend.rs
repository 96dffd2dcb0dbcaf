//! What runs a statement: an open lake in this process, or a server elsewhere. The REPL knows only this.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;

use crate::base::Timestamp;

use super::super::failure::Failure;
use super::super::meter::Meter;

/// Batches as they come; dropping the stream cancels the statement.
pub type Rows = BoxStream<'static, Result<RecordBatch, Failure>>;

/// What a statement gave back.
pub enum Reply {
    Rows {
        schema: SchemaRef,
        rows: Rows,
        /// Everything committed before this moment is in the rows; `None` when the server did not say.
        data_as_of: Option<Timestamp>,
    },
    /// The statement changed something: a sentence for people, and sometimes a table.
    Done { message: String, details: Option<RecordBatch> },
}

/// Runs statements, one at a time.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Where statements run, for people.
    fn place(&self) -> String;

    /// Starts `sql`. Cancelling `cancel` makes this, or the rows' stream, end with an error soon.
    ///
    /// # Errors
    /// The statement's own error, or that the server cannot be reached.
    async fn run(&self, sql: &str, meter: Arc<Meter>, cancel: CancellationToken) -> Result<Reply, Failure>;

    /// Ends the connection, or closes the lake.
    async fn close(&self);
}

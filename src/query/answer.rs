//! What a statement gives back.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;

use crate::base::Timestamp;
use crate::catalog::CatalogSnapshot;
use crate::storage::TableVersion;

/// Of a statement: a UUIDv7, so that later ones are greater.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub String);

impl fmt::Display for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub struct Answer {
    pub query_id: QueryId,
    /// Schema of the rows; of a one-row summary for statements that change something.
    pub schema: SchemaRef,
    pub outcome: Outcome,
    /// More than one number about a statement that changed something: COPY gives one row per file.
    pub details: Option<RecordBatch>,
    /// Everything committed before this moment is in the answer: the oldest moment of what was read (see `views::moments`). Of a
    /// statement that changed something: when it began.
    pub data_as_of: Timestamp,
    /// What the rows depend on beside the statement and its values: the versions of the catalog and of the tables read.
    /// The same statement with the same state has the same answer (in any order it does not ask for). `None` = it depends
    /// on more: the clock, chance, or the process, as `system.*` does; or it is no call of an endpoint.
    pub state: Option<String>,
}

pub enum Outcome {
    /// Dropping the stream cancels the query and frees its memory.
    Rows(SendableRecordBatchStream),
    /// Rows inserted/affected (`None` for DDL) and a sentence for people.
    Done { rows: Option<u64>, message: String },
}

/// A running query and the table versions it reads.
pub struct PinnedQuery {
    pub schema: SchemaRef,
    pub stream: SendableRecordBatchStream,
    /// Every table read, directly or through views: relation name and version, sorted by name.
    pub sources: Vec<(String, TableVersion)>,
    /// How many rows these have.
    pub source_rows: u64,
    /// Everything committed before this moment is in the rows.
    pub data_as_of: Timestamp,
    /// What its names stood for.
    pub catalog: Arc<CatalogSnapshot>,
}

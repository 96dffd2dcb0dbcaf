//! What came of checks. Those that found a difference are kept in the lake, at `tables/_verifications`; of the others, this process
//! remembers the newest.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::execution::TaskContext;
use parking_lot::Mutex;

use crate::base::{Timestamp, chain};
use crate::query::QueryError;
use crate::storage::{Lake, OwnCommit, OwnTable};

/// Folder of the table below `tables/`; no user's table can have this name.
pub const VERIFICATIONS_PATH: &str = "_verifications";
/// Checks remembered in this process.
const REMEMBERED_MAX: usize = 1_000;
/// Characters of SQL kept.
const SQL_KEPT: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::query) enum Outcome {
    Equal,
    Different,
    /// The comparison met an error.
    Failed,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Different => "different",
            Self::Failed => "failed",
        }
    }
}

/// One check of one aggregate.
#[derive(Clone, Debug)]
pub(in crate::query) struct Verification {
    pub at: Timestamp,
    pub view: String,
    pub query_id: String,
    pub sql: String,
    pub outcome: Outcome,
    /// Rows both answers have, and rows only one of them has.
    pub checked: u64,
    pub differing: u64,
    pub sample: Option<String>,
    pub error: Option<String>,
    pub elapsed: Duration,
}

/// All that are known of.
pub(in crate::query) struct Records {
    lake: Lake,
    table: OwnTable,
    remembered: Mutex<VecDeque<Verification>>,
}

impl Records {
    pub fn new(lake: Lake) -> Self {
        let table = OwnTable::new(lake.clone(), VERIFICATIONS_PATH, columns());
        Self { lake, table, remembered: Mutex::default() }
    }

    /// Keeps a difference in the lake, where it can; remembers everything else.
    pub async fn add(&self, verification: Verification, task: &Arc<TaskContext>) {
        if verification.outcome == Outcome::Different && self.lake.check_writable().is_ok() {
            match self.keep(&verification, task).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::error!(error = %chain(&error), "a difference was found and cannot be kept in the lake")
                }
            }
        }
        let mut remembered = self.remembered.lock();
        remembered.push_front(verification);
        remembered.truncate(REMEMBERED_MAX);
    }

    async fn keep(&self, verification: &Verification, task: &Arc<TaskContext>) -> Result<(), QueryError> {
        let files = self.table.stage(batch(std::slice::from_ref(verification))?, task).await?;
        self.table.commit(files, OwnCommit { operation: "VERIFY", transaction: None, expected: None }).await?;
        Ok(())
    }

    /// Those that are not in the lake, newest first.
    pub fn remembered(&self) -> Vec<Verification> {
        self.remembered.lock().iter().cloned().collect()
    }
}

/// Columns of the table and of `system.verifications`.
pub(in crate::query) fn columns() -> SchemaRef {
    let field = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        field("verified_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        field("view_name", DataType::Utf8),
        field("query_id", DataType::Utf8),
        field("outcome", DataType::Utf8),
        field("groups_equal", DataType::Int64),
        field("rows_differing", DataType::Int64),
        field("sample", DataType::Utf8),
        field("error", DataType::Utf8),
        field("elapsed_ms", DataType::Int64),
        field("sql", DataType::Utf8),
    ]))
}

/// Rows of [`columns`].
///
/// # Errors
/// None that can be named: the columns are as they are declared.
pub(in crate::query) fn batch(all: &[Verification]) -> Result<RecordBatch, QueryError> {
    let text = |pick: fn(&Verification) -> Option<&str>| -> ArrayRef {
        Arc::new(all.iter().map(pick).collect::<StringArray>())
    };
    let number = |pick: fn(&Verification) -> u64| -> ArrayRef {
        Arc::new(all.iter().map(|one| i64::try_from(pick(one)).ok()).collect::<Int64Array>())
    };
    let at: TimestampMicrosecondArray = all.iter().map(|one| Some(one.at.micros())).collect();
    let sql = all.iter().map(|one| Some(one.sql.chars().take(SQL_KEPT).collect::<String>()));
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(at.with_timezone("UTC")),
        text(|one| Some(&one.view)),
        text(|one| Some(&one.query_id)),
        text(|one| Some(one.outcome.as_str())),
        number(|one| one.checked),
        number(|one| one.differing),
        text(|one| one.sample.as_deref()),
        text(|one| one.error.as_deref()),
        number(|one| u64::try_from(one.elapsed.as_millis()).unwrap_or(u64::MAX)),
        Arc::new(sql.collect::<StringArray>()),
    ];
    RecordBatch::try_new(columns(), arrays).map_err(|error| QueryError::Internal { message: error.to_string() })
}

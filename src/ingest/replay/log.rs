//! What REPLAY REJECTS did with each rejected row: the table `tables/_replays`. A row's state is its last step;
//! `system.rejects` shows it as `status`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use datafusion::execution::TaskContext;

use crate::base::Clock;
use crate::ingest::IngestError;
use crate::ingest::own_rows::own_rows;
use crate::storage::{Lake, OwnCommit, OwnTable, StorageError, TableVersion};

/// Folder below `tables/`.
pub const REPLAYS_PATH: &str = "_replays";
/// Lost races before a step gives up.
const ATTEMPTS: usize = 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its commit was begun; whether it landed, the table's transactions say.
    Replaying,
    Replayed,
    /// Still bad.
    Rejected,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Replaying => "replaying",
            Self::Replayed => "replayed",
            Self::Rejected => "rejected",
        }
    }
}

/// A new state of one rejected row.
#[derive(Clone, Debug)]
pub struct Step {
    pub reject_id: String,
    pub outcome: Outcome,
    pub reason: Option<String>,
}

pub struct ReplayLog {
    clock: Clock,
    table: OwnTable,
}

fn columns() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("reject_id", DataType::Utf8, false),
        Field::new("step", DataType::Int64, false),
        Field::new("replayed_at", time, false),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("replay_id", DataType::Utf8, false),
        Field::new("outcome", DataType::Utf8, false),
        Field::new("reason", DataType::Utf8, true),
    ]))
}

impl ReplayLog {
    pub fn new(lake: Lake, clock: Clock) -> Self {
        Self { clock, table: OwnTable::new(lake, REPLAYS_PATH, columns()) }
    }

    /// Records the steps, unless some of the rows are being replayed or have been: then nothing, and their ids.
    pub async fn begin(
        &self,
        table: &str,
        replay_id: &str,
        steps: &[Step],
        task: &Arc<TaskContext>,
    ) -> Result<HashSet<String>, IngestError> {
        for _ in 0..ATTEMPTS {
            let (version, taken) = self.taken(steps, task).await?;
            if !taken.is_empty() || steps.is_empty() {
                return Ok(taken);
            }
            if self.add(table, replay_id, steps, version, task).await? {
                return Ok(HashSet::new());
            }
        }
        Err(StorageError::Crowded { table: REPLAYS_PATH.to_owned() }.into())
    }

    /// Records what came of them.
    pub async fn end(
        &self,
        table: &str,
        replay_id: &str,
        steps: Vec<Step>,
        task: &Arc<TaskContext>,
    ) -> Result<(), IngestError> {
        for _ in 0..ATTEMPTS {
            let version = self.table.get().await?.refresh().await?.version();
            if steps.is_empty() || self.add(table, replay_id, &steps, version, task).await? {
                return Ok(());
            }
        }
        Err(StorageError::Crowded { table: REPLAYS_PATH.to_owned() }.into())
    }

    /// The version looked at, and which of the rows are somebody's.
    async fn taken(
        &self,
        steps: &[Step],
        task: &Arc<TaskContext>,
    ) -> Result<(TableVersion, HashSet<String>), IngestError> {
        self.table.get().await?;
        let Some((version, batches)) = own_rows(&self.table, &["reject_id", "step", "outcome"], task).await? else {
            return Err(IngestError::Internal { message: "the table of replays is gone".to_owned() });
        };
        let wanted: HashSet<&str> = steps.iter().map(|step| step.reject_id.as_str()).collect();
        let mut last: HashMap<&str, (i64, bool)> = HashMap::new();
        let batches: Vec<[ArrayRef; 3]> = batches.iter().map(plain).collect::<Result<_, _>>()?;
        for [ids, numbers, outcomes] in &batches {
            let (ids, outcomes) = (ids.as_string::<i32>(), outcomes.as_string::<i32>());
            let numbers = numbers.as_primitive::<Int64Type>();
            for row in (0..ids.len()).filter(|row| wanted.contains(ids.value(*row))) {
                let (number, is_taken) = (numbers.value(row), outcomes.value(row) != Outcome::Rejected.as_str());
                let known = last.entry(ids.value(row)).or_insert((number, is_taken));
                if known.0 <= number {
                    *known = (number, is_taken);
                }
            }
        }
        let taken = last.into_iter().filter(|(_, (_, is_taken))| *is_taken).map(|(id, _)| id.to_owned());
        Ok((version, taken.collect()))
    }

    /// Whether the steps were recorded: not when the log has moved on from `expected`.
    async fn add(
        &self,
        table: &str,
        replay_id: &str,
        steps: &[Step],
        expected: TableVersion,
        task: &Arc<TaskContext>,
    ) -> Result<bool, IngestError> {
        let (count, now) = (steps.len(), self.clock.now().micros());
        let number = i64::try_from(expected.0).unwrap_or(i64::MAX).saturating_add(1);
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(steps.iter().map(|step| Some(step.reject_id.as_str())).collect::<StringArray>()),
            Arc::new(Int64Array::from(vec![number; count])),
            Arc::new(TimestampMicrosecondArray::from(vec![now; count]).with_timezone("UTC")),
            Arc::new(StringArray::from(vec![table; count])),
            Arc::new(StringArray::from(vec![replay_id; count])),
            Arc::new(steps.iter().map(|step| Some(step.outcome.as_str())).collect::<StringArray>()),
            Arc::new(steps.iter().map(|step| step.reason.as_deref()).collect::<StringArray>()),
        ];
        let batch = RecordBatch::try_new(self.table.columns().clone(), arrays)
            .map_err(|error| IngestError::Internal { message: format!("cannot record a replay: {error}") })?;
        let files = self.table.stage(batch, task).await?;
        let commit = OwnCommit { operation: "REPLAY", transaction: None, expected: Some(expected) };
        match self.table.commit(files, commit).await {
            Ok(_) => Ok(true),
            Err(StorageError::VersionMoved { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Columns without views.
fn plain(batch: &RecordBatch) -> Result<[ArrayRef; 3], IngestError> {
    let column = |index: usize, data_type: &DataType| {
        cast(batch.column(index), data_type)
            .map_err(|error| IngestError::Internal { message: format!("cannot read the table of replays: {error}") })
    };
    Ok([column(0, &DataType::Utf8)?, column(1, &DataType::Int64)?, column(2, &DataType::Utf8)?])
}

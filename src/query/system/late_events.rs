//! `system.late_events`: accepted events that came far behind their table's watermark, by commit and event-time partition.
//! The commits themselves say so, so the list survives restarts and is the same on every node.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use serde::Deserialize;

use super::histories;
use super::rows::{batch, moment, moments, numbers, texts};
use crate::base::Timestamp;
use crate::query::QueryError;
use crate::query::engine::Inner;
use crate::storage::CommitRecord;

/// Commits looked at per table.
const PER_TABLE: usize = 1_000;

/// What ingest leaves in a commit's info.
#[derive(Deserialize)]
struct Late {
    partition_start: i64,
    events: u64,
    oldest: i64,
    lateness_ms_max: u64,
}

pub(super) fn schema() -> SchemaRef {
    super::rows::schema(&[
        ("table_name", DataType::Utf8),
        ("version", DataType::Int64),
        ("committed_at", moment()),
        ("partition_start", moment()),
        ("events", DataType::Int64),
        ("oldest", moment()),
        ("lateness_ms_max", DataType::Int64),
    ])
}

pub(super) async fn rows(
    engine: &Arc<Inner>,
    is_shown: &(dyn Fn(&str) -> bool + Send + Sync),
) -> Result<RecordBatch, QueryError> {
    let commits = histories::of_all_tables(engine, PER_TABLE, is_shown).await?;
    let each = commits.iter().flat_map(|(name, commit)| late(commit).into_iter().map(move |late| (name, commit, late)));
    let all: Vec<(&String, &CommitRecord, Late)> = each.collect();
    batch(
        schema(),
        vec![
            texts(all.iter().map(|(name, ..)| Some(name))),
            numbers(all.iter().map(|(_, commit, _)| Some(commit.version.0))),
            moments(all.iter().map(|(_, commit, _)| Some(commit.committed_at))),
            moments(all.iter().map(|(.., late)| Some(Timestamp(late.partition_start)))),
            numbers(all.iter().map(|(.., late)| Some(late.events))),
            moments(all.iter().map(|(.., late)| Some(Timestamp(late.oldest)))),
            numbers(all.iter().map(|(.., late)| Some(late.lateness_ms_max))),
        ],
    )
}

fn late(commit: &CommitRecord) -> Vec<Late> {
    let stored = commit.info.get("late_events").cloned();
    stored.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default()
}

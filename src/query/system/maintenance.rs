//! `system.maintenance`: per table and kind of work what this process does and has done to keep its files few and its log
//! short. Sums are since the process began.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::rejects::PATH as REJECTS_PATH;
use super::rows::{batch, flags, moment, moments, numbers, texts};
use super::{AUDIT, REJECTS, RESTATEMENTS, SYSTEM, VERIFICATIONS};
use crate::auth::AUDIT_PATH;
use crate::query::engine::Inner;
use crate::query::{QueryError, RESTATEMENTS_PATH, VERIFICATIONS_PATH};
use crate::storage::{MaintenanceReport, MaintenanceWork, StorageError, TableSnapshot};

pub(super) fn schema() -> SchemaRef {
    super::rows::schema(&[
        ("table_name", DataType::Utf8),
        ("work", DataType::Utf8),
        ("running", DataType::Boolean),
        ("started_at", moment()),
        ("next_due", moment()),
        ("duration_ms", DataType::Int64),
        ("bytes_done", DataType::Int64),
        ("bytes_total", DataType::Int64),
        ("runs", DataType::Int64),
        ("errors", DataType::Int64),
        ("files_in", DataType::Int64),
        ("files_out", DataType::Int64),
        ("bytes_in", DataType::Int64),
        ("bytes_out", DataType::Int64),
        ("rows", DataType::Int64),
        ("last_error", DataType::Utf8),
        ("active_files", DataType::Int64),
        ("small_files", DataType::Int64),
    ])
}

struct Line {
    table: String,
    work: MaintenanceWork,
    report: MaintenanceReport,
    snapshot: Option<Arc<TableSnapshot>>,
}

async fn lines(engine: &Arc<Inner>) -> Result<Vec<Line>, QueryError> {
    let catalog = engine.catalog.snapshot();
    let own = [
        (AUDIT_PATH, AUDIT),
        (REJECTS_PATH, REJECTS),
        (RESTATEMENTS_PATH, RESTATEMENTS),
        (VERIFICATIONS_PATH, VERIFICATIONS),
    ];
    let mut names: BTreeMap<&str, String> = own.map(|(path, name)| (path, format!("{SYSTEM}.{name}"))).into();
    names.extend(
        catalog.relations.values().filter_map(|object| Some((object.table_path.as_deref()?, object.name.clone()))),
    );
    let mut lines = Vec::new();
    for (path, work, report) in engine.lake.board().all() {
        // Of a table that was dropped a moment ago.
        let Some(name) = names.get(path.as_ref()) else { continue };
        let snapshot = match engine.lake.open_table(&path).await {
            Ok(table) => Some(table.current()),
            Err(StorageError::TableNotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        lines.push(Line { table: name.clone(), work, report, snapshot });
    }
    lines.sort_by(|a, b| (&a.table, a.work).cmp(&(&b.table, b.work)));
    Ok(lines)
}

pub(super) async fn rows(engine: &Arc<Inner>) -> Result<RecordBatch, QueryError> {
    let all = lines(engine).await?;
    let target = engine.lake.target_file_bytes();
    let number = |pick: fn(&MaintenanceReport) -> u64| numbers(all.iter().map(|line| Some(pick(&line.report))));
    let files = |pick: &dyn Fn(&TableSnapshot) -> usize| {
        numbers(all.iter().map(|line| line.snapshot.as_deref().map(|snapshot| pick(snapshot) as u64)))
    };
    batch(
        schema(),
        vec![
            texts(all.iter().map(|line| Some(&line.table))),
            texts(all.iter().map(|line| Some(line.work.as_str()))),
            flags(all.iter().map(|line| Some(line.report.is_running))),
            moments(all.iter().map(|line| line.report.started_at)),
            moments(all.iter().map(|line| line.report.next_due)),
            number(|report| u64::try_from(report.duration.as_millis()).unwrap_or(u64::MAX)),
            number(|report| report.bytes_done),
            number(|report| report.bytes_total),
            number(|report| report.runs),
            number(|report| report.errors),
            number(|report| report.cost.files_in),
            number(|report| report.cost.files_out),
            number(|report| report.cost.bytes_in),
            number(|report| report.cost.bytes_out),
            number(|report| report.cost.rows),
            texts(all.iter().map(|line| line.report.last_error.as_ref())),
            files(&TableSnapshot::file_count),
            files(&|snapshot| snapshot.small_file_count(target)),
        ],
    )
}

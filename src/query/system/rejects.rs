//! `system.rejects`: rows that were not accepted, with the reason. `ingest` writes them into a Delta table of the lake.

use arrow::datatypes::{DataType, SchemaRef};

use super::kept::{KeptView, newest};
use super::rows::moment;
use crate::query::QueryError;
use crate::query::engine::Inner;
use crate::query::params::sql_name;
use crate::storage::TableSnapshot;

/// Folder of the table below `tables/`; no user's table can have this name.
pub(super) const PATH: &str = "_rejects";
/// Folder of what REPLAY REJECTS did.
const REPLAYS_PATH: &str = "_replays";
const HIDDEN_REJECTS: &str = "_rejects";
const HIDDEN_REPLAYS: &str = "_replays";

/// Columns, also while there is no such table yet.
pub(super) fn schema() -> SchemaRef {
    super::rows::schema(&[
        ("rejected_at", moment()),
        ("table_name", DataType::Utf8),
        ("source", DataType::Utf8),
        ("line", DataType::Int64),
        ("field", DataType::Utf8),
        ("reason", DataType::Utf8),
        ("row", DataType::Utf8),
        ("reject_id", DataType::Utf8),
        ("format", DataType::Utf8),
        ("read_as", DataType::Utf8),
        ("raw", DataType::Binary),
        ("status", DataType::Utf8),
        ("status_at", moment()),
        ("status_reason", DataType::Utf8),
        ("replay_id", DataType::Utf8),
    ])
}

/// Columns of the table itself; the others tell what REPLAY REJECTS did.
const STORED: usize = 11;

/// `system.rejects` as a query over the tables ingest keeps, under hidden names. Without any replay there is no join, so
/// that WHERE and LIMIT reach the files.
fn query(rejects: &TableSnapshot, with_replays: bool) -> String {
    let columns = rejects.columns();
    let stored: Vec<String> = schema()
        .fields()
        .iter()
        .take(STORED)
        .map(|field| match columns.field_with_name(field.name()) {
            Ok(_) => format!("r.\"{}\"", field.name()),
            // Written by an earlier version.
            Err(_) => format!("CAST(NULL AS {}) AS \"{}\"", sql_name(field.data_type()), field.name()),
        })
        .collect();
    let stored = stored.join(", ");
    if !with_replays {
        return format!(
            "SELECT {stored}, 'open' AS status, CAST(NULL AS TIMESTAMP WITH TIME ZONE) AS status_at, \
             CAST(NULL AS VARCHAR) AS status_reason, CAST(NULL AS VARCHAR) AS replay_id FROM system.{HIDDEN_REJECTS} AS r"
        );
    }
    format!(
        "SELECT {stored}, coalesce(p.outcome, 'open') AS status, p.at AS status_at, p.reason AS status_reason, \
         p.replay_id FROM system.{HIDDEN_REJECTS} AS r LEFT JOIN (SELECT reject_id, \
         last_value(outcome ORDER BY step) AS outcome, max(replayed_at) AS at, \
         last_value(reason ORDER BY step) AS reason, last_value(replay_id ORDER BY step) AS replay_id \
         FROM system.{HIDDEN_REPLAYS} GROUP BY reject_id) AS p ON p.reject_id = r.reject_id"
    )
}

/// The newest rejects; None when no row was ever rejected.
pub(super) async fn view(engine: &Inner) -> Result<Option<KeptView>, QueryError> {
    let Some(rejects) = newest(engine, PATH).await? else { return Ok(None) };
    let replays = newest(engine, REPLAYS_PATH).await?;
    let query = query(&rejects, replays.is_some());
    let replays = replays.map(|snapshot| (HIDDEN_REPLAYS, snapshot.provider()));
    let tables = std::iter::once((HIDDEN_REJECTS, rejects.provider())).chain(replays).collect();
    Ok(Some(KeptView { query, tables, is_limited: false }))
}

//! ADVISE MATERIALIZED VIEWS: which views would have answered what was asked with fewer rows.
//!
//! ```text
//! system.queries ─ workload ─► questions by table ─ rollup::shapes, with_joins ─► views as SQL, planned as CREATE plans them
//!                                       sample, growth: rows of each ─┐
//! rows read now: as rewriting counts them ────────────────────────────┴─► rollup::choose ─► statements, ready to run
//! ```
//! A view counts for a question only when [`rollup::cover`] says that it answers it, which is what rewriting asks. No number is made
//! up: rows read come from the statistics of files, rows of a view from a sample of real ones (`growth`), bytes from writing
//! those, time from what the statements took.

mod growth;
mod report;
mod sample;
mod table;
mod workload;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;

pub(super) use report::schema;

use self::report::{Advice, Report};
use self::table::advise_table;
use self::workload::{Asked, Workload};
use super::QueryError;
use super::engine::Inner;
use super::viewer::Viewer;

/// Views advised at most, the best first.
const VIEWS_MAX: usize = 10;

/// Advice for what ran lately, or for one query: rows of [`schema`]. Without any, one row says why. Only an admin's advice is for
/// what others ran, and nobody's tells of tables they do not see whole.
///
/// # Errors
/// A query that cannot be planned, files that cannot be read.
pub(super) async fn advise(
    engine: &Arc<Inner>,
    query: Option<&str>,
    viewer: &Viewer,
) -> Result<RecordBatch, QueryError> {
    engine.shared.cpu.spawn(advice(engine.clone(), query.map(str::to_owned), viewer.clone())).await?
}

async fn advice(engine: Arc<Inner>, query: Option<String>, viewer: Viewer) -> Result<RecordBatch, QueryError> {
    let engine = &engine;
    let catalog = engine.catalog.snapshot();
    let Workload { asked, unfit, statements, cut } = match &query {
        None => workload::lately(engine, (&catalog, &viewer)),
        Some(text) => workload::of_query(engine, (&catalog, &viewer), text)?,
    };
    let mut report = Report { statements, cut, notes: unfit };
    let mut tables: BTreeMap<String, Vec<Asked>> = BTreeMap::new();
    for asked in asked {
        tables.entry(asked.question.source.clone()).or_default().push(asked);
    }
    let mut advice: Vec<Advice> = Vec::new();
    for (table, asked) in tables {
        // Names of views already advised are taken too.
        let taken: Vec<String> = advice.iter().map(|advice| advice.name.clone()).collect();
        advice.extend(advise_table(engine, &catalog, (&table, asked), &taken, &mut report).await?);
    }
    advice.sort_by(|left, right| right.saved_rows.total_cmp(&left.saved_rows));
    advice.truncate(VIEWS_MAX);
    report.batch(&advice, query.is_some())
}

//! Advice as rows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use crate::query::QueryError;

/// Reasons named when there is nothing to advise.
const REASONS_MAX: usize = 3;

/// One view.
pub(super) struct Advice {
    pub name: String,
    pub ddl: String,
    pub rows: u64,
    /// None: the sample has no row of it.
    pub bytes: Option<u64>,
    pub table_rows: u64,
    /// Runs of the statements that it would answer.
    pub runs: u64,
    /// Rows not read any more, over all those runs.
    pub saved_rows: f64,
    pub saved: Duration,
    pub reason: String,
}

/// What was looked at, beside the advice.
#[derive(Default)]
pub(super) struct Report {
    pub statements: u64,
    pub cut: u64,
    /// Why aggregates have no advice, and of how many runs.
    pub notes: BTreeMap<String, u64>,
}

/// Of the answer.
pub(in crate::query) fn schema() -> SchemaRef {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        field("rank", DataType::Int64),
        field("ddl", DataType::Utf8),
        field("estimated_rows", DataType::Int64),
        field("estimated_bytes", DataType::Int64),
        field("ratio", DataType::Float64),
        field("queries", DataType::Int64),
        field("saved_ms", DataType::Int64),
        field("reason", DataType::Utf8),
    ]))
}

impl Report {
    pub fn note(&mut self, reason: String, runs: u64) {
        *self.notes.entry(reason).or_default() += runs;
    }

    /// The rows of the answer: the advice, or one that says why there is none.
    ///
    /// # Errors
    /// None that a user could do anything about.
    pub fn batch(&self, advice: &[Advice], is_one_query: bool) -> Result<RecordBatch, QueryError> {
        let note = advice.is_empty().then(|| self.why_none(is_one_query));
        let rest = usize::from(note.is_some());
        let numbers = |values: Vec<Option<u64>>| -> ArrayRef {
            let values = values.into_iter().chain(std::iter::repeat_n(None, rest));
            Arc::new(values.map(|value| value.and_then(|value| i64::try_from(value).ok())).collect::<Int64Array>())
        };
        let ratio = advice.iter().map(|advice| Some(advice.rows as f64 / advice.table_rows.max(1) as f64));
        let ddl = advice.iter().map(|advice| Some(advice.ddl.as_str())).chain(std::iter::repeat_n(None, rest));
        let reasons = advice.iter().map(|advice| advice.reason.as_str()).chain(note.as_deref());
        let columns: Vec<ArrayRef> = vec![
            numbers((1..=advice.len() as u64).map(Some).collect()),
            Arc::new(ddl.collect::<StringArray>()),
            numbers(advice.iter().map(|advice| Some(advice.rows)).collect()),
            numbers(advice.iter().map(|advice| advice.bytes).collect()),
            Arc::new(ratio.chain(std::iter::repeat_n(None, rest)).collect::<Float64Array>()),
            numbers(advice.iter().map(|advice| Some(advice.runs)).collect()),
            numbers(advice.iter().map(|advice| u64::try_from(advice.saved.as_millis()).ok()).collect()),
            Arc::new(reasons.map(Some).collect::<StringArray>()),
        ];
        RecordBatch::try_new(schema(), columns).map_err(|error| QueryError::Internal { message: error.to_string() })
    }

    fn why_none(&self, is_one_query: bool) -> String {
        let mut notes: Vec<(&String, &u64)> = self.notes.iter().collect();
        notes.sort_by_key(|(_, runs)| std::cmp::Reverse(**runs));
        let reasons = notes.iter().take(REASONS_MAX).map(|(reason, runs)| match is_one_query {
            true => (*reason).clone(),
            false => format!("{reason} ({runs})"),
        });
        let reasons = reasons.collect::<Vec<_>>().join("; ");
        let cut = match self.cut {
            0 => String::new(),
            cut => format!("; {cut} are longer than system.queries keeps and were not looked at"),
        };
        match (is_one_query, reasons.is_empty()) {
            (true, true) => "no view: the query has no aggregate of a table".to_owned(),
            (true, false) => format!("no view: {reasons}"),
            (false, true) => {
                format!(
                    "nothing to advise: none of the {} statements in system.queries has an aggregate of a table{cut}",
                    self.statements
                )
            }
            (false, false) => {
                format!("nothing to advise for the {} statements in system.queries: {reasons}{cut}", self.statements)
            }
        }
    }
}

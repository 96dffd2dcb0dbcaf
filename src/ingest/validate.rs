//! `Batch<Decoded>` → `Batch<Valid>`: NOT NULL, time limits, CHECK. A bad row is rejected alone.
//!
//! Whole columns are looked at; rows one by one only when a column holds a bad one. Rules, in this order, the first that
//! fails is the row's reason:
//!
//! 1. NOT NULL (event keys and snapshot keys are declared so);
//! 2. event time not further ahead of the clock than `clock_skew`;
//! 3. event time not older than `lateness`, for rows that arrive as events; explicit loads and INSERT are backfills:
//!    loading last year's file is not a late event;
//! 4. CHECK expressions; NULL passes, as SQL says; an expression that fails to evaluate rejects the row.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::{filter_record_batch, max, min};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::DFSchema;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::prelude::SessionContext;

use super::batch::{Batch, Decoded, Rejection, RowFormat, Valid};
use super::decode::conversion::arrow_rejection;
use super::{IngestError, OnBadRow};
use crate::base::{Span, Timestamp};
use crate::catalog::{OnError, TableDefinition, TableKind};

/// How rows arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// As events, now: lateness applies.
    Event,
    /// By an explicit statement (load, COPY, INSERT): any age is welcome.
    Backfill,
}

/// The rules of one table at one moment.
pub struct Validator {
    rules: Arc<Rules>,
    event_time: Option<EventTime>,
}

/// What of a table's rules does not depend on the moment: planned once for a definition, then shared.
pub struct Rules {
    columns: SchemaRef,
    checks: Vec<Check>,
}

struct EventTime {
    table: String,
    index: usize,
    /// The latest moment allowed and what to say of later ones.
    latest: Option<(Timestamp, Span)>,
    earliest: Option<(Timestamp, Span)>,
}

struct Check {
    name: String,
    /// The one column it looks at, if it is one.
    field: Option<String>,
    expression: Arc<dyn PhysicalExpr>,
}

/// Plans CHECKs; making a context takes longer than validating a request.
static PLANNER: LazyLock<SessionContext> = LazyLock::new(SessionContext::new);

/// The rows that hold, and the others.
pub struct Validated {
    pub batch: Batch<Valid>,
    pub rejected: Vec<Rejection>,
}

/// First reason of each bad row.
#[derive(Default)]
struct Faults(Vec<Option<(Option<String>, String)>>);

impl Faults {
    fn add(&mut self, row_count: usize, row: usize, field: Option<&str>, reason: impl FnOnce() -> String) {
        if self.0.is_empty() {
            self.0.resize(row_count, None);
        }
        if let Some(fault @ None) = self.0.get_mut(row) {
            *fault = Some((field.map(str::to_owned), reason()));
        }
    }

    fn of(&self, row: usize) -> Option<&(Option<String>, String)> {
        self.0.get(row)?.as_ref()
    }
}

impl Validator {
    /// # Errors
    /// When a CHECK cannot be planned over `columns`, which are the table's as stored.
    pub fn new(
        (table, definition): (&str, &TableDefinition),
        columns: &SchemaRef,
        arrival: Arrival,
        now: Timestamp,
    ) -> Result<Self, IngestError> {
        Ok(Self::at(Rules::new(definition, columns)?, (table, definition), arrival, now))
    }

    /// The rules of the definition as they are now.
    pub fn at(
        rules: Arc<Rules>,
        (table, definition): (&str, &TableDefinition),
        arrival: Arrival,
        now: Timestamp,
    ) -> Self {
        let event_time = match &definition.kind {
            TableKind::Event { event_time, lateness, clock_skew, .. } => {
                rules.columns.index_of(event_time).ok().map(|index| {
                    let latest = clock_skew.map(|skew| (now.plus(skew.duration()), skew));
                    let earliest = lateness.filter(|_| arrival == Arrival::Event);
                    let earliest = earliest.map(|late| (now.minus(late.duration()), late));
                    EventTime { table: table.to_owned(), index, latest, earliest }
                })
            }
            TableKind::Plain | TableKind::Snapshot { .. } => None,
        };
        Self { rules, event_time }
    }

    /// Checks the rows of a batch decoded for this table.
    ///
    /// # Errors
    /// Only when Arrow fails to drop the bad rows.
    pub fn validate(&self, batch: Batch<Decoded>) -> Result<Validated, IngestError> {
        let Batch { rows, state } = batch;
        let mut faults = Faults::default();
        self.find_nulls(&rows, &mut faults);
        if let Some(event_time) = &self.event_time {
            event_time.find_outside(&rows, self.rules.columns.field(event_time.index).name(), &mut faults);
        }
        for check in &self.rules.checks {
            check.find_false(&rows, &mut faults);
        }
        let rejected: Vec<Rejection> = (0..faults.0.len())
            .filter_map(|row| faults.of(row).map(|fault| (row, fault)))
            .map(|(row, (field, reason))| {
                let line = state.lines.of(row);
                match &state.texts {
                    Some(texts) => Rejection::new(line, field.as_deref(), reason, texts.format, texts.of(row)),
                    None => arrow_rejection(line, field.as_deref(), reason, (RowFormat::Columns, &rows, row)),
                }
            })
            .collect();
        let kept = if rejected.is_empty() {
            rows
        } else {
            let keep: BooleanArray = (0..rows.num_rows()).map(|row| Some(faults.of(row).is_none())).collect();
            filter_record_batch(&rows, &keep).map_err(internal)?
        };
        let options = RecordBatchOptions::new().with_row_count(Some(kept.num_rows()));
        let rows = RecordBatch::try_new_with_options(self.rules.columns.clone(), kept.columns().to_vec(), &options);
        Ok(Validated { batch: Batch { rows: rows.map_err(internal)?, state: Valid }, rejected })
    }

    fn find_nulls(&self, rows: &RecordBatch, faults: &mut Faults) {
        for (field, column) in self.rules.columns.fields().iter().zip(rows.columns()) {
            if field.is_nullable() || column.null_count() == 0 {
                continue;
            }
            for row in (0..rows.num_rows()).filter(|row| column.is_null(*row)) {
                faults.add(rows.num_rows(), row, Some(field.name()), || "is NULL, the column is NOT NULL".to_owned());
            }
        }
    }
}

fn internal(error: arrow::error::ArrowError) -> IngestError {
    IngestError::Invalid { message: format!("cannot validate rows: {error}") }
}

impl Rules {
    /// # Errors
    /// When a CHECK cannot be planned over `columns`, which are the table's as stored.
    pub fn new(definition: &TableDefinition, columns: &SchemaRef) -> Result<Arc<Self>, IngestError> {
        let checks = definition.checks.iter().map(|(name, sql)| Check::new(name, sql, columns));
        Ok(Arc::new(Self { columns: columns.clone(), checks: checks.collect::<Result<_, _>>()? }))
    }
}

/// Whether a request with these bad rows is taken: `request` is what the client asked for, else the table decides.
///
/// # Errors
/// `BadRows`: nothing of the request may be taken, and nothing is to be put on record.
pub fn bad_rows_policy(table: OnError, request: Option<OnBadRow>, rejected: &[Rejection]) -> Result<(), IngestError> {
    let on_bad_row = request.unwrap_or(match table {
        OnError::Reject => OnBadRow::Reject,
        OnError::Fail => OnBadRow::Fail,
    });
    match (on_bad_row, rejected.iter().min_by_key(|rejection| rejection.line)) {
        (OnBadRow::Reject, _) | (OnBadRow::Fail, None) => Ok(()),
        (OnBadRow::Fail, Some(first)) => {
            Err(IngestError::BadRows { first: first.sentence(), others: rejected.len() as u64 - 1 })
        }
    }
}

impl EventTime {
    fn find_outside(&self, rows: &RecordBatch, name: &str, faults: &mut Faults) {
        let Some(times) = rows.column(self.index).as_primitive_opt::<TimestampMicrosecondType>() else { return };
        if let Some((latest, skew)) = self.latest
            && max(times).is_some_and(|newest| newest > latest.micros())
        {
            for row in (0..times.len()).filter(|row| times.is_valid(*row) && times.value(*row) > latest.micros()) {
                faults.add(times.len(), row, Some(name), || {
                    let time = Timestamp(times.value(row));
                    format!("is {time}, further ahead of the clock than clock_skew ({skew}) allows")
                });
            }
        }
        if let Some((earliest, lateness)) = self.earliest
            && min(times).is_some_and(|oldest| oldest < earliest.micros())
        {
            for row in (0..times.len()).filter(|row| times.is_valid(*row) && times.value(*row) < earliest.micros()) {
                faults.add(times.len(), row, Some(name), || {
                    let time = Timestamp(times.value(row));
                    format!("is {time}, older than lateness ({lateness}) allows; take it all the same with REPLAY REJECTS FROM {}", self.table)
                });
            }
        }
    }
}

impl Check {
    fn new(name: &str, sql: &str, columns: &SchemaRef) -> Result<Self, IngestError> {
        let plan = || -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
            let schema = DFSchema::try_from(columns.as_ref().clone())?;
            let expression = PLANNER.parse_sql_expr(sql, &schema)?;
            PLANNER.create_physical_expr(expression, &schema)
        };
        let expression = plan().map_err(|error| IngestError::Invalid {
            message: format!("CHECK '{name}' of the table cannot be used: {error}"),
        })?;
        let mut names: Vec<String> =
            collect_columns(&expression).iter().map(|column| column.name().to_owned()).collect();
        names.dedup();
        let field = names.pop().filter(|_| names.is_empty());
        Ok(Self { name: name.to_owned(), field, expression })
    }

    fn find_false(&self, rows: &RecordBatch, faults: &mut Faults) {
        self.find_in(rows, (0, rows.num_rows()), faults);
    }

    /// Looks at the rows beginning at `from` of `total`.
    fn find_in(&self, rows: &RecordBatch, (from, total): (usize, usize), faults: &mut Faults) {
        if rows.num_rows() == 0 {
            return;
        }
        match self.holds(rows) {
            Ok(holds) => {
                if holds.false_count() > 0 {
                    for row in (0..holds.len()).filter(|row| holds.is_valid(*row) && !holds.value(*row)) {
                        let reason = || format!("violates CHECK {}", self.name);
                        faults.add(total, from + row, self.field.as_deref(), reason);
                    }
                }
            }
            Err(error) if rows.num_rows() == 1 => {
                let reason = || format!("CHECK {} cannot be evaluated: {error}", self.name);
                faults.add(total, from, self.field.as_deref(), reason);
            }
            // One row spoils the whole column's evaluation (overflow, division by zero): it is in one of the halves.
            Err(_) => {
                let half = rows.num_rows() / 2;
                self.find_in(&rows.slice(0, half), (from, total), faults);
                self.find_in(&rows.slice(half, rows.num_rows() - half), (from + half, total), faults);
            }
        }
    }

    fn holds(&self, rows: &RecordBatch) -> Result<BooleanArray, DataFusionError> {
        match self.expression.evaluate(rows)? {
            ColumnarValue::Array(array) if array.as_boolean_opt().is_some() => Ok(array.as_boolean().clone()),
            other => {
                let array = other.into_array(rows.num_rows())?;
                let array = arrow::compute::cast(&array, &arrow::datatypes::DataType::Boolean)?;
                Ok(array.as_boolean().clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::batch::{Lines, RowTexts};
    use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

    const NOW: i64 = 1_510_047_038_000_000;
    const DAY: i64 = 86_400_000_000;

    fn definition(checks: &[(&str, &str)]) -> TableDefinition {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let columns = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Utf8, false),
            Field::new("at", time, false),
            Field::new("n", DataType::Int64, true),
        ]));
        TableDefinition {
            columns,
            kind: TableKind::Event {
                event_time: "at".to_owned(),
                event_key: Some("id".to_owned()),
                lateness: Some("7 days".parse().unwrap()),
                clock_skew: Some("5 minutes".parse().unwrap()),
                retention: None,
            },
            partition_by: Vec::new(),
            sort_by: Vec::new(),
            checks: checks.iter().map(|(name, sql)| ((*name).to_owned(), (*sql).to_owned())).collect(),
            ingest: crate::catalog::IngestOptions::default(),
        }
    }

    fn check(
        arrival: Arrival,
        checks: &[(&str, &str)],
        rows: &[(Option<&str>, i64, Option<i64>)],
    ) -> Result<(usize, Vec<String>), IngestError> {
        let definition = definition(checks);
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| row.0).collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| Some(row.1)).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
            Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>()),
        ];
        let schema = crate::ingest::decode::rows::nullable(&definition.columns);
        let mut texts = RowTexts::new(RowFormat::Json);
        (0..rows.len()).for_each(|row| texts.push(format!("row {row}").as_bytes()));
        let state = Decoded { lines: Lines::From(10), texts: Some(texts) };
        let batch = Batch { rows: RecordBatch::try_new(schema, arrays).unwrap(), state };
        let validator = Validator::new(("clicks", &definition), &definition.columns, arrival, Timestamp(NOW))?;
        let validated = validator.validate(batch)?;
        assert_eq!(validated.batch.rows.schema(), definition.columns);
        let texts_fit =
            validated.rejected.iter().all(|rejection| rejection.row == format!("row {}", rejection.line - 10));
        assert!(texts_fit, "{:?}", validated.rejected);
        Ok((validated.batch.row_count(), validated.rejected.iter().map(Rejection::sentence).collect()))
    }

    #[test]
    fn nulls_and_times_are_rejected_alone() {
        let rows = [
            (Some("a"), NOW, None),
            (None, NOW, None),
            (Some("b"), NOW + 600_000_000, None),
            (Some("c"), NOW - 8 * DAY, None),
            (Some("d"), NOW - 6 * DAY, None),
        ];
        let (kept, rejected) = check(Arrival::Event, &[], &rows).unwrap();
        assert_eq!(kept, 2);
        assert_eq!(rejected.len(), 3, "{rejected:?}");
        assert_eq!(rejected[0], "line 11, field 'id': is NULL, the column is NOT NULL");
        assert!(
            rejected[1].starts_with("line 12, field 'at': is 2017-11-07T09:40:38.000000Z, further ahead"),
            "{rejected:?}"
        );
        let late = "older than lateness (7 days) allows; take it all the same with REPLAY REJECTS FROM clicks";
        assert!(rejected[2].ends_with(late), "{rejected:?}");
        let (kept, rejected) = check(Arrival::Backfill, &[], &rows).unwrap();
        assert_eq!((kept, rejected.len()), (3, 2), "a backfill may be of any age, but not from the future");
    }

    #[test]
    fn checks_reject_false_and_pass_null() {
        let rows = [(Some("a"), NOW, Some(1)), (Some("b"), NOW, Some(-1)), (Some("c"), NOW, None)];
        let (kept, rejected) = check(Arrival::Event, &[("n_positive", "n >= 0 AND length(id) = 1")], &rows).unwrap();
        assert_eq!((kept, rejected), (2, vec!["line 11: violates CHECK n_positive".to_owned()]));
    }

    #[test]
    fn a_check_that_fails_to_evaluate_rejects_its_row_only() {
        let rows = [(Some("a"), NOW, Some(1)), (Some("b"), NOW, Some(0)), (Some("c"), NOW, Some(20))];
        let (kept, rejected) = check(Arrival::Event, &[("small", "10 / n >= 1")], &rows).unwrap();
        assert_eq!((kept, rejected.len()), (1, 2), "{rejected:?}");
        assert!(rejected[0].starts_with("line 11, field 'n': CHECK small cannot be evaluated"), "{rejected:?}");
        assert_eq!(rejected[1], "line 12, field 'n': violates CHECK small");
    }

    #[test]
    fn a_few_rows_that_cannot_be_evaluated_are_found_among_many() {
        let rows: Vec<_> = (0..1_000).map(|row| (Some("a"), NOW, Some(if row % 400 == 7 { 0 } else { 1 }))).collect();
        let (kept, rejected) = check(Arrival::Event, &[("small", "10 / n >= 1")], &rows).unwrap();
        assert_eq!(kept, 997);
        let lines: Vec<&str> = rejected.iter().filter_map(|sentence| sentence.split(',').next()).collect();
        assert_eq!(lines, ["line 17", "line 417", "line 817"]);
    }

    #[test]
    fn enums_and_ranges_name_their_column() {
        let rows = [(Some("ios"), NOW, Some(1)), (Some("tv"), NOW, Some(1)), (Some("ios"), NOW, Some(11))];
        let checks = [("id IN ('ios', 'android')", "id IN ('ios', 'android')"), ("range", "n BETWEEN 0 AND 10")];
        let (_, rejected) = check(Arrival::Event, &checks, &rows).unwrap();
        assert_eq!(
            rejected,
            [
                "line 11, field 'id': violates CHECK id IN ('ios', 'android')",
                "line 12, field 'n': violates CHECK range"
            ]
        );
    }

    #[test]
    fn the_request_decides_before_the_table() {
        let bad = |line| Rejection::new(line, Some("n"), "is bad", RowFormat::Json, b"{}");
        let rows = [bad(7), bad(3), bad(9)];
        assert!(bad_rows_policy(OnError::Reject, None, &rows).is_ok());
        assert!(bad_rows_policy(OnError::Fail, Some(OnBadRow::Reject), &rows).is_ok());
        assert!(bad_rows_policy(OnError::Fail, None, &[]).is_ok());
        for (table, request) in [(OnError::Fail, None), (OnError::Reject, Some(OnBadRow::Fail))] {
            let error = bad_rows_policy(table, request, &rows).unwrap_err().to_string();
            assert_eq!(error, "line 3, field 'n': is bad; and 2 more bad rows; nothing was accepted");
        }
        let error = bad_rows_policy(OnError::Fail, None, &rows[..1]).unwrap_err().to_string();
        assert_eq!(error, "line 7, field 'n': is bad; nothing was accepted");
    }

    #[test]
    fn a_check_over_an_unknown_column_is_an_error() {
        assert!(check(Arrival::Event, &[("x", "nope > 1")], &[]).is_err());
    }
}

//! A rebuild works through its source in slices: parts whose groups fit in memory, in the order of the view's stored rows.
//!
//! ```text
//! source: │ day 1: ads a…f │ ads g…p │ ads q…z │ day 2: …        each slice ─ partials ─ sorted ─► behind the one before it
//! ```
//! Rows of a slice lie together in the source's files, so a slice reads little beside its own; its groups are made in one step
//! and never leave memory, and no sort or merge of all groups follows. Every row of the source is in exactly one slice, which is
//! all that the result depends on: a group that is in two is two stored rows, merged by whoever reads them.
//!
//! Slicing is decided by [`Cuts::of`]: by the time the view is partitioned by, and by the column that leads both orders, the view's
//! and its source's. Where neither is there, or slices would still be large, there are none.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, DataFusionError, ScalarValue};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, lit};
use tokio_util::sync::CancellationToken;

use super::absorb::ViewAt;
use super::rows::conform;
use super::{MaterializeError, RefreshParts};
use crate::base::{Sealed, Timestamp};
use crate::rollup::Design;
use crate::storage::{
    Slice, StagedFile, TableSnapshot, TableSpec, TimeRange, TimeWindow, Transform, partition_end, quantiles,
    time_ranges,
};

/// A slice may have this many times the rows asked for; larger ones are computed by all threads together, as one.
const LARGEST: u64 = 8;

/// How the source is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cuts {
    /// A time column that is never NULL, and the unit at whose boundaries it is cut.
    time: Option<(String, Transform)>,
    /// A column that leads the source's order and, behind its partition, the view's.
    key: Option<String>,
}

impl Cuts {
    /// None: the view is not laid out as its source is.
    fn of(design: &Design, view: &TableSpec, source: &TableSpec) -> Option<Self> {
        let key_at = |stored: &str| design.keys.iter().position(|key| key == stored);
        let time = match view.partition_by.as_slice() {
            [] => None,
            [part] => {
                let key = key_at(&part.column)?;
                let time = design.time_keys.iter().find(|time| time.index == key)?;
                let is_there = source.column(&time.column).is_some_and(|field| !field.is_nullable());
                if !is_there || part.transform == Transform::Identity {
                    return None;
                }
                Some((time.column.clone(), part.transform))
            }
            _ => return None,
        };
        let first = view.file_sort_columns().into_iter().next().and_then(|name| key_at(&name));
        let key = first.and_then(|at| match design.question.keys.get(at) {
            Some(Expr::Column(column)) if source.sort_by.first() == Some(&column.name) => Some(column.name.clone()),
            _ => None,
        });
        (time.is_some() || key.is_some()).then_some(Self { time, key })
    }
}

/// Predicates over the source's columns, each row of `rows` passing exactly one; None: work through all at once.
///
/// # Errors
/// Files of the source that cannot be read.
pub(super) async fn slices(
    view: &ViewAt<'_>,
    rows: &Arc<dyn TableProvider>,
    stored: &TableSnapshot,
    slice_rows: u64,
) -> Result<Option<Vec<Sealed<Expr>>>, MaterializeError> {
    let source = view.source.current();
    let Some(Cuts { time, key }) = Cuts::of(&view.design, stored.spec(), source.spec()) else { return Ok(None) };
    let windows = match &time {
        None => None,
        Some((column, unit)) => match windows(time_ranges(rows.as_ref(), column), *unit, slice_rows) {
            None => return Ok(None),
            Some(windows) => Some((column, windows)),
        },
    };
    let windows: Vec<(Option<TimeWindow>, u64)> = match windows {
        None => {
            let known = time_ranges(rows.as_ref(), "").iter().map(|range| range.rows).sum::<Option<u64>>();
            vec![(None, known.unwrap_or(0))]
        }
        Some((column, windows)) => {
            let window = |(from, to, rows)| (Some(TimeWindow { column: column.clone(), from, to }), rows);
            windows.into_iter().map(window).collect()
        }
    };
    let mut cuts: Vec<(Option<TimeWindow>, Vec<ScalarValue>)> = Vec::with_capacity(windows.len());
    for (window, window_rows) in windows {
        let is_large = window_rows > slice_rows.saturating_mul(3) / 2;
        let points = match &key {
            Some(key) if is_large => quantiles(rows.as_ref(), key, window.as_ref(), slice_rows).await?,
            _ => Some(Vec::new()),
        };
        let Some(points) = points else { return Ok(None) };
        if window_rows / (points.len() as u64 + 1) > slice_rows.saturating_mul(LARGEST) {
            return Ok(None);
        }
        cuts.push((window, points));
    }
    let slices = predicates(cuts, key.as_deref().unwrap_or_default(), &rows.schema());
    Ok((slices.len() > 1).then(|| slices.into_iter().map(Sealed::new).collect()))
}

/// For each window its ranges of `key`.
fn predicates(cuts: Vec<(Option<TimeWindow>, Vec<ScalarValue>)>, key: &str, schema: &Schema) -> Vec<Expr> {
    let of_window = |(window, points): (Option<TimeWindow>, Vec<ScalarValue>)| {
        let within = window.and_then(|window| in_window(&window, schema));
        in_ranges(key, points).into_iter().map(move |range| match (within.clone(), range) {
            (Some(within), Some(range)) => within.and(range),
            (within, range) => within.or(range).unwrap_or_else(|| lit(true)),
        })
    };
    cuts.into_iter().flat_map(of_window).collect()
}

/// From, to, and the rows in between.
type Times = (Option<Timestamp>, Option<Timestamp>, u64);

/// Times that no file reaches across, each with its rows and cut at boundaries of `unit`; neighbours are joined up to `rows_max` rows.
/// The first and the last are open. None: a file does not say its times or rows.
fn windows(files: Vec<TimeRange>, unit: Transform, rows_max: u64) -> Option<Vec<Times>> {
    // By the end of the last unit that a file begins in: how far its rows reach, and how many they are.
    let mut units: BTreeMap<i64, (i64, u64)> = BTreeMap::new();
    for file in files {
        let (earliest, latest, rows) = (file.earliest?, file.latest?, file.rows?);
        let reaches = partition_end(unit, latest.micros());
        let known = units.entry(partition_end(unit, earliest.micros())).or_insert((reaches, 0));
        *known = (known.0.max(reaches), known.1 + rows);
    }
    let mut windows: Vec<Times> = Vec::new();
    let (mut from, mut reaches, mut rows) = (None, i64::MIN, 0_u64);
    let mut ends = units.into_iter().peekable();
    while let Some((_, (reached, count))) = ends.next() {
        reaches = reaches.max(reached);
        let next = ends.peek().map(|(end, (_, count))| (*end, *count));
        rows += count;
        // The next begins in the unit that ends there; a file that reaches into it holds both together.
        let is_apart = next.is_some_and(|(end, _)| end > reaches);
        let is_full = next.is_some_and(|(_, count)| rows + count > rows_max);
        if is_apart && is_full {
            let to = Some(Timestamp(reaches));
            windows.push((from, to, rows));
            (from, rows) = (to, 0);
        }
    }
    windows.push((from, None, rows));
    Some(windows)
}

fn in_window(window: &TimeWindow, schema: &Schema) -> Option<Expr> {
    let field = schema.field_with_name(&window.column).ok()?;
    let zone = match field.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    let moment = |time: Timestamp| lit(ScalarValue::TimestampMicrosecond(Some(time.micros()), zone.clone()));
    let from = window.from.map(|from| column(&window.column).gt_eq(moment(from)));
    let to = window.to.map(|to| column(&window.column).lt(moment(to)));
    match (from, to) {
        (Some(from), Some(to)) => Some(from.and(to)),
        (from, to) => from.or(to),
    }
}

/// Ranges of `key` between the points, ascending; NULL is in the last. One None: there are no points.
fn in_ranges(key: &str, points: Vec<ScalarValue>) -> Vec<Option<Expr>> {
    let mut ranges = Vec::with_capacity(points.len() + 1);
    let mut from: Option<Expr> = None;
    for point in points {
        let before = column(key).lt(lit(point.clone()));
        ranges.push(Some(match from.take() {
            Some(from) => from.and(before),
            None => before,
        }));
        from = Some(column(key).gt_eq(lit(point)));
    }
    ranges.push(from.map(|from| from.or(column(key).is_null())));
    ranges
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}

/// Files of the partials of each slice, in the order of the view's table.
///
/// # Errors
/// What reading the rows meets; cancelled.
pub(super) async fn write_slices(
    parts: &RefreshParts,
    view: &ViewAt<'_>,
    (rows, slices): (Arc<dyn TableProvider>, Vec<Sealed<Expr>>),
    (task, cancel): (&Arc<TaskContext>, &CancellationToken),
) -> Result<Vec<StagedFile>, MaterializeError> {
    tracing::debug!(view = view.name, slices = slices.len(), "rebuilt in slices");
    let stored = view.table.current().columns();
    let open = |within: Sealed<Expr>| -> Slice {
        let (engine, design, name) = (parts.engine.clone(), view.design.clone(), view.name.to_owned());
        let (rows, stored, cancel) = (rows.clone(), stored.clone(), cancel.clone());
        Box::pin(async move {
            let partials = engine.open_slice(design, rows, within, cancel.clone()).await;
            let partials = partials.map_err(|error| DataFusionError::External(Box::new(error)))?;
            conform(&name, partials, stored, cancel).map_err(|error| DataFusionError::External(Box::new(error)))
        })
    };
    let slices: Vec<Slice> = slices.into_iter().map(open).collect();
    match view.table.write_slices(slices, task.clone()).await {
        Err(_) if cancel.is_cancelled() => Err(MaterializeError::Cancelled { view: view.name.to_owned() }),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    /// Files by the hours of their first and last row, ten rows each; what comes out by hours too.
    fn check(files: &[(i64, i64)], rows_max: u64, expected: &[(Option<i64>, Option<i64>, u64)]) {
        let file = |(first, last): &(i64, i64)| TimeRange {
            earliest: Some(Timestamp(first * HOUR)),
            latest: Some(Timestamp(last * HOUR)),
            rows: Some(10),
        };
        let found = windows(files.iter().map(file).collect(), Transform::Day, rows_max).unwrap();
        let hours = |time: Option<Timestamp>| time.map(|time| time.micros() / HOUR);
        let found: Vec<_> = found.into_iter().map(|(from, to, rows)| (hours(from), hours(to), rows)).collect();
        assert_eq!(found, expected, "{files:?}");
    }

    #[test]
    fn windows_are_whole_days_that_no_file_reaches_across() {
        check(
            &[(1, 2), (25, 30), (26, 27), (50, 60)],
            10,
            &[(None, Some(24), 10), (Some(24), Some(48), 20), (Some(48), None, 10)],
        );
        check(&[(1, 2), (25, 30), (50, 60)], 20, &[(None, Some(48), 20), (Some(48), None, 10)]);
        check(&[(1, 2), (25, 30), (50, 60)], 100, &[(None, None, 30)]);
        // One file has rows of two days; days without rows belong to the window before them.
        check(&[(1, 30), (30, 31), (200, 201)], 10, &[(None, Some(48), 20), (Some(48), None, 10)]);
        check(
            &[(-30, -26), (-1, 0), (24, 25)],
            10,
            &[(None, Some(-24), 10), (Some(-24), Some(24), 10), (Some(24), None, 10)],
        );
        check(&[], 10, &[(None, None, 0)]);
        let unknown = TimeRange { earliest: None, latest: None, rows: Some(1) };
        assert!(windows(vec![unknown], Transform::Day, 10).is_none());
    }

    #[test]
    fn every_row_is_in_one_slice() {
        let field = arrow::datatypes::Field::new(
            "ts",
            DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into())),
            false,
        );
        let schema = Schema::new(vec![field]);
        let window = |from: Option<i64>, to: Option<i64>| {
            Some(TimeWindow { column: "ts".to_owned(), from: from.map(Timestamp), to: to.map(Timestamp) })
        };
        let cuts = vec![
            (window(None, Some(5)), vec![ScalarValue::from("b"), ScalarValue::from("m")]),
            (window(Some(5), None), Vec::new()),
        ];
        let moment = "TimestampMicrosecond(5, Some(\"UTC\"))";
        let texts: Vec<String> = predicates(cuts, "k", &schema).iter().map(ToString::to_string).collect();
        let expected = [
            format!("ts < {moment} AND k < Utf8(\"b\")"),
            format!("ts < {moment} AND k >= Utf8(\"b\") AND k < Utf8(\"m\")"),
            format!("ts < {moment} AND (k >= Utf8(\"m\") OR k IS NULL)"),
            format!("ts >= {moment}"),
        ];
        assert_eq!(texts, expected);
        let whole = predicates(vec![(None, Vec::new())], "", &schema);
        assert_eq!(whole, [lit(true)]);
    }
}

//! A source `f`, rollups of a part of its rows, and the same answer by both ways.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Int64Array, RecordBatch, StringArray, StringViewArray,
    TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::TableReference;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;

use super::standins::{self, functions};
use crate::rollup::{
    Asked, Cover, Decision, Design, Dirty, Grain, Refusal, RelationKind, Relations, RowWindows, Scan, Sources,
    StoredLayout, Strategy, Times, Wanted, aggregates, cover, decide, fold_plan, partial_plan, pieces, replace,
};

/// A row of `f`; times in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Row {
    pub(super) ts: i64,
    /// A time that may be missing.
    pub(super) late: Option<i64>,
    pub(super) k: Option<&'static str>,
    pub(super) c: Option<&'static str>,
    pub(super) n: Option<i64>,
    /// Never missing.
    pub(super) m: i64,
    /// Hundredths.
    pub(super) d: Option<i128>,
    pub(super) b: Option<bool>,
}

/// A row of the dimensions `d1`, `d2` and `d3`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Described {
    pub(super) k: Option<&'static str>,
    pub(super) j: Option<i64>,
    pub(super) name: Option<&'static str>,
    pub(super) w: Option<i64>,
    pub(super) ok: Option<bool>,
}

/// Kinds of text a file or a declaration has.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Text {
    Declared,
    Read,
}

pub(super) fn schema(text: Text) -> SchemaRef {
    let time = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let words = match text {
        Text::Declared => DataType::Utf8,
        Text::Read => DataType::Utf8View,
    };
    Arc::new(Schema::new(vec![
        Field::new("ts", time(), false),
        Field::new("late", time(), true),
        Field::new("local", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("k", words.clone(), true),
        Field::new("c", words, true),
        Field::new("n", DataType::Int64, true),
        Field::new("m", DataType::Int64, false),
        Field::new("d", DataType::Decimal128(12, 2), true),
        Field::new("b", DataType::Boolean, true),
        Field::new("x", DataType::Float64, true),
    ]))
}

fn batch(rows: &[Row], text: Text) -> RecordBatch {
    let words = |of: fn(&Row) -> Option<&'static str>| -> ArrayRef {
        match text {
            Text::Declared => Arc::new(rows.iter().map(of).collect::<StringArray>()),
            Text::Read => Arc::new(rows.iter().map(of).collect::<StringViewArray>()),
        }
    };
    let times = |of: fn(&Row) -> Option<i64>| rows.iter().map(of).collect::<TimestampMicrosecondArray>();
    let decimals = rows.iter().map(|row| row.d).collect::<Decimal128Array>();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(times(|row| Some(row.ts)).with_timezone("UTC")),
        Arc::new(times(|row| row.late).with_timezone("UTC")),
        Arc::new(times(|row| row.late)),
        words(|row| row.k),
        words(|row| row.c),
        Arc::new(rows.iter().map(|row| row.n).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.m).collect::<Int64Array>()),
        Arc::new(decimals.with_precision_and_scale(12, 2).unwrap()),
        Arc::new(rows.iter().map(|row| row.b).collect::<BooleanArray>()),
        arrow::array::new_null_array(&DataType::Float64, rows.len()),
    ];
    RecordBatch::try_new(schema(text), columns).unwrap()
}

fn described(rows: &[Described], text: Text) -> RecordBatch {
    let words = |of: fn(&Described) -> Option<&'static str>| -> ArrayRef {
        match text {
            Text::Declared => Arc::new(rows.iter().map(of).collect::<StringArray>()),
            Text::Read => Arc::new(rows.iter().map(of).collect::<StringViewArray>()),
        }
    };
    let numbers =
        |of: fn(&Described) -> Option<i64>| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<Int64Array>()) };
    let truths: ArrayRef = Arc::new(rows.iter().map(|row| row.ok).collect::<BooleanArray>());
    let columns = [
        ("k", words(|row| row.k)),
        ("j", numbers(|row| row.j)),
        ("name", words(|row| row.name)),
        ("w", numbers(|row| row.w)),
        ("ok", truths),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

fn scan(name: &str, rows: RecordBatch) -> Scan {
    let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).unwrap();
    Scan { table: TableReference::bare(name), source: provider_as_source(Arc::new(table)) }
}

/// Of a view that is kept in full.
fn days() -> RecordBatch {
    let day = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let columns = vec![Field::new("day", day, true), Field::new("n", DataType::Int64, true)];
    RecordBatch::new_empty(Arc::new(Schema::new(columns)))
}

/// A session whose `f` has these rows, tables `g` and `other`, and a view `days`.
pub(super) fn session(rows: &[Row], text: Text) -> SessionContext {
    session_of_star(rows, [&[], &[], &[]], text)
}

/// And dimensions with these rows.
fn session_of_star(rows: &[Row], dimensions: [&[Described]; 3], text: Text) -> SessionContext {
    let session = SessionContext::new();
    for aggregate in standins::aggregates() {
        session.register_udaf(aggregate.as_ref().clone());
    }
    session.register_batch("f", batch(rows, text)).unwrap();
    session.register_batch("g", batch(&[], text)).unwrap();
    session.register_batch("other", batch(&[], text)).unwrap();
    session.register_batch("days", days()).unwrap();
    for (name, rows) in ["d1", "d2", "d3"].into_iter().zip(dimensions) {
        session.register_batch(name, described(rows, text)).unwrap();
    }
    session
}

/// The plan before the analyzer.
pub(super) async fn plan(session: &SessionContext, sql: &str) -> LogicalPlan {
    let planned = session.state().create_logical_plan(sql).await;
    planned.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

pub(super) async fn decided(sql: &str, wanted: Wanted, layout: &StoredLayout) -> Result<Decision, Refusal> {
    let plan = plan(&session(&[], Text::Declared), sql).await;
    let kind = |name: &str| match name {
        "f" | "g" => Some(RelationKind::Events),
        "other" | "d1" | "d2" | "d3" => Some(RelationKind::Snapshot),
        "days" => Some(RelationKind::FullView),
        _ => None,
    };
    let event_key = |name: &str| ["f", "g"].contains(&name).then(|| "m".to_owned());
    let windows =
        |name: &str| (name == "days").then(|| RowWindows { key: "day".to_owned(), grain: Grain::DAY, ahead: 0 });
    decide(&plan, wanted, &Relations { kind: &kind, event_key: &event_key, windows: &windows }, layout)
}

pub(super) async fn design(view: &str) -> Arc<Design> {
    designed(view).await.unwrap_or_else(|reason| panic!("{view}: {reason}"))
}

/// The design, or why the view is kept in full.
pub(super) async fn designed(view: &str) -> Result<Arc<Design>, String> {
    let decision = decided(view, Wanted::Auto, &StoredLayout::default()).await.unwrap();
    match decision.strategy {
        Strategy::Incremental(design) => Ok(design),
        Strategy::Partition(_) | Strategy::Full(_) => Err(decision.reason),
    }
}

/// Columns and sorted rows, or the error's first line.
pub(super) async fn run(session: &SessionContext, plan: LogicalPlan) -> Result<Vec<String>, String> {
    let fields = |plan: &LogicalPlan| {
        let fields = plan.schema().iter().map(|(qualifier, field)| {
            format!(
                "{}{} {}",
                qualifier.map(|name| format!("{name}.")).unwrap_or_default(),
                field.name(),
                field.data_type()
            )
        });
        fields.collect::<Vec<_>>().join(", ")
    };
    let first_line = |error: &dyn ToString| error.to_string().lines().next().unwrap_or_default().to_owned();
    let heading = fields(&plan);
    let frame = session.execute_logical_plan(plan).await.map_err(|error| first_line(&error))?;
    let batches = frame.collect().await.map_err(|error| first_line(&error))?;
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let cells: Vec<String> =
                columns.iter().map(|column| format!("{:?}", column.value(row).to_string())).collect();
            rows.push(cells.join(" "));
        }
    }
    rows.sort_unstable();
    rows.insert(0, heading);
    Ok(rows)
}

/// Rows as absorbed one group after another, the rows after them, and rows that were absorbed and are no more.
#[derive(Default)]
pub(super) struct Rows<'a> {
    pub(super) absorbed: &'a [&'a [Row]],
    pub(super) tail: &'a [Row],
    pub(super) gone: &'a [Row],
}

impl Rows<'_> {
    fn whole(&self) -> Vec<Row> {
        self.absorbed.iter().flat_map(|rows| rows.iter()).chain(self.tail).copied().collect()
    }

    /// A session over all rows, as files are read.
    pub(super) fn session(&self) -> SessionContext {
        session(&self.whole(), Text::Read)
    }

    /// And over dimensions.
    pub(super) fn session_with(&self, dimensions: [&[Described]; 3]) -> SessionContext {
        session_of_star(&self.whole(), dimensions, Text::Read)
    }

    /// Where stored rows do not hold, as far as a key of `design` tells.
    fn dirty(&self, design: &Design) -> Option<Option<Dirty>> {
        if self.gone.is_empty() {
            return Some(None);
        }
        let touched = |column: &str| {
            let mut times = Times::default();
            for row in self.gone {
                match if column == "ts" { Some(row.ts) } else { row.late } {
                    Some(time) => times.add(time, time + 1),
                    None => times.add_missing(),
                }
            }
            Some(times)
        };
        Dirty::of(design, &schema(Text::Read), &touched).map(Some)
    }

    fn sources(&self, stored: &Scan, dirty: Option<Dirty>) -> Sources {
        let tail = Some(scan("f", batch(self.tail, Text::Read))).filter(|_| !self.tail.is_empty());
        Sources { stored: stored.clone(), tail, whole: scan("f", batch(&self.whole(), Text::Read)), dirty }
    }

    /// The stored rows of `design`, as they are read: text as views, every column nullable.
    pub(super) async fn stored(&self, design: &Design) -> Result<Scan, String> {
        let session = SessionContext::new();
        let mut stored: Vec<RecordBatch> = Vec::new();
        for rows in self.absorbed.iter().chain([&self.gone]) {
            let plan = partial_plan(design, scan("f", batch(rows, Text::Read)), None, &functions()).unwrap();
            assert_eq!(plan.schema().fields().iter().map(|field| field.name()).collect::<Vec<_>>(), design.columns());
            stored.extend(collect(&session, plan).await?.into_iter().map(|batch| as_read(&batch)));
        }
        let empty = partial_plan(design, scan("f", batch(&[], Text::Read)), None, &functions()).unwrap();
        let empty = as_read(&RecordBatch::new_empty(Arc::new(empty.schema().as_arrow().clone())));
        let all = arrow::compute::concat_batches(&empty.schema(), &stored).map_err(|error| error.to_string())?;
        Ok(scan("stored", all))
    }

    /// The stored rows, each group once.
    pub(super) async fn folded(&self, design: &Design) -> Result<Scan, String> {
        let stored = self.stored(design).await?;
        let plan = fold_plan(design, stored, &functions()).unwrap();
        let schema = Arc::new(plan.schema().as_arrow().clone());
        let batches = collect(&SessionContext::new(), plan).await?;
        let all = arrow::compute::concat_batches(&schema, &batches).map_err(|error| error.to_string())?;
        Ok(scan("stored", as_read(&all)))
    }

    /// How the rollup answers; None when it does not.
    pub(super) async fn by_rollup(
        &self,
        design: &Design,
        stored: &Scan,
        sql: &str,
    ) -> Option<Result<Vec<String>, String>> {
        self.by_rollup_in(&self.session(), design, stored, sql).await
    }

    /// As [`Self::by_rollup`], the query being over the tables of `session`.
    pub(super) async fn by_rollup_in(
        &self,
        session: &SessionContext,
        design: &Design,
        stored: &Scan,
        sql: &str,
    ) -> Option<Result<Vec<String>, String>> {
        let plan = plan(session, sql).await;
        let asked = aggregates(&plan).into_iter().flat_map(|target| {
            let all = Asked::all(target).into_iter();
            all.map(|asked| (target.clone(), asked)).collect::<Vec<_>>()
        });
        let mut covers = asked
            .filter_map(|(target, asked)| Some((target, cover(asked.question(), design, &schema(Text::Read))?, asked)));
        let (target, cover, asked) = covers.next()?;
        let pieces = pieces(cover, self.sources(stored, self.dirty(design)?));
        let answered = asked.answer(pieces, &functions()).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let rewritten = replace(plan, &target, &answered).unwrap_or_else(|error| panic!("{sql}: {error}"));
        Some(run(session, rewritten).await)
    }

    /// The view read as stored rows and what they lack; None when no key tells it.
    pub(super) async fn reading(
        &self,
        design: &Design,
        stored: &Scan,
        view: &str,
    ) -> Option<Result<Vec<String>, String>> {
        self.dirty(design)?;
        Some(self.reading_in(&self.session(), design, stored, view).await)
    }

    /// As [`Self::reading`] where a key tells it, the view being over the tables of `session`.
    pub(super) async fn reading_in(
        &self,
        session: &SessionContext,
        design: &Design,
        stored: &Scan,
        view: &str,
    ) -> Result<Vec<String>, String> {
        let plan = plan(session, view).await;
        let asked =
            aggregates(&plan).into_iter().filter_map(|target| Some((target.clone(), Asked::of(target, "f").ok()?)));
        let mut asked = asked.filter(|(_, asked)| asked.question().asks_as(&design.question));
        let (target, asked) = asked.next().unwrap_or_else(|| panic!("{view} is planned otherwise"));
        let dirty = self.dirty(design).unwrap_or_else(|| panic!("{view}: no key tells what went"));
        let pieces = pieces(Cover::of_design(design), self.sources(stored, dirty));
        let rewritten = replace(plan, &target, &asked.answer(pieces, &functions()).unwrap()).unwrap();
        run(session, rewritten).await
    }

    /// The query over all rows.
    pub(super) async fn by_base(&self, sql: &str) -> Result<Vec<String>, String> {
        by_base_in(&self.session(), sql).await
    }
}

/// The query as it stands.
pub(super) async fn by_base_in(session: &SessionContext, sql: &str) -> Result<Vec<String>, String> {
    let plan = plan(session, sql).await;
    run(session, plan).await
}

async fn collect(session: &SessionContext, plan: LogicalPlan) -> Result<Vec<RecordBatch>, String> {
    let frame = session.execute_logical_plan(plan).await.map_err(|error| error.to_string())?;
    frame.collect().await.map_err(|error| error.to_string())
}

fn as_read(batch: &RecordBatch) -> RecordBatch {
    let columns: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .map(|column| match column.data_type() {
            DataType::Utf8 => cast(column, &DataType::Utf8View).unwrap(),
            DataType::Timestamp(_, zone) => {
                let zone = zone.as_ref().map(|_| "UTC".into());
                cast(column, &DataType::Timestamp(TimeUnit::Microsecond, zone)).unwrap()
            }
            _ => column.clone(),
        })
        .collect();
    let fields: Vec<Field> = batch
        .schema()
        .fields()
        .iter()
        .zip(&columns)
        .map(|(field, column)| Field::new(field.name(), column.data_type().clone(), true))
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// Microseconds of a time in UTC.
pub(super) fn at(text: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(&format!("{text}Z")).unwrap().timestamp_micros()
}

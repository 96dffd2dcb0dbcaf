//! Late rows: those whose window of time had been over for a while when they were committed. What they changed is told by the
//! group's answer without them and with them.
//!
//! A window ends with the first of the grains that a group's keys cut its time to: of `(day, minute)` that is the minute.

use arrow::datatypes::DataType;
use datafusion::common::{Column, NullEquality, Result, plan_err};
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan, LogicalPlanBuilder, lit};

use super::answer::{Piece, Scan, answer};
use super::cover::Cover;
use super::design::Design;
use super::functions::Functions;
use super::partials::{Partials, call, column};
use super::parts::Part;
use super::time::{TimeKey, moment};
use crate::base::Timestamp;

/// Columns of [`late_groups`] behind the keys: how many late rows there are, the first and the last commit that brought some.
pub const LATE_COLUMNS: [&str; 3] = ["__adlake_late", "__adlake_first", "__adlake_last"];

/// What decides whether a row of a design's source is late.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// The time column of the source.
    pub column: String,
    keys: Vec<TimeKey>,
}

impl Window {
    /// By the keys that cut `event_time`, or, without one, the time column that the first key cuts. None: no group of the design
    /// ever ends.
    pub fn of(design: &Design, event_time: Option<&str>) -> Option<Self> {
        let column = match event_time {
            Some(column) => column.to_owned(),
            None => design.time_keys.first()?.column.clone(),
        };
        let keys: Vec<TimeKey> = design.time_keys.iter().filter(|key| key.column == column).cloned().collect();
        (!keys.is_empty()).then_some(Self { column, keys })
    }

    /// Rows before this time were in a window that was over at `moment`. None: the calendar does not reach there.
    pub fn closed_before(&self, moment: Timestamp) -> Option<Timestamp> {
        self.keys.iter().map(|key| key.grain.floor(moment.micros())).max().flatten().map(Timestamp)
    }

    /// The key whose windows are the shortest at `moment`: where a group's window begins.
    pub fn key(&self, moment: Timestamp) -> Option<usize> {
        self.keys.iter().max_by_key(|key| key.grain.floor(moment.micros())).map(|key| key.index)
    }

    /// Rows of the source from `start` up to `end`.
    pub fn between(&self, start: Option<Timestamp>, end: Timestamp) -> Expr {
        let before = column(&self.column).lt(self.literal(end));
        match start {
            Some(start) => column(&self.column).gt_eq(self.literal(start)).and(before),
            None => before,
        }
    }

    /// The rows that are not [`between`](Self::between) the beginning and `end`: statistics of files tell these as well as those.
    fn not_before(&self, end: Timestamp) -> Expr {
        column(&self.column).gt_eq(self.literal(end)).or(column(&self.column).is_null())
    }

    fn literal(&self, time: Timestamp) -> Expr {
        moment(time.micros(), self.keys.first().map_or(&DataType::Null, |key| &key.data_type))
    }
}

/// Rows that one commit brought, or several whose rows are late alike.
pub struct CommitRows {
    /// The first and the last of the commits.
    pub versions: (u64, u64),
    pub rows: Scan,
    /// They are late before this time.
    pub end: Timestamp,
    /// Rows that do not pass it are left out.
    pub within: Option<Expr>,
}

impl CommitRows {
    /// The rows that are not late, those without a time among them.
    pub fn in_time(&self, window: &Window) -> Piece {
        Piece::Base { rows: self.rows.clone(), within: Some(self.those(window.not_before(self.end))) }
    }

    /// The rows that are late.
    pub fn late(&self, window: &Window) -> Piece {
        Piece::Base { rows: self.rows.clone(), within: Some(self.are_late(window)) }
    }

    fn are_late(&self, window: &Window) -> Expr {
        self.those(window.between(None, self.end))
    }

    fn those(&self, rows: Expr) -> Expr {
        match &self.within {
            Some(within) => rows.and(within.clone()),
            None => rows,
        }
    }
}

/// The groups that late rows belong to: the keys, then [`LATE_COLUMNS`].
///
/// # Errors
/// There are no commits; the source lacks a column.
pub fn late_groups(
    design: &Design,
    window: &Window,
    commits: &[CommitRows],
    functions: &Functions,
) -> Result<LogicalPlan> {
    let [events, first, last] = LATE_COLUMNS;
    let (rows, from, to) = ("__adlake_rows", "__adlake_from", "__adlake_to");
    let Some(counted) = design.parts.iter().find(|stored| stored.part == Part::rows()) else {
        return plan_err!("a design does not say how many rows a group has");
    };
    let partials = Partials::stored(design);
    let mut all: Option<LogicalPlanBuilder> = None;
    for commit in commits {
        let groups = partials.aggregated(commit.rows.clone(), Some(commit.are_late(window)), functions)?;
        let keys = design.keys.iter().map(|key| column(key));
        let number = |version: u64| lit(i64::try_from(version).unwrap_or(i64::MAX));
        let (least, most) = commit.versions;
        let told = [column(&counted.column).alias(rows), number(least).alias(from), number(most).alias(to)];
        let groups = groups.project(keys.chain(told).collect::<Vec<_>>())?;
        all = Some(match all {
            None => groups,
            Some(before) => before.union(groups.build()?)?,
        });
    }
    let Some(all) = all else { return plan_err!("there are no commits to look for late rows in") };
    let keys: Vec<Expr> = design.keys.iter().map(|key| column(key)).collect();
    let told = vec![
        call(&functions.sum, column(rows), None).alias(events),
        call(&functions.min, column(from), None).alias(first),
        call(&functions.max, column(to), None).alias(last),
    ];
    all.aggregate(keys, told)?.build()
}

/// The aggregates of some groups, from `pieces`: the groups' keys, then the question's calls. `groups` has the keys as its first
/// columns, called as the design calls them.
///
/// # Errors
/// A piece or `groups` lacks a column.
pub fn answers_of(design: &Design, pieces: Vec<Piece>, groups: Scan, functions: &Functions) -> Result<LogicalPlan> {
    let keys = |prefix: &'static str| (0..design.keys.len()).map(move |index| format!("{prefix}{index}"));
    let answered = answer(&design.question, pieces, functions)?;
    let shown: Vec<Expr> = answered.schema().iter().map(Expr::from).collect();
    let names = keys("key_").chain((0..design.question.calls.len()).map(|index| format!("call_{index}")));
    let named = shown.into_iter().zip(names).map(|(column, name)| column.alias(name));
    let answered = LogicalPlanBuilder::from(answered).project(named.collect::<Vec<_>>())?;
    let wanted = LogicalPlanBuilder::scan(groups.table, groups.source, None)?;
    let named = design.keys.iter().zip(keys("wanted_")).map(|(key, name)| column(key).alias(name));
    let wanted = wanted.project(named.collect::<Vec<_>>())?.build()?;
    let columns = |prefix| keys(prefix).map(Column::from_name).collect::<Vec<_>>();
    let on = (columns("key_"), columns("wanted_"));
    answered.join_detailed(wanted, JoinType::LeftSemi, on, None, NullEquality::NullEqualsNull)?.build()
}

/// All stored rows whose window begins between two times.
pub fn stored_between(design: &Design, stored: Scan, (key, from, to): (usize, Timestamp, Timestamp)) -> Piece {
    let mut cover = Cover::of_design(design);
    let data_type = design.time_keys.iter().find(|time| time.index == key).map(|time| &time.data_type);
    let literal = |time: Timestamp| moment(time.micros(), data_type.unwrap_or(&DataType::Null));
    if let Some(name) = design.keys.get(key) {
        cover.predicate = Some(column(name).gt_eq(literal(from)).and(column(name).lt_eq(literal(to))));
    }
    Piece::Stored { rows: stored, cover: Box::new(cover) }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;

    use super::super::time::{Grain, Reach};
    use super::*;

    const MINUTE: i64 = 60_000_000;
    /// 2017-11-07T12:00:30Z.
    const NOON: Timestamp = Timestamp(1_510_056_030_000_000);

    fn window(grains: &[Grain]) -> Window {
        let key = |(index, grain): (usize, &Grain)| TimeKey {
            index,
            column: "ts".to_owned(),
            grain: *grain,
            data_type: DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            reach: Reach::AllTimes,
        };
        Window { column: "ts".to_owned(), keys: grains.iter().enumerate().map(key).collect() }
    }

    /// How long before noon the last closed window ended, in seconds, and the key it is the window of.
    fn closed(grains: &[Grain]) -> (Option<i64>, Option<usize>) {
        let window = window(grains);
        let before = window.closed_before(NOON).map(|end| (NOON.0 - end.0) / 1_000_000);
        (before, window.key(NOON))
    }

    #[test]
    fn a_window_ends_with_the_first_of_its_grains() {
        let (minute, day) = (Grain::Even { width: MINUTE, offset: 0 }, Grain::Even { width: 1440 * MINUTE, offset: 0 });
        assert_eq!(closed(&[minute]), (Some(30), Some(0)));
        assert_eq!(closed(&[day]), (Some(43_230), Some(0)));
        assert_eq!(closed(&[day, minute]), (Some(30), Some(1)));
        assert_eq!(closed(&[Grain::Months { count: 1 }]), (Some(6 * 86_400 + 43_230), Some(0)));
    }
}

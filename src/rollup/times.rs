//! Sets of times: those for which stored rows are no longer true, those that are worked through at once.
//!
//! A set may always be taken larger than it has to be: more rows are then read from the source, and the answer stays the same.
//! Sources: the invalidation log of TimescaleDB's continuous aggregates.

use std::fmt;
use std::time::Duration;

use arrow::datatypes::DataType;
use chrono::{DateTime, SecondsFormat};
use datafusion::logical_expr::utils::disjunction;
use datafusion::logical_expr::{Expr, lit};

use super::time::{Grain, moment};
use crate::base::Span;

/// More ranges than these are read as fewer, larger ones: each is a comparison for every row.
const RANGES_MAX: usize = 32;
/// Ranges of a set that are written out.
const SHOWN_MAX: usize = 8;

/// Half-open ranges of microseconds, in order, apart from one another; and whether rows without a time belong to the set.
/// The least and the greatest number stand for "ever before" and "ever after".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    ranges: Vec<(i64, i64)>,
    with_missing: bool,
}

impl Times {
    /// From a moment on, before another.
    pub fn between(from: i64, to: i64) -> Self {
        let mut times = Self::default();
        times.add(from, to);
        times
    }

    /// All times; not rows without one.
    pub fn always() -> Self {
        Self::between(i64::MIN, i64::MAX)
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty() && !self.with_missing
    }

    /// From the earlier end to the later one, each once.
    pub fn ranges(&self) -> &[(i64, i64)] {
        &self.ranges
    }

    /// Whether rows without a time belong to the set.
    pub fn has_missing(&self) -> bool {
        self.with_missing
    }

    pub fn add_missing(&mut self) {
        self.with_missing = true;
    }

    pub fn add(&mut self, from: i64, to: i64) {
        if from >= to {
            return;
        }
        let first = self.ranges.partition_point(|(_, end)| *end < from);
        let behind = self.ranges.partition_point(|(start, _)| *start <= to);
        let joined = self.ranges[first..behind]
            .iter()
            .fold((from, to), |(from, to), (start, end)| (from.min(*start), to.max(*end)));
        self.ranges.splice(first..behind, [joined]);
    }

    pub fn add_all(&mut self, other: &Self) {
        other.ranges.iter().for_each(|(from, to)| self.add(*from, *to));
        self.with_missing |= other.with_missing;
    }

    /// The times of both.
    pub fn and(&self, other: &Self) -> Self {
        let mut both = Self { ranges: Vec::new(), with_missing: self.with_missing && other.with_missing };
        for (from, to) in &self.ranges {
            let first = other.ranges.partition_point(|(_, end)| end <= from);
            for (start, end) in other.ranges[first..].iter().take_while(|(start, _)| start < to) {
                both.add(*from.max(start), *to.min(end));
            }
        }
        both
    }

    /// Whether a time between the two, both included, may belong to the set.
    pub fn overlaps(&self, earliest: i64, latest: i64) -> bool {
        let at = self.ranges.partition_point(|(_, end)| *end <= earliest);
        self.ranges.get(at).is_some_and(|(start, _)| *start <= latest)
    }

    /// Whether all times between the two, both included, belong to the set.
    pub fn has_all(&self, earliest: i64, latest: i64) -> bool {
        self.ranges.iter().any(|(from, to)| *from <= earliest && latest < *to)
    }

    /// Every range begun `before` earlier and ended `after` later (less than nothing: the other way); empty ones go.
    pub fn widened(&self, before: i64, after: i64) -> Self {
        let mut wide = Self { ranges: Vec::new(), with_missing: self.with_missing };
        for (from, to) in &self.ranges {
            let from = if *from == i64::MIN { *from } else { from.saturating_sub(before) };
            let to = if *to == i64::MAX { *to } else { to.saturating_add(after) };
            wide.add(from, to);
        }
        wide
    }

    /// The whole grains that have a time of the set; None outside the calendar.
    pub fn rounded(&self, grain: Grain) -> Option<Self> {
        let mut whole = Self { ranges: Vec::new(), with_missing: self.with_missing };
        for (from, to) in &self.ranges {
            let from = if *from == i64::MIN { *from } else { grain.floor(*from)? };
            let to = if *to == i64::MAX { *to } else { grain.ceil(*to)? };
            whole.add(from, to);
        }
        Some(whole)
    }

    /// The same, of few enough ranges to be compared with every row; None outside the calendar.
    pub(super) fn whole(&self, grain: Grain) -> Option<Self> {
        Some(self.rounded(grain)?.at_most(RANGES_MAX))
    }

    /// Whether all times lie from one moment on and before another.
    pub(super) fn is_within(&self, (from, to): (i64, i64)) -> bool {
        self.ranges.iter().all(|(start, end)| from <= *start && *end <= to)
    }

    /// The ranges, cut at the boundaries of a grain. One without an end, or outside the calendar, stays whole.
    pub(super) fn cut(&self, grain: Grain) -> Vec<(i64, i64)> {
        let mut cut = Vec::new();
        for (from, to) in &self.ranges {
            let mut from = *from;
            while from > i64::MIN
                && *to < i64::MAX
                && let Some(end) = grain.ceil(from + 1).filter(|end| end < to)
            {
                cut.push((from, end));
                from = end;
            }
            cut.push((from, *to));
        }
        cut
    }

    /// At most so many ranges: the smallest gaps are filled.
    pub fn at_most(mut self, count: usize) -> Self {
        while self.ranges.len() > count.max(1) {
            let gaps = self.ranges.windows(2).map(|pair| pair[1].0.saturating_sub(pair[0].1));
            let Some((at, _)) = gaps.enumerate().min_by_key(|(_, gap)| *gap) else { break };
            let (_, end) = self.ranges.remove(at + 1);
            self.ranges[at].1 = end;
        }
        self
    }

    /// Whether an expression of type `data_type` is a time of the set. False, never NULL, for one that is not.
    pub(super) fn inside(&self, time: &Expr, data_type: &DataType) -> Expr {
        let within = |(from, to): &(i64, i64)| {
            let from = (*from > i64::MIN).then(|| time.clone().gt_eq(moment(*from, data_type)));
            let to = (*to < i64::MAX).then(|| time.clone().lt(moment(*to, data_type)));
            match (from, to) {
                (Some(from), Some(to)) => from.and(to),
                (Some(one), None) | (None, Some(one)) => one,
                (None, None) => time.clone().is_not_null(),
            }
        };
        let missing = self.with_missing.then(|| time.clone().is_null());
        disjunction(self.ranges.iter().map(within).chain(missing)).unwrap_or_else(|| lit(false))
    }

    /// Whether an expression of type `data_type` is no time of the set: true exactly where [`Self::inside`] is not.
    pub(super) fn outside(&self, time: &Expr, data_type: &DataType) -> Expr {
        let mut gaps = Vec::with_capacity(self.ranges.len() + 2);
        let mut behind = i64::MIN;
        for (from, to) in &self.ranges {
            gaps.push((behind, *from));
            behind = *to;
        }
        gaps.push((behind, i64::MAX));
        gaps.retain(|(from, to)| from < to);
        Self { ranges: gaps, with_missing: !self.with_missing }.inside(time, data_type)
    }
}

/// `5 minutes`, `1 month`
impl fmt::Display for Grain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Even { width, .. } => write!(f, "{}", Span(Duration::from_micros(width.unsigned_abs()))),
            Self::Months { count: 1 } => f.write_str("1 month"),
            Self::Months { count } => write!(f, "{count} months"),
        }
    }
}

/// `2026-03-01T00:00:00Z to 2026-03-02T00:00:00Z, …`; long sets are cut short.
impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = |micros: i64| match (micros, DateTime::from_timestamp_micros(micros)) {
            (i64::MIN, _) => "ever before".to_owned(),
            (i64::MAX, _) => "ever after".to_owned(),
            (_, Some(time)) => time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            (_, None) => format!("{micros} µs"),
        };
        let shown =
            self.ranges.iter().take(SHOWN_MAX).map(|(from, to)| format!("{} to {}", moment(*from), moment(*to)));
        let hidden = self.ranges.len().saturating_sub(SHOWN_MAX);
        let more = (hidden > 0).then(|| format!("{hidden} more"));
        let missing = self.with_missing.then(|| "rows without a time".to_owned());
        f.write_str(&shown.chain(more).chain(missing).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn times(ranges: &[(i64, i64)]) -> Times {
        let mut times = Times::default();
        ranges.iter().for_each(|(from, to)| times.add(*from, *to));
        times
    }

    #[test]
    fn ranges_that_touch_are_one() {
        assert_eq!(times(&[(5, 7), (1, 2), (2, 3), (9, 9), (6, 8)]).ranges(), [(1, 3), (5, 8)]);
        assert_eq!(times(&[(1, 2), (4, 5), (7, 8), (0, 9)]).ranges(), [(0, 9)]);
        assert_eq!(times(&[(0, 1), (5, 6), (8, 9)]).at_most(2).ranges(), [(0, 1), (5, 9)]);
        assert_eq!(times(&[(0, 1), (5, 6)]).widened(2, 3).ranges(), [(-2, 9)]);
        assert_eq!(times(&[(0, 2), (5, 9)]).widened(-3, 0).ranges(), [(8, 9)]);
        assert_eq!(Times::always().widened(5, 5), Times::always());
        let tens = Grain::Even { width: 10, offset: 0 };
        assert_eq!(
            times(&[(3, 5), (8, 31), (40, 50)]).cut(tens),
            [(3, 5), (8, 10), (10, 20), (20, 30), (30, 31), (40, 50)]
        );
        assert_eq!(Times::always().cut(tens), [(i64::MIN, i64::MAX)]);
        let rounded = times(&[(3, 11), (29, 30)]).rounded(Grain::Even { width: 10, offset: 0 });
        assert_eq!(rounded.unwrap().ranges(), [(0, 30)]);
        let mut text = times(&[(0, 1_000_000), (3_600_000_000, i64::MAX)]);
        text.add_missing();
        assert_eq!(
            text.to_string(),
            "1970-01-01T00:00:00Z to 1970-01-01T00:00:01Z, 1970-01-01T01:00:00Z to ever after, rows without a time"
        );
        assert_eq!(times(&[(i64::MAX - 1, i64::MAX)]).rounded(Grain::Months { count: 1 }), None);
    }

    #[test]
    fn predicates_are_as_short_as_can_be() {
        let data_type = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
        let time = super::super::partials::column("t");
        let check = |times: &Times, inside: &str, outside: &str| {
            let text = |expr: Expr| expr.to_string().replace("TimestampMicrosecond(", "").replace(", None)", "");
            assert_eq!(text(times.inside(&time, &data_type)), inside);
            assert_eq!(text(times.outside(&time, &data_type)), outside);
        };
        check(&times(&[(1, 2)]), "t >= 1 AND t < 2", "t < 1 OR t >= 2 OR t IS NULL");
        check(&Times::default(), "Boolean(false)", "t IS NOT NULL OR t IS NULL");
        check(&Times::always(), "t IS NOT NULL", "t IS NULL");
        let mut with_missing = times(&[(1, 2), (3, 4)]);
        with_missing.add_missing();
        check(
            &with_missing,
            "t >= 1 AND t < 2 OR t >= 3 AND t < 4 OR t IS NULL",
            "t < 1 OR t >= 2 AND t < 3 OR t >= 4",
        );
    }

    proptest! {
        #[test]
        fn a_set_holds_what_was_added(ranges in proptest::collection::vec((-40_i64..40, 0_i64..9), 0..9), count in 1_usize..5) {
            let ranges: Vec<(i64, i64)> = ranges.into_iter().map(|(from, length)| (from, from + length)).collect();
            let set = times(&ranges);
            let few = set.clone().at_most(count);
            prop_assert!(few.ranges().len() <= count);
            prop_assert!(set.ranges().windows(2).all(|pair| pair[0].1 < pair[1].0));
            let both = set.and(&times(&[(-20, 3), (5, 20)]));
            let whole = set.rounded(Grain::Even { width: 7, offset: 3 }).unwrap();
            for time in -60..60 {
                let has = ranges.iter().any(|(from, to)| (*from..*to).contains(&time));
                prop_assert_eq!((set.overlaps(time, time), set.has_all(time, time)), (has, has));
                prop_assert!(!has || few.overlaps(time, time) && whole.overlaps(time, time));
                let in_both = has && ((-20..3).contains(&time) || (5..20).contains(&time));
                prop_assert_eq!(both.overlaps(time, time), in_both);
                let grain = (time - 3_i64).div_euclid(7) * 7 + 3;
                prop_assert_eq!(whole.overlaps(time, time), set.overlaps(grain, grain + 6));
            }
        }
    }
}

//! What the log tells of the times of one column in one file: enough to know which times a file that came or went has touched.

use datafusion::common::ColumnStatistics;
use datafusion::common::ScalarValue;
use datafusion::common::stats::Precision;

use crate::base::Timestamp;

const DAY_MICROS: i64 = 86_400_000_000;

/// Of the rows of one file. Never narrower than the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileTimes {
    /// The file has no rows.
    NoRows,
    /// Every time lies between the two, both included; `or_none`: some rows may have no time.
    Between { earliest: Timestamp, latest: Timestamp, or_none: bool },
    /// No row has a time.
    Without,
    /// The log does not tell.
    Unknown,
}

impl FileTimes {
    /// From the statistics of a column of microseconds or days; `rows` of the whole file.
    pub(crate) fn of(column: Option<&ColumnStatistics>, rows: Option<usize>, is_nullable: bool) -> Self {
        if rows == Some(0) {
            return Self::NoRows;
        }
        let Some(column) = column else { return Self::Unknown };
        let nulls = match column.null_count {
            Precision::Exact(nulls) => Some(nulls),
            Precision::Inexact(_) | Precision::Absent => None,
        };
        let micros = |bound: &Precision<ScalarValue>| match bound.get_value() {
            Some(ScalarValue::TimestampMicrosecond(micros, _)) => micros.map(Timestamp),
            Some(ScalarValue::Date32(days)) => days.map(|days| Timestamp(i64::from(days) * DAY_MICROS)),
            _ => None,
        };
        match (micros(&column.min_value), micros(&column.max_value)) {
            (Some(earliest), Some(latest)) => {
                Self::Between { earliest, latest, or_none: is_nullable && nulls != Some(0) }
            }
            _ if nulls.is_some() && nulls == rows => Self::Without,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bounds: Option<(i64, i64)>, nulls: Precision<usize>, is_nullable: bool, expected: FileTimes) {
        let time = |micros| Precision::Inexact(ScalarValue::TimestampMicrosecond(Some(micros), None));
        let mut column = ColumnStatistics { null_count: nulls, ..ColumnStatistics::new_unknown() };
        if let Some((earliest, latest)) = bounds {
            column = column.with_min_value(time(earliest)).with_max_value(time(latest));
        }
        assert_eq!(FileTimes::of(Some(&column), Some(3), is_nullable), expected);
        assert_eq!(FileTimes::of(Some(&column), Some(0), is_nullable), FileTimes::NoRows);
    }

    #[test]
    fn what_is_not_known_is_not_narrowed() {
        use Precision::{Absent, Exact, Inexact};
        let between = |or_none| FileTimes::Between { earliest: Timestamp(1), latest: Timestamp(5), or_none };
        check(Some((1, 5)), Exact(0), true, between(false));
        check(Some((1, 5)), Exact(1), true, between(true));
        check(Some((1, 5)), Inexact(0), true, between(true));
        check(Some((1, 5)), Absent, true, between(true));
        check(Some((1, 5)), Absent, false, between(false));
        check(None, Exact(3), true, FileTimes::Without);
        check(None, Exact(2), true, FileTimes::Unknown);
        check(None, Inexact(3), true, FileTimes::Unknown);
        check(None, Absent, false, FileTimes::Unknown);
        assert_eq!(FileTimes::of(None, None, false), FileTimes::Unknown);
        let day = |days| Precision::Exact(ScalarValue::Date32(Some(days)));
        let days = ColumnStatistics::new_unknown().with_min_value(day(-1)).with_max_value(day(2));
        let (earliest, latest) = (Timestamp(-DAY_MICROS), Timestamp(2 * DAY_MICROS));
        assert_eq!(FileTimes::of(Some(&days), None, false), FileTimes::Between { earliest, latest, or_none: false });
    }
}

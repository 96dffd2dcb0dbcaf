//! Statistics of all files of a scan together: what answers `count(*)`, `min` and `max` without reading a file.

use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};

use super::prune::Kept;
use crate::storage::index::Layout;

/// Statistics in table order. Only the columns at `places` are filled in.
pub(super) fn summary(layout: &Layout, kept: &[Kept], places: &[usize]) -> Statistics {
    let files = || kept.iter().flat_map(|part| &part.files);
    let mut statistics = Statistics::new_unknown(layout.ordered());
    statistics.num_rows = files().fold(Precision::Exact(0), |sum, file| sum.add(&file.statistics.num_rows));
    statistics.total_byte_size =
        files().fold(Precision::Inexact(0), |sum, file| sum.add(&file.statistics.total_byte_size));
    for place in places {
        let columns = files().map(|file| (file.statistics.column_statistics.get(*place), file.statistics.num_rows));
        if let Some(slot) = statistics.column_statistics.get_mut(*place) {
            *slot = merge(columns);
        }
    }
    statistics
}

/// One column over several files, each with its row count.
fn merge<'a>(files: impl Iterator<Item = (Option<&'a ColumnStatistics>, Precision<usize>)>) -> ColumnStatistics {
    let mut nulls = Precision::Exact(0);
    let mut lower = Bound::Nothing;
    let mut upper = Bound::Nothing;
    for (column, rows) in files {
        let Some(column) = column else { return ColumnStatistics::new_unknown() };
        nulls = nulls.add(&column.null_count);
        let only_nulls = column.null_count == rows && matches!(rows, Precision::Exact(_));
        if only_nulls {
            continue;
        }
        lower = lower.widen(&column.min_value, |new, old| new < old);
        upper = upper.widen(&column.max_value, |new, old| new > old);
    }
    ColumnStatistics {
        null_count: nulls,
        min_value: lower.into_precision(),
        max_value: upper.into_precision(),
        ..ColumnStatistics::new_unknown()
    }
}

enum Bound<'a> {
    /// No value seen.
    Nothing,
    Known {
        value: &'a ScalarValue,
        exact: bool,
    },
    /// Some file does not say.
    Unknown,
}

impl<'a> Bound<'a> {
    fn widen(self, next: &'a Precision<ScalarValue>, wins: fn(&ScalarValue, &ScalarValue) -> bool) -> Self {
        let (next, next_exact) = match next {
            Precision::Exact(value) => (value, true),
            Precision::Inexact(value) => (value, false),
            Precision::Absent => return Self::Unknown,
        };
        match self {
            Self::Nothing => Self::Known { value: next, exact: next_exact },
            // An inexact bound anywhere could be hiding the true extreme, whichever file wins.
            Self::Known { value, exact } => {
                Self::Known { value: if wins(next, value) { next } else { value }, exact: exact && next_exact }
            }
            Self::Unknown => Self::Unknown,
        }
    }

    fn into_precision(self) -> Precision<ScalarValue> {
        match self {
            Self::Known { value, exact: true } => Precision::Exact(value.clone()),
            Self::Known { value, exact: false } => Precision::Inexact(value.clone()),
            Self::Nothing | Self::Unknown => Precision::Absent,
        }
    }
}

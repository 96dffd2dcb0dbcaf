//! What is known of one column over several things (files of a segment, segments of a version).
//!
//! Two forms of it: [`Bounds`], one element per thing, for vectorised pruning; and [`merged`], all things as one.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt64Array, new_null_array};
use arrow::datatypes::DataType;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue};

/// One element per thing; null = unknown.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub lower: ArrayRef,
    pub upper: ArrayRef,
    pub nulls: ArrayRef,
}

impl Bounds {
    pub(super) fn of<'a>(
        data_type: &DataType,
        columns: impl ExactSizeIterator<Item = Option<&'a ColumnStatistics>> + Clone,
    ) -> Bounds {
        let values = |pick: fn(&ColumnStatistics) -> &Precision<ScalarValue>| {
            let value = |column: Option<&ColumnStatistics>| match column.and_then(|column| pick(column).get_value()) {
                Some(value) => Some(value.clone()),
                None => ScalarValue::try_from(data_type).ok(),
            };
            let scalars: Option<Vec<ScalarValue>> = columns.clone().map(value).collect();
            let array = scalars.and_then(|scalars| ScalarValue::iter_to_array(scalars).ok());
            array.unwrap_or_else(|| new_null_array(data_type, columns.len()))
        };
        let nulls = columns.clone().map(|column| column?.null_count.get_value().map(|count| *count as u64));
        Bounds {
            lower: values(|column| &column.min_value),
            upper: values(|column| &column.max_value),
            nulls: Arc::new(nulls.collect::<UInt64Array>()),
        }
    }
}

/// One column over several things, each with its row count: bounds of all their values, unknown where one thing's are.
pub(crate) fn merged<'a>(
    things: impl Iterator<Item = (Option<&'a ColumnStatistics>, Precision<usize>)>,
) -> ColumnStatistics {
    let mut nulls = Precision::Exact(0);
    let mut lower = Bound::Nothing;
    let mut upper = Bound::Nothing;
    for (column, rows) in things {
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

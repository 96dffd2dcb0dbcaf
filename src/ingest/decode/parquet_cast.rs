//! One Arrow column → the table's type, with the rows that do not fit.
//!
//! Whole columns are cast at once. What Arrow's cast would change silently is refused instead: fractions cut by
//! integers, digits cut by decimals. Numbers going into a timestamp are epoch milliseconds, as everywhere; text is read
//! as CSV fields are.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{CastOptions, can_cast_types, cast, cast_with_options};
use arrow::datatypes::{DataType, Int64Type};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::column::ColumnBuilder;
use super::time::{TimeReader, micros_from_epoch_millis};
use super::value::{Cell, ValueType, shown};

/// A row whose value does not fit.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    pub row: usize,
    pub reason: String,
}

pub struct Cast {
    pub values: ArrayRef,
    pub failures: Vec<Failure>,
}

/// How one column is converted.
pub struct Caster {
    target: DataType,
    way: Way,
}

enum Way {
    /// Already of the type.
    Same,
    /// Another layout or a wider type: only nulls that were values can go wrong.
    Plain,
    /// Something could be cut off: cast back and compare.
    Checked,
    EpochMillis,
    Text(ValueType, TimeReader),
}

impl Caster {
    /// # Errors
    /// When no value of `source` can become one of `target`: `has type A, which cannot become the type B` (… of column).
    pub fn new(source: &DataType, target: &DataType, times: &TimeReader) -> Result<Self, String> {
        let refused = || format!("has type {source}, which cannot become the type {target}");
        let plain_source = match source {
            DataType::Dictionary(_, value) => value.as_ref(),
            other => other,
        };
        let is_text =
            |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        let way = if source == target {
            Way::Same
        } else if is_text(plain_source) && !is_text(target) {
            Way::Text(ValueType::of(target).map_err(|_| refused())?, times.clone())
        } else if plain_source.is_integer() && matches!(target, DataType::Timestamp(..)) {
            Way::EpochMillis
        } else if !can_cast_types(source, target) || loses_meaning(plain_source, target) {
            return Err(refused());
        } else if cuts(plain_source, target) {
            Way::Checked
        } else {
            Way::Plain
        };
        Ok(Self { target: target.clone(), way })
    }

    pub fn cast(&self, source: &ArrayRef) -> Result<Cast, ArrowError> {
        match &self.way {
            Way::Same => Ok(Cast { values: source.clone(), failures: Vec::new() }),
            Way::Plain => {
                let values = self.lenient(source)?;
                let failures = self.turned_null(source, &values)?;
                Ok(Cast { values, failures })
            }
            Way::Checked => self.checked(source),
            Way::EpochMillis => self.epoch_millis(source),
            Way::Text(value_type, times) => self.text(source, value_type, times),
        }
    }

    fn lenient(&self, source: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        cast_with_options(source, &self.target, &CastOptions { safe: true, ..CastOptions::default() })
    }

    /// Rows that had a value and have none now.
    fn turned_null(&self, source: &ArrayRef, values: &ArrayRef) -> Result<Vec<Failure>, ArrowError> {
        if values.null_count() == source.logical_null_count() {
            return Ok(Vec::new());
        }
        let was_null = source.logical_nulls();
        let bad = |row: &usize| values.is_null(*row) && was_null.as_ref().is_none_or(|nulls| nulls.is_valid(*row));
        self.failures(source, (0..values.len()).filter(bad), "does not fit the type")
    }

    fn checked(&self, source: &ArrayRef) -> Result<Cast, ArrowError> {
        let values = self.lenient(source)?;
        let mut failures = self.turned_null(source, &values)?;
        if failures.is_empty() {
            let back = cast(&values, source.data_type())?;
            let changed = distinct(&back, source)?;
            if changed.true_count() > 0 {
                failures = self.failures(source, changed.values().set_indices(), "would lose digits in the type")?;
            }
        } else {
            // Rare: look at each row for the second kind of failure too.
            let back = cast(&values, source.data_type())?;
            let changed = distinct(&back, source)?;
            let known: Vec<usize> = failures.iter().map(|failure| failure.row).collect();
            let more = changed.values().set_indices().filter(|row| !known.contains(row));
            failures.extend(self.failures(source, more, "would lose digits in the type")?);
        }
        Ok(Cast { values, failures })
    }

    fn failures(
        &self,
        source: &ArrayRef,
        rows: impl Iterator<Item = usize>,
        what: &str,
    ) -> Result<Vec<Failure>, ArrowError> {
        let options = FormatOptions::default();
        let formatter = ArrayFormatter::try_new(Arc::as_ref(source) as &dyn Array, &options)?;
        rows.map(|row| {
            let value = formatter.value(row).try_to_string().unwrap_or_else(|_| "value".to_owned());
            Ok(Failure { row, reason: format!("{} {what} {}", shown(&value), self.target) })
        })
        .collect()
    }

    fn epoch_millis(&self, source: &ArrayRef) -> Result<Cast, ArrowError> {
        let millis = cast(source, &DataType::Int64)?;
        let millis = millis.as_primitive::<Int64Type>();
        let mut failures = Vec::new();
        let micros: Int64Array = millis
            .iter()
            .enumerate()
            .map(|(row, value)| {
                let value = value?;
                micros_from_epoch_millis(value)
                    .map_err(|reason| failures.push(Failure { row, reason: format!("'{value}' {reason}") }))
                    .ok()
            })
            .collect();
        Ok(Cast { values: cast(&micros, &self.target)?, failures })
    }

    fn text(&self, source: &ArrayRef, value_type: &ValueType, times: &TimeReader) -> Result<Cast, ArrowError> {
        let text = cast(source, &DataType::LargeUtf8)?;
        let mut builder = ColumnBuilder::new(&self.target).map_err(ArrowError::CastError)?;
        let mut failures = Vec::new();
        for (row, text) in text.as_string::<i64>().iter().enumerate() {
            let cell = match text.map(|text| value_type.read_text(text, times)) {
                Some(Ok(cell)) => cell,
                Some(Err(reason)) => {
                    failures.push(Failure { row, reason });
                    Cell::Null
                }
                None => Cell::Null,
            };
            builder.push(&cell);
        }
        Ok(Cast { values: builder.finish()?, failures })
    }
}

/// Casts Arrow knows but nobody means.
fn loses_meaning(source: &DataType, target: &DataType) -> bool {
    let is_time =
        |data_type: &DataType| matches!(data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64);
    (source.is_numeric() && is_time(target)) || (is_time(source) && target.is_numeric())
}

/// Whether a cast could cut something off without saying so.
fn cuts(source: &DataType, target: &DataType) -> bool {
    let is_decimal = |data_type: &DataType| {
        matches!(
            data_type,
            DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..)
        )
    };
    let scale = |data_type: &DataType| match data_type {
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => *scale,
        _ => 0,
    };
    let to_day = matches!(source, DataType::Timestamp(..)) && *target == DataType::Date32;
    (source.is_floating() && target.is_integer())
        || (is_decimal(source) && (is_decimal(target) || target.is_integer()) && scale(source) > scale(target))
        || to_day
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        Date32Array, Decimal128Array, Float64Array, Int32Array, StringArray, TimestampNanosecondArray, UInt64Array,
    };
    use arrow::datatypes::{Int32Type, TimeUnit, TimestampMicrosecondType};

    fn check(source: impl Array + 'static, target: DataType) -> (ArrayRef, Vec<(usize, String)>) {
        let source: ArrayRef = Arc::new(source);
        let caster = Caster::new(source.data_type(), &target, &TimeReader::standard()).unwrap();
        let cast = caster.cast(&source).unwrap();
        assert_eq!(cast.values.data_type(), &target);
        (cast.values, cast.failures.into_iter().map(|failure| (failure.row, failure.reason)).collect())
    }

    fn rows(failures: &[(usize, String)]) -> Vec<usize> {
        failures.iter().map(|(row, _)| *row).collect()
    }

    fn utc() -> DataType {
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
    }

    #[test]
    fn numbers_fit_or_are_refused() {
        let (values, bad) = check(Int64Array::from(vec![Some(1), None, Some(1 << 40)]), DataType::Int32);
        assert_eq!((values.as_primitive::<Int32Type>().value(0), rows(&bad)), (1, vec![2]));
        assert!(bad[0].1.contains("'1099511627776' does not fit the type Int32"), "{}", bad[0].1);
        let (_, bad) = check(Float64Array::from(vec![1.0, 1.5, 1e300, f64::NAN]), DataType::Int64);
        assert_eq!(
            {
                let mut rows = rows(&bad);
                rows.sort_unstable();
                rows
            },
            [1, 2, 3]
        );
        let (_, bad) = check(UInt64Array::from(vec![u64::MAX, 7]), DataType::Int64);
        assert_eq!(rows(&bad), [0]);
        let decimals = Decimal128Array::from(vec![150, 155]).with_precision_and_scale(10, 2).unwrap();
        let (_, bad) = check(decimals, DataType::Decimal128(10, 1));
        assert_eq!(rows(&bad), [1]);
    }

    #[test]
    fn times_keep_their_instant() {
        let (values, bad) = check(TimestampNanosecondArray::from(vec![1_999]), utc());
        assert_eq!((values.as_primitive::<TimestampMicrosecondType>().value(0), bad.len()), (1, 0));
        let (values, bad) = check(Int64Array::from(vec![1_000, i64::MAX]), utc());
        assert_eq!((values.as_primitive::<TimestampMicrosecondType>().value(0), rows(&bad)), (1_000_000, vec![1]));
        let (values, bad) = check(StringArray::from(vec!["2017-11-07 09:30:38", "soon"]), utc());
        assert_eq!(values.as_primitive::<TimestampMicrosecondType>().value(0), 1_510_047_038_000_000);
        assert_eq!(rows(&bad), [1]);
        let (_, bad) = check(Date32Array::from(vec![1]), utc());
        assert!(bad.is_empty());
    }

    #[test]
    fn impossible_casts_are_refused_at_once() {
        let refused = |source, target| Caster::new(&source, &target, &TimeReader::standard()).is_err();
        assert!(refused(DataType::Float64, utc()));
        assert!(refused(utc(), DataType::Int64));
        assert!(refused(DataType::new_list(DataType::Int64, true), DataType::Int64));
        assert!(!refused(DataType::Int32, DataType::Utf8));
    }

    #[test]
    fn same_type_is_not_copied() {
        let source: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        let caster = Caster::new(&DataType::Int32, &DataType::Int32, &TimeReader::standard()).unwrap();
        assert!(Arc::ptr_eq(&caster.cast(&source).unwrap().values, &source));
    }
}

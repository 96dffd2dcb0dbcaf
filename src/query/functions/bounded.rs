//! Functions that make large values of small ones, such as `repeat('x', 2000000000)`: what a call would make is computed first,
//! and refused beyond [`BYTES_MAX`]. No memory pool knows of values while they are made, and constants are made while planning.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray};
use arrow::compute::cast;
use arrow::compute::kernels::length::length;
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use crate::base::ByteSize;

/// What one call may make of one batch of rows.
const BYTES_MAX: ByteSize = ByteSize::mib(256);
/// Of a number, a time, or the place of a text in a list.
const CELL_BYTES: i128 = 16;
const DAY: i128 = 86_400_000_000_000;

/// What makes the result large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Growth {
    /// `repeat(text, n)`
    Text,
    /// `lpad(text, n, fill)`
    Padding,
    /// `replace(text, from, to)`
    Replacing,
    /// `array_repeat(element, n)`
    Elements,
    /// `array_resize(list, n, element)`
    Resizing,
    /// `range(from, to, step)`
    Steps,
}

/// One of DataFusion's functions with that check before it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

/// The function with its check; `None` for one that needs none.
pub(super) fn bounded(function: Arc<ScalarUDF>) -> Option<Arc<ScalarUDF>> {
    let growth = match function.name() {
        "repeat" => Growth::Text,
        "lpad" | "rpad" => Growth::Padding,
        "replace" => Growth::Replacing,
        "array_repeat" => Growth::Elements,
        "array_resize" => Growth::Resizing,
        "range" | "generate_series" => Growth::Steps,
        _ => return None,
    };
    Some(Arc::new(ScalarUDF::from(Bounded { inner: function, growth })))
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<arrow::datatypes::FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.simplify(args, info)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { args.number_rows };
        let values = args.args.iter().map(|value| value.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let bytes = self.growth.bytes(&values)?;
        let bytes = u64::try_from(bytes).unwrap_or(if bytes < 0 { 0 } else { u64::MAX });
        if bytes > BYTES_MAX.bytes() {
            let name = self.inner.name();
            let message = format!("{name} would make {bytes} bytes at once, more than {BYTES_MAX}");
            return Err(DataFusionError::ResourcesExhausted(message));
        }
        self.inner.invoke_with_args(args)
    }
}

impl Growth {
    /// An upper bound of what the result takes, near enough.
    fn bytes(self, values: &[ArrayRef]) -> Result<i128> {
        let Some(first) = values.first() else { return Ok(0) };
        match self {
            Self::Text | Self::Elements => times(&sizes(first)?, values.get(1)),
            Self::Padding => {
                let fill = values.get(2).map_or_else(|| Ok(vec![1; first.len()]), sizes)?;
                times(&fill, values.get(1))
            }
            Self::Resizing => {
                let fill = values.get(2).map_or_else(|| Ok(vec![CELL_BYTES; first.len()]), sizes)?;
                times(&fill, values.get(1))
            }
            Self::Replacing => replaced(values),
            Self::Steps => steps(values),
        }
    }
}

/// Bytes of each value; a NULL has none.
fn sizes(values: &ArrayRef) -> Result<Vec<i128>> {
    let is_present = |row: usize| i128::from(values.is_valid(row));
    match values.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Binary | DataType::LargeBinary => {
            Ok(whole(&length(values)?)?.into_iter().map(Option::unwrap_or_default).collect())
        }
        other if other.primitive_width().is_some() || other.is_null() => Ok(vec![CELL_BYTES; values.len()]),
        _ => {
            let size = |row: usize| -> Result<i128> {
                let bytes = values.slice(row, 1).to_data().get_slice_memory_size()?;
                Ok(is_present(row) * i128::try_from(bytes).unwrap_or(i128::MAX).max(CELL_BYTES))
            };
            (0..values.len()).map(size).collect()
        }
    }
}

/// Numbers, dates and times as what they are counted in.
fn whole(values: &ArrayRef) -> Result<Vec<Option<i128>>> {
    let values = match values.data_type() {
        DataType::Date32 => cast(&cast(values, &DataType::Int32)?, &DataType::Int64)?,
        _ => cast(values, &DataType::Int64)?,
    };
    Ok(values.as_primitive::<Int64Type>().iter().map(|value| value.map(i128::from)).collect())
}

fn times(sizes: &[i128], counts: Option<&ArrayRef>) -> Result<i128> {
    let Some(counts) = counts else { return Ok(0) };
    let counts = whole(counts)?;
    let all = sizes.iter().zip(counts).map(|(size, count)| size.saturating_mul(count.unwrap_or_default().max(0)));
    Ok(all.fold(0, i128::saturating_add))
}

fn replaced(values: &[ArrayRef]) -> Result<i128> {
    let [texts, from, to] = values else { return Ok(0) };
    let as_texts = |values: &ArrayRef| -> Result<LargeStringArray> {
        Ok(cast(values, &DataType::LargeUtf8)?.as_string::<i64>().clone())
    };
    let (texts, from, to) = (as_texts(texts)?, as_texts(from)?, as_texts(to)?);
    let each = texts.iter().zip(from.iter()).zip(to.iter());
    let size = |((text, from), to): ((Option<&str>, Option<&str>), Option<&str>)| {
        let (Some(text), Some(from), Some(to)) = (text, from, to) else { return 0 };
        // No longer text comes of it.
        let found = if to.len() <= from.len() { 0 } else { text.matches(from).count() };
        (text.len() as i128).saturating_add((found as i128).saturating_mul(to.len() as i128))
    };
    Ok(each.map(size).fold(0, i128::saturating_add))
}

/// Of `range(to)`, `range(from, to)` and `range(from, to, step)` over numbers, dates and times.
fn steps(values: &[ArrayRef]) -> Result<i128> {
    let (from, to, step) = match values {
        [to] => (None, to, None),
        [from, to] => (Some(from), to, None),
        [from, to, step] => (Some(from), to, Some(step)),
        _ => return Ok(0),
    };
    if values.iter().any(|value| value.data_type().is_null()) {
        return Ok(0);
    }
    let unit = unit(to.data_type());
    let to = whole(to)?;
    let from = from.map_or_else(|| Ok(vec![Some(0); to.len()]), whole)?;
    let step = step.map_or_else(|| Ok(vec![Some(1); to.len()]), widths)?;
    let count = |((from, to), step): ((Option<i128>, Option<i128>), Option<i128>)| {
        let (Some(from), Some(to), Some(step)) = (from, to, step) else { return 0 };
        let span = to.saturating_sub(from).saturating_mul(unit);
        // A step that leads nowhere near, as '1 month -30 days', may take any number of them.
        let count = if step == 0 { span.abs() } else { span / step };
        count.max(0).saturating_add(1).saturating_mul(CELL_BYTES / 2)
    };
    Ok(from.into_iter().zip(to).zip(step).map(count).fold(0, i128::saturating_add))
}

/// Steps in nanoseconds, months as short as they can be; of numbers as they are.
fn widths(steps: &ArrayRef) -> Result<Vec<Option<i128>>> {
    if !matches!(steps.data_type(), DataType::Interval(IntervalUnit::MonthDayNano)) {
        return whole(steps);
    }
    let width = |months: i32, days: i32, nanoseconds: i64| {
        (i128::from(months) * 28 + i128::from(days)) * DAY + i128::from(nanoseconds)
    };
    let steps = steps.as_primitive::<IntervalMonthDayNanoType>().iter();
    Ok(steps.map(|step| step.map(|step| width(step.months, step.days, step.nanoseconds))).collect())
}

/// Nanoseconds in what values of a type are counted in; 1 for numbers.
fn unit(data_type: &DataType) -> i128 {
    match data_type {
        DataType::Date32 => DAY,
        DataType::Date64 | DataType::Timestamp(TimeUnit::Millisecond, _) => 1_000_000,
        DataType::Timestamp(TimeUnit::Second, _) => 1_000_000_000,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Date32Array, Int64Array, IntervalMonthDayNanoArray, ListArray, StringArray};
    use arrow::datatypes::IntervalMonthDayNano;

    fn numbers(values: &[i64]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    fn texts(values: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    #[test]
    fn what_a_call_makes_is_known_before() {
        let bytes = |growth: Growth, values: &[ArrayRef]| growth.bytes(values).unwrap();
        assert_eq!(bytes(Growth::Text, &[texts(&["ab", "c"]), numbers(&[10, -5])]), 20);
        assert_eq!(bytes(Growth::Padding, &[texts(&["ab"]), numbers(&[10])]), 10);
        assert_eq!(bytes(Growth::Padding, &[texts(&["ab"]), numbers(&[10]), texts(&["é"])]), 20);
        assert_eq!(bytes(Growth::Replacing, &[texts(&["abab"]), texts(&["b"]), texts(&["xyz"])]), 10);
        assert_eq!(bytes(Growth::Replacing, &[texts(&["abab"]), texts(&[""]), texts(&["x"])]), 9);
        assert_eq!(bytes(Growth::Elements, &[numbers(&[7]), numbers(&[i64::MAX])]), i128::from(i64::MAX) * 16);
        let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1); 1000])]));
        assert!(bytes(Growth::Elements, &[list.clone(), numbers(&[1000])]) >= 8_000_000);
        assert_eq!(bytes(Growth::Resizing, &[list, numbers(&[1000])]), 16_000);
    }

    #[test]
    fn steps_are_counted_in_either_direction() {
        let bytes = |values: &[ArrayRef]| steps(values).unwrap();
        assert_eq!(bytes(&[numbers(&[10])]), 88);
        assert_eq!(bytes(&[numbers(&[1, 5]), numbers(&[11, 1])]), 96);
        assert_eq!(bytes(&[numbers(&[10]), numbers(&[0]), numbers(&[-2])]), 48);
        let dates = |days: i32| -> ArrayRef { Arc::new(Date32Array::from(vec![days])) };
        let every = |months, days, nanoseconds| -> ArrayRef {
            Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano { months, days, nanoseconds }]))
        };
        assert_eq!(bytes(&[dates(0), dates(280), every(1, 0, 0)]), 88);
        assert_eq!(bytes(&[dates(0), dates(1), every(0, 0, 1)]), 8 * (DAY + 1));
        assert!(bytes(&[dates(0), dates(3000), every(1, -28, 0)]) > 1 << 40);
    }
}

//! `sum` that never wraps: integers and decimals are added in 128 bits and the total must fit the result type.
//!
//! Partial sums of integers travel as `DECIMAL(38, 0)`, so the answer does not depend on how rows were divided among threads,
//! and a sum that leaves the range on the way and comes back is right; those of decimals travel as the result, and only one
//! that leaves 128 bits on the way (1.7 · 10³⁸ units) is an error though it may come back. Every other type is DataFusion's
//! own `sum`.
//! The same totals serve sums that are stored in parts (`partial_sum`) and averages (`exact_average`).

use std::mem::{size_of, size_of_val};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Int64Array, PrimitiveArray, UInt64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Field, FieldRef, Int64Type, UInt64Type,
};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_datafusion_err};
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator, ReversedUDAF, SetMonotonicity, Signature,
    StatisticsArgs,
};
use datafusion::physical_expr::NullState;

use super::checked_distinct_sum::DistinctTotal;

/// The type of totals on their way.
pub(super) const TOTAL: DataType = DataType::Decimal128(38, 0);

/// What a sum adds, and the type its total must fit: each one of BIGINT, unsigned BIGINT and a decimal of 128 bits. Decimals
/// on both sides have one scale.
#[derive(Clone, Debug)]
pub(super) struct SumTypes {
    pub input: DataType,
    pub result: DataType,
}

impl SumTypes {
    fn same(data_type: DataType) -> Self {
        Self { input: data_type.clone(), result: data_type }
    }

    /// The type of totals on their way.
    fn state(&self) -> DataType {
        match &self.result {
            decimal @ DataType::Decimal128(..) => decimal.clone(),
            _ => TOTAL,
        }
    }
}

/// Replaces DataFusion's `sum`, whose accumulators wrap around.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct CheckedSum {
    inner: Sum,
}

impl CheckedSum {
    pub(super) fn new() -> Self {
        Self { inner: Sum::new() }
    }
}

pub(super) fn is_integer(result: &DataType) -> bool {
    matches!(result, DataType::Int64 | DataType::UInt64)
}

fn is_checked(result: &DataType) -> bool {
    is_integer(result) || matches!(result, DataType::Decimal128(..))
}

/// For one group or a window; `None` = DataFusion's own.
fn accumulator(result: &DataType, is_distinct: bool) -> Option<Box<dyn Accumulator>> {
    match (result, is_distinct) {
        (DataType::Int64, true) => Some(Box::new(DistinctTotal::<Int64Type>::new())),
        (DataType::UInt64, true) => Some(Box::new(DistinctTotal::<UInt64Type>::new())),
        (DataType::Decimal128(..), true) => Some(Box::new(DistinctTotal::<Decimal128Type>::of(result.clone()))),
        (checked, false) if is_checked(checked) => Some(Box::new(Total::new(SumTypes::same(checked.clone())))),
        _ => None,
    }
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match accumulator(args.return_type(), args.is_distinct) {
            Some(checked) => Ok(checked),
            None => self.inner.accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        // The state of a distinct sum is a list of its values, here as there.
        match is_checked(args.return_type()) && !args.is_distinct {
            true => {
                let state = SumTypes::same(args.return_type().clone()).state();
                Ok(vec![Arc::new(Field::new(format_state_name(args.name, "sum"), state, true))])
            }
            false => self.inner.state_fields(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        match is_checked(args.return_type()) && !args.is_distinct {
            true => Ok(Box::new(GroupTotals::new(SumTypes::same(args.return_type().clone())))),
            false => self.inner.create_groups_accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match accumulator(args.return_type(), args.is_distinct) {
            Some(checked) => Ok(checked),
            None => self.inner.create_sliding_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.set_monotonicity(data_type)
    }

    fn value_from_stats(&self, statistics: &StatisticsArgs) -> Option<ScalarValue> {
        self.inner.value_from_stats(statistics)
    }
}

/// The sum of the non-null values of a batch; `Err` beyond 128 bits, of the type that the total was to fit. Halves are added apart so that the loop needs no 128-bit arithmetic: both
/// stay within 64 bits for any batch below 2³¹ rows.
fn batch_total(values: &ArrayRef, types: &SumTypes) -> Result<i128> {
    fn signed(values: &Int64Array) -> i128 {
        let (mut high, mut low) = (0_i64, 0_u64);
        let mut add = |value: i64| {
            high += value >> 32;
            low += u64::from(value as u32);
        };
        match values.nulls() {
            None => values.values().iter().for_each(|value| add(*value)),
            Some(_) => values.iter().flatten().for_each(add),
        }
        (i128::from(high) << 32) + i128::from(low)
    }
    fn unsigned(values: &UInt64Array) -> i128 {
        values.iter().flatten().map(i128::from).sum()
    }
    match types.input {
        DataType::Decimal128(..) => decimals_total(values, &types.state()),
        DataType::UInt64 => Ok(unsigned(values.as_primitive::<UInt64Type>())),
        _ => Ok(signed(values.as_primitive::<Int64Type>())),
    }
}

fn decimals_total(values: &ArrayRef, data_type: &DataType) -> Result<i128> {
    let mut values = values.as_primitive::<Decimal128Type>().iter().flatten();
    values.try_fold(0_i128, i128::checked_add).ok_or_else(|| too_large(data_type))
}

pub(super) fn too_large(data_type: &DataType) -> DataFusionError {
    match data_type {
        DataType::Decimal128(..) => exec_datafusion_err!("sum is out of the range of {data_type}"),
        _ => exec_datafusion_err!("sum is out of the range of {data_type}; use sum(CAST(x AS DECIMAL(38, 0)))"),
    }
}

/// The total, when it has at most as many digits as the type.
fn as_decimal(total: i128, precision: u8, data_type: &DataType) -> Result<i128> {
    match 10_u128.checked_pow(u32::from(precision)).is_none_or(|end| total.unsigned_abs() < end) {
        true => Ok(total),
        false => Err(too_large(data_type)),
    }
}

/// The sum as a value of the result type; `None` is NULL.
pub(super) fn scalar(total: Option<i128>, data_type: &DataType) -> Result<ScalarValue> {
    match (total, data_type) {
        (total, DataType::Decimal128(precision, scale)) => {
            let total = total.map(|total| as_decimal(total, *precision, data_type)).transpose()?;
            Ok(ScalarValue::Decimal128(total, *precision, *scale))
        }
        (None, DataType::UInt64) => Ok(ScalarValue::UInt64(None)),
        (None, _) => Ok(ScalarValue::Int64(None)),
        (Some(total), DataType::UInt64) => {
            u64::try_from(total).map(ScalarValue::from).map_err(|_| too_large(data_type))
        }
        (Some(total), _) => i64::try_from(total).map(ScalarValue::from).map_err(|_| too_large(data_type)),
    }
}

/// One group's sum; also serves sliding windows.
#[derive(Debug)]
pub(super) struct Total {
    total: i128,
    /// How many values are in it.
    count: u64,
    types: SumTypes,
}

impl Total {
    pub(super) fn new(types: SumTypes) -> Self {
        Self { total: 0, count: 0, types }
    }

    pub(super) fn known(&self) -> Option<i128> {
        (self.count > 0).then_some(self.total)
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Adds totals of other parts, which hold `count` values.
    pub(super) fn merge(&mut self, totals: &ArrayRef, count: u64) -> Result<()> {
        self.add(decimals_total(totals, &self.types.state())?)?;
        self.count += count;
        Ok(())
    }

    fn add(&mut self, part: i128) -> Result<()> {
        self.total = self.total.checked_add(part).ok_or_else(|| too_large(&self.types.state()))?;
        Ok(())
    }
}

fn present(values: &ArrayRef) -> u64 {
    u64::try_from(values.len() - values.null_count()).unwrap_or(u64::MAX)
}

impl Accumulator for Total {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(batch_total(&values[0], &self.types)?)?;
        self.count += present(&values[0]);
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(-batch_total(&values[0], &self.types)?)?;
        self.count -= present(&values[0]);
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        scalar(self.known(), &self.types.result)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let (precision, scale) = match self.types.result {
            DataType::Decimal128(precision, scale) => (precision, scale),
            _ => (DECIMAL128_MAX_PRECISION, 0),
        };
        Ok(vec![ScalarValue::Decimal128(self.known(), precision, scale)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.merge(&states[0], present(&states[0]))
    }
}

/// The sums of all groups.
#[derive(Debug)]
pub(super) struct GroupTotals {
    totals: Vec<i128>,
    seen: NullState,
    types: SumTypes,
}

impl GroupTotals {
    pub(super) fn new(types: SumTypes) -> Self {
        Self { totals: Vec::new(), seen: NullState::new(), types }
    }

    /// 64-bit values, of which no number of rows fills 128 bits.
    fn add<T>(&mut self, values: &PrimitiveArray<T>, groups: &[usize], filter: Option<&BooleanArray>, count: usize)
    where
        T: ArrowPrimitiveType + Send,
        T::Native: Into<i128>,
    {
        self.totals.resize(count, 0);
        let totals = &mut self.totals;
        self.seen.accumulate(groups, values, filter, count, |group, value| totals[group] += value.into());
    }

    fn add_totals(
        &mut self,
        values: &Decimal128Array,
        groups: &[usize],
        filter: Option<&BooleanArray>,
        count: usize,
    ) -> Result<()> {
        self.totals.resize(count, 0);
        let totals = &mut self.totals;
        let mut is_too_large = false;
        self.seen.accumulate(groups, values, filter, count, |group, value| {
            let (total, overflows) = totals[group].overflowing_add(value);
            totals[group] = total;
            is_too_large |= overflows;
        });
        if is_too_large { Err(too_large(&self.types.state())) } else { Ok(()) }
    }
}

/// Which rows have a value and pass the filter; `None` = all.
pub(super) fn kept(values: &dyn Array, filter: Option<&BooleanArray>) -> Option<NullBuffer> {
    let passed = filter.map(|filter| {
        let (passed, nulls) = filter.clone().into_parts();
        NullBuffer::new(nulls.map_or(passed.clone(), |nulls| nulls.inner() & &passed))
    });
    NullBuffer::union(values.logical_nulls().as_ref(), passed.as_ref())
}

/// Totals in the result type; a group without values is null, whatever its total.
fn narrow<T>(totals: Vec<i128>, nulls: Option<NullBuffer>, data_type: &DataType) -> Result<ArrayRef>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i128>,
{
    let narrowed = totals.into_iter().map(T::Native::try_from).collect::<Result<Vec<_>, _>>();
    let narrowed = narrowed.map_err(|_| too_large(data_type))?;
    Ok(Arc::new(PrimitiveArray::<T>::new(narrowed.into(), nulls)))
}

impl GroupsAccumulator for GroupTotals {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        match self.types.input {
            DataType::Decimal128(..) => {
                self.add_totals(values[0].as_primitive(), group_indices, opt_filter, total_num_groups)?;
            }
            DataType::UInt64 => {
                self.add(values[0].as_primitive::<UInt64Type>(), group_indices, opt_filter, total_num_groups);
            }
            _ => self.add(values[0].as_primitive::<Int64Type>(), group_indices, opt_filter, total_num_groups),
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let totals = emit_to.take_needed(&mut self.totals);
        let nulls = self.seen.build(emit_to);
        match self.types.result {
            DataType::Decimal128(precision, _) => {
                let result = &self.types.result;
                totals.iter().try_for_each(|total| as_decimal(*total, precision, result).map(drop))?;
                Ok(Arc::new(Decimal128Array::new(totals.into(), nulls).with_data_type(result.clone())))
            }
            DataType::UInt64 => narrow::<UInt64Type>(totals, nulls, &self.types.result),
            _ => narrow::<Int64Type>(totals, nulls, &self.types.result),
        }
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let totals = emit_to.take_needed(&mut self.totals);
        let nulls = self.seen.build(emit_to);
        Ok(vec![Arc::new(Decimal128Array::new(totals.into(), nulls).with_data_type(self.types.state()))])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.add_totals(values[0].as_primitive(), group_indices, None, total_num_groups)
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let wide: Decimal128Array = match self.types.input {
            DataType::Decimal128(..) => values[0].as_primitive::<Decimal128Type>().clone(),
            DataType::UInt64 => values[0].as_primitive::<UInt64Type>().unary(i128::from),
            _ => values[0].as_primitive::<Int64Type>().unary(i128::from),
        };
        let (_, totals, _) = wide.into_parts();
        let kept = kept(&values[0], opt_filter);
        Ok(vec![Arc::new(Decimal128Array::new(totals, kept).with_data_type(self.types.state()))])
    }

    fn size(&self) -> usize {
        self.totals.capacity() * size_of::<i128>() + self.seen.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total_of(values: Vec<Option<i64>>) -> Result<ScalarValue> {
        let mut total = Total::new(SumTypes::same(DataType::Int64));
        total.update_batch(&[Arc::new(Int64Array::from(values))])?;
        total.evaluate()
    }

    #[test]
    fn sums_at_the_edge_of_the_range() {
        assert_eq!(total_of(vec![Some(i64::MAX), Some(1), Some(-1), None]).unwrap(), ScalarValue::from(i64::MAX));
        assert_eq!(total_of(vec![Some(i64::MIN), Some(-5), Some(5)]).unwrap(), ScalarValue::from(i64::MIN));
        assert_eq!(total_of(vec![None]).unwrap(), ScalarValue::Int64(None));
        assert!(total_of(vec![Some(i64::MAX), Some(1)]).unwrap_err().to_string().contains("out of the range"));
    }

    #[test]
    fn groups_overflow_only_in_the_final_total() {
        let mut groups = GroupTotals::new(SumTypes::same(DataType::Int64));
        let values: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, i64::MAX, -3, 7]));
        groups.update_batch(&[values], &[0, 0, 1, 1], None, 2).unwrap();
        let partial = groups.state(EmitTo::All).unwrap();
        let mut merged = GroupTotals::new(SumTypes::same(DataType::Int64));
        merged.merge_batch(&partial, &[0, 1], 2).unwrap();
        let back: ArrayRef = Arc::new(Int64Array::from(vec![-i64::MAX]));
        merged.update_batch(&[back], &[0], None, 2).unwrap();
        let answer = merged.evaluate(EmitTo::All).unwrap();
        assert_eq!(answer.as_primitive::<Int64Type>().values(), &[i64::MAX, 4]);
    }

    #[test]
    fn filtered_rows_become_null_states() {
        let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let filter = BooleanArray::from(vec![Some(true), Some(true), None]);
        let state =
            GroupTotals::new(SumTypes::same(DataType::Int64)).convert_to_state(&[values], Some(&filter)).unwrap();
        let state = state[0].as_primitive::<Decimal128Type>();
        assert_eq!(state.iter().collect::<Vec<_>>(), vec![Some(1), None, None]);
    }

    #[test]
    fn decimals_leave_neither_128_bits_nor_their_digits() {
        let large = 9 * 10_i128.pow(37);
        let decimal = DataType::Decimal128(38, 2);
        let values = |values: Vec<i128>| -> ArrayRef {
            Arc::new(Decimal128Array::from(values).with_precision_and_scale(38, 2).unwrap())
        };
        let one = |given: Vec<i128>| {
            let mut total = Total::new(SumTypes::same(decimal.clone()));
            total.update_batch(&[values(given)])?;
            total.evaluate()
        };
        let many = |given: Vec<i128>| {
            let mut totals = GroupTotals::new(SumTypes::same(decimal.clone()));
            totals.update_batch(&[values(given.clone())], &vec![0; given.len()], None, 1)?;
            ScalarValue::try_from_array(&totals.evaluate(EmitTo::All)?, 0)
        };
        for given in [vec![large, large], vec![large, 10_i128.pow(37)], vec![-large, -large]] {
            for answer in [one(given.clone()), many(given)] {
                assert!(answer.unwrap_err().to_string().contains("out of the range of Decimal128(38, 2)"));
            }
        }
        let back = || vec![large, 10_i128.pow(37), -large];
        let right = ScalarValue::Decimal128(Some(10_i128.pow(37)), 38, 2);
        assert_eq!([one(back()).unwrap(), many(back()).unwrap()], [right.clone(), right]);
    }
}

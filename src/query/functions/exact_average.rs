//! `avg` of integers from their exact sum: the answer does not depend on the order of rows, nor on stored parts.
//!
//! DataFusion adds DOUBLEs, which is inexact beyond 2⁵³. Here the total has 128 bits and there is one division at the end,
//! the same in `avg` and in `adlake_average`, so both give the same bits. Every other type is DataFusion's own `avg`.

use std::fmt::Debug;
use std::hash::Hash;
use std::mem::{size_of, size_of_val};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, UInt64Array};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Decimal128Type, Field, FieldRef, Int64Type, UInt64Type};
use datafusion::common::types::{
    NativeType, logical_float64, logical_uint8, logical_uint16, logical_uint32, logical_uint64,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::average::Avg;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Coercion, ColumnarValue, Documentation, EmitTo, GroupsAccumulator, ReversedUDAF,
    ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, TypeSignatureClass, Volatility,
};

use super::checked_distinct_sum::DistinctTotal;
use super::checked_sum::{GroupTotals, SumTypes, TOTAL, Total, is_integer, kept};
use super::partial_sum::signed_integer;

/// The one division. NULL over no values.
fn quotient(total: i128, count: u64) -> Option<f64> {
    (count > 0).then(|| total as f64 / count as f64)
}

/// Replaces DataFusion's `avg`, which casts integers to DOUBLE first.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ExactAverage {
    inner: Avg,
    signature: Signature,
}

impl ExactAverage {
    pub(super) fn new() -> Self {
        let unsigned = [logical_uint8(), logical_uint16(), logical_uint32()].map(TypeSignatureClass::Native);
        let takes = [
            Coercion::new_exact(TypeSignatureClass::Decimal),
            Coercion::new_exact(TypeSignatureClass::Duration),
            Coercion::new_implicit(TypeSignatureClass::Native(logical_uint64()), unsigned.to_vec(), NativeType::UInt64),
            signed_integer(),
            Coercion::new_implicit(
                TypeSignatureClass::Native(logical_float64()),
                vec![TypeSignatureClass::Float],
                NativeType::Float64,
            ),
        ];
        let takes = takes.into_iter().map(|one| TypeSignature::Coercible(vec![one])).collect();
        Self { inner: Avg::new(), signature: Signature::one_of(takes, Volatility::Immutable) }
    }
}

/// The integers that are averaged here; `None` = DataFusion's own.
fn integers(input: Option<&FieldRef>) -> Option<SumTypes> {
    let input = input.map(|field| field.data_type()).filter(|input| is_integer(input))?;
    Some(SumTypes { input: input.clone(), result: TOTAL })
}

impl AggregateUDFImpl for ExactAverage {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match (integers(args.expr_fields.first()), args.is_distinct) {
            (Some(types), false) => Ok(Box::new(Average(Total::new(types)))),
            (Some(types), true) if types.input == DataType::UInt64 => {
                Ok(Box::new(DistinctAverage(DistinctTotal::<UInt64Type>::new())))
            }
            (Some(_), true) => Ok(Box::new(DistinctAverage(DistinctTotal::<Int64Type>::new()))),
            (None, _) => self.inner.accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        match (integers(args.input_fields.first()), args.is_distinct) {
            (Some(_), false) => Ok(vec![
                Arc::new(Field::new(format_state_name(args.name, "sum"), TOTAL, true)),
                Arc::new(Field::new(format_state_name(args.name, "count"), DataType::UInt64, true)),
            ]),
            (Some(types), true) => {
                let value = Field::new_list_field(types.input, true);
                Ok(vec![Arc::new(Field::new_list(format_state_name(args.name, "avg distinct"), value, false))])
            }
            (None, _) => self.inner.state_fields(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        match integers(args.expr_fields.first()) {
            Some(_) => !args.is_distinct,
            None => self.inner.groups_accumulator_supported(args),
        }
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        match integers(args.expr_fields.first()) {
            Some(types) => Ok(Box::new(GroupAverages { totals: GroupTotals::new(types), counts: Vec::new() })),
            None => self.inner.create_groups_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    /// As DataFusion's: the order of rows matters to DOUBLEs alone, and not enough to sort them.
    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// One group's average; also serves sliding windows.
#[derive(Debug)]
struct Average(Total);

impl Accumulator for Average {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.update_batch(values)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.0.known().and_then(|total| quotient(total, self.0.count()))))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut state = self.0.state()?;
        state.push(ScalarValue::from(self.0.count()));
        Ok(state)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.merge(&states[0], states[1].as_primitive::<UInt64Type>().iter().flatten().sum())
    }
}

/// The average of one group's distinct values.
#[derive(Debug)]
struct DistinctAverage<T: ArrowPrimitiveType>(DistinctTotal<T>);

impl<T> Accumulator for DistinctAverage<T>
where
    T: ArrowPrimitiveType + Debug,
    T::Native: Eq + Hash + Into<i128>,
{
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.update_batch(values)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let (total, count) = self.0.total()?;
        Ok(ScalarValue::Float64(quotient(total, count)))
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.merge_batch(states)
    }
}

/// The averages of all groups.
#[derive(Debug)]
struct GroupAverages {
    totals: GroupTotals,
    counts: Vec<u64>,
}

impl GroupAverages {
    fn emit(&mut self, emit_to: EmitTo) -> Result<(ArrayRef, Vec<u64>)> {
        let totals = self.totals.state(emit_to)?.remove(0);
        Ok((totals, emit_to.take_needed(&mut self.counts)))
    }
}

impl GroupsAccumulator for GroupAverages {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.counts.resize(total_num_groups, 0);
        match kept(&values[0], opt_filter) {
            None => group_indices.iter().for_each(|group| self.counts[*group] += 1),
            Some(kept) => kept.valid_indices().for_each(|row| self.counts[group_indices[row]] += 1),
        }
        self.totals.update_batch(values, group_indices, opt_filter, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (totals, counts) = self.emit(emit_to)?;
        let totals = totals.as_primitive::<Decimal128Type>().values().iter();
        Ok(Arc::new(totals.zip(counts).map(|(total, count)| quotient(*total, count)).collect::<Float64Array>()))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (totals, counts) = self.emit(emit_to)?;
        Ok(vec![totals, Arc::new(UInt64Array::from(counts))])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.counts.resize(total_num_groups, 0);
        let counts = values[1].as_primitive::<UInt64Type>();
        for (group, count) in group_indices.iter().zip(counts) {
            self.counts[*group] += count.unwrap_or(0);
        }
        self.totals.merge_batch(&values[..1], group_indices, total_num_groups)
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut state = self.totals.convert_to_state(values, opt_filter)?;
        let counts: UInt64Array = (0..state[0].len()).map(|row| Some(u64::from(state[0].is_valid(row)))).collect();
        state.push(Arc::new(counts));
        Ok(state)
    }

    fn size(&self) -> usize {
        self.totals.size() + self.counts.capacity() * size_of::<u64>()
    }
}

/// `adlake_average(total, count)`: what `avg` of the integers is whose sum and count they are. NULL when the count is 0.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct AverageOfParts {
    signature: Signature,
}

impl AverageOfParts {
    pub(super) fn new() -> Self {
        Self { signature: Signature::exact(vec![TOTAL, DataType::Int64], Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for AverageOfParts {
    fn name(&self) -> &str {
        "adlake_average"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let totals = arrays[0].as_primitive::<Decimal128Type>().iter();
        let counts = arrays[1].as_primitive::<Int64Type>().iter();
        let average = |(total, count): (Option<i128>, Option<i64>)| quotient(total?, u64::try_from(count?).ok()?);
        let averages: ArrayRef = Arc::new(totals.zip(counts).map(average).collect::<Float64Array>());
        match args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_))) {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&averages, 0)?)),
            false => Ok(ColumnarValue::Array(averages)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;

    fn types() -> SumTypes {
        SumTypes { input: DataType::Int64, result: TOTAL }
    }

    fn values(values: Vec<Option<i64>>) -> [ArrayRef; 1] {
        [Arc::new(Int64Array::from(values))]
    }

    #[test]
    fn averages_are_exact_beyond_doubles() {
        let mut average = Average(Total::new(types()));
        average
            .update_batch(&values(vec![Some(i64::MAX), Some(i64::MAX), None, Some(-i64::MAX), Some(-i64::MAX)]))
            .unwrap();
        average.update_batch(&values(vec![Some(3), Some(4)])).unwrap();
        assert_eq!(average.evaluate().unwrap(), ScalarValue::from(7.0 / 6.0));
    }

    #[test]
    fn a_window_that_lost_its_values_has_no_average() {
        let mut average = Average(Total::new(types()));
        average.update_batch(&values(vec![Some(5), None, Some(2)])).unwrap();
        average.retract_batch(&values(vec![Some(5), None])).unwrap();
        assert_eq!(average.evaluate().unwrap(), ScalarValue::from(2.0));
        average.retract_batch(&values(vec![Some(2)])).unwrap();
        assert_eq!(average.evaluate().unwrap(), ScalarValue::Float64(None));
    }

    #[test]
    fn groups_are_averaged_over_rows_and_states_alike() {
        let rows = values(vec![Some(i64::MAX), None, Some(1), Some(i64::MAX), Some(9)]);
        let filter = BooleanArray::from(vec![Some(true), Some(true), Some(true), Some(true), None]);
        let groups = [0, 1, 2, 0, 2];
        let new = || GroupAverages { totals: GroupTotals::new(types()), counts: Vec::new() };
        let mut direct = new();
        direct.update_batch(&rows, &groups, Some(&filter), 3).unwrap();
        let mut merged = new();
        merged.merge_batch(&new().convert_to_state(&rows, Some(&filter)).unwrap(), &groups, 3).unwrap();
        let mut again = new();
        again.merge_batch(&merged.state(EmitTo::All).unwrap(), &[0, 1, 2], 3).unwrap();
        let expected = Float64Array::from(vec![Some(i64::MAX as f64), None, Some(1.0)]);
        assert_eq!(direct.evaluate(EmitTo::All).unwrap().as_primitive(), &expected);
        assert_eq!(again.evaluate(EmitTo::All).unwrap().as_primitive(), &expected);
    }
}

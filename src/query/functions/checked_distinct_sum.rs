//! `sum(DISTINCT …)` of integers and decimals: each value once, added in 128 bits, and the total must fit the result type.
//!
//! Partial states are the values themselves, as DataFusion's own distinct sum sends them. Values are counted, so that one
//! that leaves a sliding window stays in the sum while another of it is inside. `avg(DISTINCT …)` divides the same total.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::mem::{size_of, size_of_val};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{ArrowPrimitiveType, DataType};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Accumulator;

use super::checked_sum::{scalar, too_large};

/// See the module. `T` is `Int64Type`, `UInt64Type` or `Decimal128Type`, as `data_type` is.
#[derive(Debug)]
pub(super) struct DistinctTotal<T: ArrowPrimitiveType> {
    /// How often each value is there; never zero.
    counts: HashMap<T::Native, u64>,
    data_type: DataType,
}

impl<T: ArrowPrimitiveType> DistinctTotal<T> {
    pub fn new() -> Self {
        Self::of(T::DATA_TYPE)
    }

    /// Of decimals: whose total is of this type, which has the scale of the values.
    pub(super) fn of(data_type: DataType) -> Self {
        Self { counts: HashMap::new(), data_type }
    }
}

impl<T> DistinctTotal<T>
where
    T: ArrowPrimitiveType,
    T::Native: Eq + Hash,
{
    /// The sum of the values, and how many they are.
    pub(super) fn total(&self) -> Result<(i128, u64)>
    where
        T::Native: Into<i128>,
    {
        let mut values = self.counts.keys().map(|value| -> i128 { (*value).into() });
        let total = values.try_fold(0_i128, i128::checked_add).ok_or_else(|| too_large(&self.data_type))?;
        Ok((total, self.counts.len() as u64))
    }

    fn add(&mut self, values: &ArrayRef) {
        for value in values.as_primitive::<T>().iter().flatten() {
            *self.counts.entry(value).or_default() += 1;
        }
    }
}

impl<T> Accumulator for DistinctTotal<T>
where
    T: ArrowPrimitiveType + Debug,
    T::Native: Eq + Hash + Into<i128>,
{
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(&values[0]);
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<T>().iter().flatten() {
            if let Some(count) = self.counts.get_mut(&value) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&value);
                }
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let (total, count) = self.total()?;
        scalar((count > 0).then_some(total), &self.data_type)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.counts.capacity() * (size_of::<T::Native>() + size_of::<u64>() + 1)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = PrimitiveArray::<T>::from_iter_values(self.counts.keys().copied());
        let values = values.with_data_type(self.data_type.clone());
        Ok(vec![SingleRowListArrayBuilder::new(Arc::new(values)).build_list_scalar()])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        states[0].as_list::<i32>().iter().flatten().for_each(|values| self.add(&values));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;
    use arrow::datatypes::Int64Type;

    fn values(values: &[i64]) -> [ArrayRef; 1] {
        [Arc::new(Int64Array::from(values.to_vec()))]
    }

    #[test]
    fn each_value_counts_once_over_all_parts() {
        let (mut one, mut other) = (DistinctTotal::<Int64Type>::new(), DistinctTotal::<Int64Type>::new());
        one.update_batch(&values(&[1, 2, 2])).unwrap();
        other.update_batch(&values(&[2, 3])).unwrap();
        let state = other.state().unwrap().remove(0).to_array().unwrap();
        one.merge_batch(&[state]).unwrap();
        assert_eq!(one.evaluate().unwrap(), ScalarValue::from(6_i64));
    }

    #[test]
    fn a_value_leaves_with_the_last_of_its_kind() {
        let mut total = DistinctTotal::<Int64Type>::new();
        total.update_batch(&values(&[5, 5, 7])).unwrap();
        total.retract_batch(&values(&[5])).unwrap();
        assert_eq!(total.evaluate().unwrap(), ScalarValue::from(12_i64));
        total.retract_batch(&values(&[5, 7])).unwrap();
        assert_eq!(total.evaluate().unwrap(), ScalarValue::Int64(None));
    }
}

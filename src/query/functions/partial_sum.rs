//! Sums of integers that are stored in parts: each part may leave BIGINT, only the merged total must fit it.
//!
//! ```text
//! rows ─ adlake_partial_sum ─► parts ─ adlake_fold_sum ─► fewer parts ─ adlake_merge_sum ─► what sum() of the rows is
//! ```
//! All three are the totals of [`super::checked_sum`] between other types. The plans of `rollup` call them; users are not
//! shown them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::types::{NativeType, logical_int8, logical_int16, logical_int32, logical_int64};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Coercion, GroupsAccumulator, ReversedUDAF, Signature, TypeSignature,
    TypeSignatureClass, Volatility,
};

use super::checked_sum::{GroupTotals, SumTypes, TOTAL, Total};

/// One step of the drawing above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// BIGINT → DECIMAL(38, 0).
    Partial,
    /// DECIMAL(38, 0) → DECIMAL(38, 0).
    Fold,
    /// DECIMAL(38, 0) → BIGINT; an error when the total does not fit.
    Merge,
}

impl Step {
    fn types(self) -> SumTypes {
        match self {
            Self::Partial => SumTypes { input: DataType::Int64, result: TOTAL },
            Self::Fold => SumTypes { input: TOTAL, result: TOTAL },
            Self::Merge => SumTypes { input: TOTAL, result: DataType::Int64 },
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Partial => "adlake_partial_sum",
            Self::Fold => "adlake_fold_sum",
            Self::Merge => "adlake_merge_sum",
        }
    }
}

/// NULL over no values, as `sum`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct PartialSum {
    step: Step,
    signature: Signature,
}

impl PartialSum {
    pub(super) fn new(step: Step) -> Self {
        let input = match step {
            Step::Partial => TypeSignature::Coercible(vec![signed_integer()]),
            Step::Fold | Step::Merge => TypeSignature::Exact(vec![TOTAL]),
        };
        Self { step, signature: Signature::new(input, Volatility::Immutable) }
    }

    fn refuse_distinct(&self, args: &AccumulatorArgs) -> Result<()> {
        if args.is_distinct {
            return plan_err!("{} does not take DISTINCT", self.step.name());
        }
        Ok(())
    }
}

/// Takes any signed integer as BIGINT.
pub(super) fn signed_integer() -> Coercion {
    let narrower = [logical_int8(), logical_int16(), logical_int32()].map(TypeSignatureClass::Native);
    Coercion::new_implicit(TypeSignatureClass::Native(logical_int64()), narrower.to_vec(), NativeType::Int64)
}

impl AggregateUDFImpl for PartialSum {
    fn name(&self) -> &str {
        self.step.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.step.types().result)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.refuse_distinct(&args)?;
        Ok(Box::new(Total::new(self.step.types())))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "sum"), TOTAL, true))])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        self.refuse_distinct(&args)?;
        Ok(Box::new(GroupTotals::new(self.step.types())))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

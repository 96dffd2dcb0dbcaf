//! The scalar functions: what a sketch says, and sketches out of two.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Float64Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::types::{NativeType, logical_float64};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    Coercion, ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignatureClass, Volatility,
};
use datasketches::common::NumStdDev;

use super::{hll, kll, theta};

/// Of both bounds: about 95 %.
pub(super) const WIDTH: NumStdDev = NumStdDev::Two;

/// The scalar functions in the table of [`super`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Call {
    HllEstimate,
    HllLower,
    HllUpper,
    HllCombine,
    /// What `approx_distinct` is finished by, in plans of `rollup`.
    HllDistinct,
    ThetaEstimate,
    ThetaLower,
    ThetaUpper,
    ThetaCombine,
    ThetaIntersect,
    ThetaDifference,
    KllCount,
    KllQuantile,
    KllLower,
    KllUpper,
}

impl Call {
    pub(super) const ALL: [Self; 15] = [
        Self::HllEstimate,
        Self::HllLower,
        Self::HllUpper,
        Self::HllCombine,
        Self::HllDistinct,
        Self::ThetaEstimate,
        Self::ThetaLower,
        Self::ThetaUpper,
        Self::ThetaCombine,
        Self::ThetaIntersect,
        Self::ThetaDifference,
        Self::KllCount,
        Self::KllQuantile,
        Self::KllLower,
        Self::KllUpper,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::HllEstimate => "hll_estimate",
            Self::HllLower => "hll_lower",
            Self::HllUpper => "hll_upper",
            Self::HllCombine => "hll_combine",
            Self::HllDistinct => "adlake_hll_distinct",
            Self::ThetaEstimate => "theta_estimate",
            Self::ThetaLower => "theta_lower",
            Self::ThetaUpper => "theta_upper",
            Self::ThetaCombine => "theta_combine",
            Self::ThetaIntersect => "theta_intersect",
            Self::ThetaDifference => "theta_difference",
            Self::KllCount => "kll_count",
            Self::KllQuantile => "kll_quantile",
            Self::KllLower => "kll_lower",
            Self::KllUpper => "kll_upper",
        }
    }

    fn takes(self) -> Takes {
        match self {
            Self::HllCombine | Self::ThetaCombine | Self::ThetaIntersect | Self::ThetaDifference => Takes::TwoSketches,
            Self::KllQuantile | Self::KllLower | Self::KllUpper => Takes::SketchAndShare,
            Self::HllEstimate | Self::HllLower | Self::HllUpper | Self::HllDistinct => Takes::Sketch,
            Self::ThetaEstimate | Self::ThetaLower | Self::ThetaUpper | Self::KllCount => Takes::Sketch,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Sketch,
    TwoSketches,
    SketchAndShare,
}

/// NULL when an argument is.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct SketchFunction {
    call: Call,
    signature: Signature,
}

impl SketchFunction {
    pub(super) fn new(call: Call) -> Self {
        let sketch = || Coercion::new_exact(TypeSignatureClass::Binary);
        let takes = match call.takes() {
            Takes::Sketch => vec![sketch()],
            Takes::TwoSketches => vec![sketch(), sketch()],
            Takes::SketchAndShare => {
                let double = TypeSignatureClass::Native(logical_float64());
                let share = Coercion::new_implicit(double, vec![TypeSignatureClass::Numeric], NativeType::Float64);
                vec![sketch(), share]
            }
        };
        Self { call, signature: Signature::coercible(takes, Volatility::Immutable) }
    }

    fn run(&self, args: &[ArrayRef]) -> Result<ArrayRef> {
        let sketches = |index: usize| cast(&args[index], &DataType::BinaryView);
        let first = sketches(0)?;
        match self.call {
            Call::HllEstimate => numbers(&first, |bytes| Ok(hll::read(bytes)?.estimate())),
            Call::HllLower => numbers(&first, |bytes| Ok(hll::read(bytes)?.lower_bound(WIDTH))),
            Call::HllUpper => numbers(&first, |bytes| Ok(hll::read(bytes)?.upper_bound(WIDTH))),
            Call::ThetaEstimate => numbers(&first, |bytes| Ok(theta::read(bytes)?.estimate())),
            Call::ThetaLower => numbers(&first, |bytes| Ok(theta::read(bytes)?.lower_bound(WIDTH))),
            Call::ThetaUpper => numbers(&first, |bytes| Ok(theta::read(bytes)?.upper_bound(WIDTH))),
            Call::HllDistinct => whole_numbers(&first, hll::distinct),
            Call::KllCount => whole_numbers(&first, kll::count),
            Call::HllCombine => combined(&first, &sketches(1)?, hll::combine),
            Call::ThetaCombine => combined(&first, &sketches(1)?, theta::combine),
            Call::ThetaIntersect => combined(&first, &sketches(1)?, theta::intersect),
            Call::ThetaDifference => combined(&first, &sketches(1)?, theta::difference),
            Call::KllQuantile => quantiles(&first, &args[1], kll::quantile),
            Call::KllLower => quantiles(&first, &args[1], kll::lower),
            Call::KllUpper => quantiles(&first, &args[1], kll::upper),
        }
    }
}

fn numbers(sketches: &ArrayRef, read: impl Fn(&[u8]) -> Result<f64>) -> Result<ArrayRef> {
    let numbers = sketches.as_binary_view().iter().map(|sketch| sketch.map(&read).transpose());
    Ok(Arc::new(numbers.collect::<Result<Float64Array>>()?))
}

fn whole_numbers(sketches: &ArrayRef, read: fn(&[u8]) -> Result<i64>) -> Result<ArrayRef> {
    let numbers = sketches.as_binary_view().iter().map(|sketch| sketch.map(read).transpose());
    Ok(Arc::new(numbers.collect::<Result<Int64Array>>()?))
}

fn combined(ones: &ArrayRef, others: &ArrayRef, combine: fn(&[u8], &[u8]) -> Result<Vec<u8>>) -> Result<ArrayRef> {
    let pairs = ones.as_binary_view().iter().zip(others.as_binary_view());
    let sketches = pairs.map(|(one, other)| one.zip(other).map(|(one, other)| combine(one, other)).transpose());
    Ok(Arc::new(sketches.collect::<Result<BinaryArray>>()?))
}

fn quantiles(sketches: &ArrayRef, ranks: &ArrayRef, read: fn(&[u8], f64) -> Result<Option<f64>>) -> Result<ArrayRef> {
    let ranks = cast(ranks, &DataType::Float64)?;
    let pairs = sketches.as_binary_view().iter().zip(ranks.as_primitive::<Float64Type>());
    let numbers = pairs.map(|(sketch, rank)| match (sketch, rank) {
        (Some(sketch), Some(rank)) => read(sketch, rank),
        _ => Ok(None),
    });
    Ok(Arc::new(numbers.collect::<Result<Float64Array>>()?))
}

impl ScalarUDFImpl for SketchFunction {
    fn name(&self) -> &str {
        self.call.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(match (self.call, self.call.takes()) {
            (Call::HllDistinct | Call::KllCount, _) => DataType::Int64,
            (_, Takes::TwoSketches) => DataType::Binary,
            (_, Takes::Sketch | Takes::SketchAndShare) => DataType::Float64,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let answers = self.run(&ColumnarValue::values_to_arrays(&args.args)?)?;
        match is_scalar && answers.len() == 1 {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&answers, 0)?)),
            false => Ok(ColumnarValue::Array(answers)),
        }
    }
}

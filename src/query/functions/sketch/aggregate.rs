//! The aggregate functions: sketches of rows, and sketches of sketches. Partial states are sketches too.

use std::fmt::Debug;
use std::mem::size_of_val;
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Coercion, ReversedUDAF, Signature, TypeSignature, TypeSignatureClass, Volatility,
};
use datafusion::physical_expr::expressions::Literal;

use super::hash::is_hashable;
use super::hll::HllBuilding;
use super::kll::KllBuilding;
use super::theta::ThetaBuilding;

/// A sketch while rows, or other sketches, are added to it.
pub(super) trait Building: Debug + Send + Sync {
    /// Adds values of a type that [`Kind::takes`].
    fn add(&mut self, values: &ArrayRef) -> Result<()>;
    /// Adds what a sketch of the same kind holds; an error when the bytes are none.
    fn merge(&mut self, sketch: &[u8]) -> Result<()>;
    /// The sketch so far.
    fn serialize(&mut self) -> Result<Vec<u8>>;
    /// Memory held, in bytes.
    fn size(&self) -> usize;
}

/// The kinds of sketches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Hll,
    Theta,
    Kll,
}

impl Kind {
    /// An empty sketch; `size` is within [`Self::sizes`].
    pub(super) fn build(self, size: Option<u16>) -> Result<Box<dyn Building>> {
        Ok(match self {
            Self::Hll => Box::new(HllBuilding::new(size)),
            Self::Theta => Box::new(ThetaBuilding::new(size)?),
            Self::Kll => Box::new(KllBuilding::new(size)),
        })
    }

    /// What decides how exact and how large it is: the name and its range.
    fn sizes(self) -> (&'static str, RangeInclusive<u16>) {
        match self {
            Self::Hll => ("lg_k", 4..=21),
            Self::Theta => ("lg_k", 5..=26),
            Self::Kll => ("k", 8..=u16::MAX),
        }
    }

    pub(super) fn takes(self, data_type: &DataType) -> bool {
        match self {
            Self::Hll | Self::Theta => is_hashable(data_type),
            Self::Kll => data_type.is_numeric() || data_type.is_null(),
        }
    }
}

/// What is summarized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Of {
    Values,
    Sketches,
}

/// One of the aggregate functions in the table of [`super`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct SketchAggregate {
    kind: Kind,
    of: Of,
    signature: Signature,
}

impl SketchAggregate {
    pub(super) fn new(kind: Kind, of: Of) -> Self {
        let sketch = || Coercion::new_exact(TypeSignatureClass::Binary);
        let takes = match of {
            // Any type may be asked for: `return_type` says which cannot be had.
            Of::Values => TypeSignature::OneOf(vec![TypeSignature::Any(1), TypeSignature::Any(2)]),
            Of::Sketches => TypeSignature::OneOf(vec![
                TypeSignature::Coercible(vec![sketch()]),
                TypeSignature::Coercible(vec![sketch(), Coercion::new_exact(TypeSignatureClass::Integer)]),
            ]),
        };
        Self { kind, of, signature: Signature::new(takes, Volatility::Immutable) }
    }

    /// The second argument, which must be a constant.
    fn size(&self, args: &AccumulatorArgs) -> Result<Option<u16>> {
        let Some(expr) = args.exprs.get(1) else { return Ok(None) };
        let (name, sizes) = self.kind.sizes();
        let said = expr.downcast_ref::<Literal>().and_then(|literal| literal.value().cast_to(&DataType::Int64).ok());
        match said {
            Some(ScalarValue::Int64(Some(size))) => match u16::try_from(size) {
                Ok(size) if sizes.contains(&size) => Ok(Some(size)),
                _ => {
                    plan_err!("{name} of {} is {size}; it goes from {} to {}", self.name(), sizes.start(), sizes.end())
                }
            },
            _ => plan_err!("{name} of {} must be a whole number, not computed from rows", self.name()),
        }
    }
}

impl AggregateUDFImpl for SketchAggregate {
    fn name(&self) -> &str {
        match (self.kind, self.of) {
            (Kind::Hll, Of::Values) => "hll_sketch",
            (Kind::Hll, Of::Sketches) => "hll_union",
            (Kind::Theta, Of::Values) => "theta_sketch",
            (Kind::Theta, Of::Sketches) => "theta_union",
            (Kind::Kll, Of::Values) => "kll_sketch",
            (Kind::Kll, Of::Sketches) => "kll_merge",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match (self.of, arg_types.first()) {
            (Of::Values, Some(values)) if !self.kind.takes(values) => {
                plan_err!("{} does not take {values}; cast it to another type", self.name())
            }
            _ => Ok(DataType::Binary),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        // Sets do not care; a distribution of distinct values is another one.
        if args.is_distinct && self.kind == Kind::Kll {
            return plan_err!("{} does not take DISTINCT; use it over a SELECT DISTINCT", self.name());
        }
        Ok(Box::new(SketchAccumulator { building: self.kind.build(self.size(&args)?)?, of: self.of }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "sketch"), DataType::Binary, true))])
    }

    fn default_value(&self, _data_type: &DataType) -> Result<ScalarValue> {
        Ok(ScalarValue::Binary(Some(self.kind.build(None)?.serialize()?)))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// One group's sketch.
#[derive(Debug)]
struct SketchAccumulator {
    building: Box<dyn Building>,
    of: Of,
}

/// Merges a column of sketches; NULLs are none.
pub(super) fn merge_all(building: &mut dyn Building, sketches: &ArrayRef) -> Result<()> {
    let sketches = cast(sketches, &DataType::BinaryView)?;
    sketches.as_binary_view().iter().flatten().try_for_each(|sketch| building.merge(sketch))
}

impl Accumulator for SketchAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        match self.of {
            Of::Values => self.building.add(&values[0]),
            Of::Sketches => merge_all(self.building.as_mut(), &values[0]),
        }
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Binary(Some(self.building.serialize()?)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.building.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        merge_all(self.building.as_mut(), &states[0])
    }
}

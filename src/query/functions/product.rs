//! `*` of decimals that have more than 38 places together, as quotients may: rounded half away from zero.
//!
//! Arrow keeps all places of a product and refuses such. Here so many are kept that 18 digits stay before the point; a product of
//! more is an error. Any other product of decimals is Arrow's, exact.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Datum, PrimitiveArray};
use arrow::compute::kernels::arity::try_binary;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, i256};
use arrow::error::ArrowError;
use datafusion::common::{DFSchema, Result, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;

use super::numbers::may_have_fractions;

const PLACES_MAX: i8 = 38;
/// Places that are kept of more.
const PLACES: i8 = 20;

static MULTIPLY: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::from(FineProduct { signature: Signature::any(2, Volatility::Immutable) })));

/// Whether both are decimals, with more places together than one has.
pub(super) fn is_too_fine(left: &Expr, right: &Expr, schema: &DFSchema) -> bool {
    if ![left, right].iter().all(|side| may_have_fractions(side, schema).unwrap_or(true)) {
        return false;
    }
    match (left.get_type(schema), right.get_type(schema)) {
        (Ok(left), Ok(right)) => places(&left, &right).is_some_and(|places| places > i16::from(PLACES_MAX)),
        _ => false,
    }
}

pub(super) fn product(left: Expr, right: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(MULTIPLY.clone(), vec![left, right]))
}

/// The places of both together; `None`: they are not decimals.
fn places(left: &DataType, right: &DataType) -> Option<i16> {
    match (left, right) {
        (DataType::Decimal128(_, left), DataType::Decimal128(_, right)) => Some(i16::from(*left) + i16::from(*right)),
        _ => None,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct FineProduct {
    signature: Signature,
}

impl ScalarUDFImpl for FineProduct {
    fn name(&self) -> &str {
        "checked_fine_multiply"
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        Ok(format!("{} * {}", args[0], args[1]))
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(format!("{} * {}", args[0].schema_name(), args[1].schema_name()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Decimal128(DECIMAL128_MAX_PRECISION, PLACES))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(places) = places(&args.args[0].data_type(), &args.args[1].data_type()) else {
            return plan_err!("no decimals to multiply");
        };
        let too_many = u32::from((places - i16::from(PLACES)).max(0).unsigned_abs());
        let Some(divisor) = i256::from_i128(10).checked_pow(too_many) else {
            return plan_err!("decimals of {places} places together");
        };
        apply(&args.args[0], &args.args[1], |left, right| all(left, right, divisor))
    }
}

fn all(left: &dyn Datum, right: &dyn Datum, divisor: i256) -> Result<ArrayRef, ArrowError> {
    let ((left, is_one_left), (right, is_one_right)) = (left.get(), right.get());
    let (left, right) = (left.as_primitive::<Decimal128Type>(), right.as_primitive::<Decimal128Type>());
    let products: PrimitiveArray<Decimal128Type> = match (is_one_left, is_one_right) {
        (true, false) if left.is_null(0) => PrimitiveArray::new_null(right.len()),
        (false, true) if right.is_null(0) => PrimitiveArray::new_null(left.len()),
        (true, false) => {
            let factor = left.value(0);
            right.try_unary(|value| one(factor, value, divisor))?
        }
        (false, true) => {
            let factor = right.value(0);
            left.try_unary(|value| one(value, factor, divisor))?
        }
        (true, true) | (false, false) => try_binary(left, right, |left, right| one(left, right, divisor))?,
    };
    Ok(Arc::new(products.with_precision_and_scale(DECIMAL128_MAX_PRECISION, PLACES)?))
}

fn one(left: i128, right: i128, divisor: i256) -> Result<i128, ArrowError> {
    rounded(left, right, divisor).filter(|product| product.unsigned_abs() < 10_u128.pow(38)).ok_or_else(|| {
        let message = format!("a product does not fit DECIMAL({DECIMAL128_MAX_PRECISION}, {PLACES})");
        ArrowError::ArithmeticOverflow(message)
    })
}

/// `None`: not in 128 bits.
fn rounded(left: i128, right: i128, divisor: i256) -> Option<i128> {
    let product = i256::from_i128(left).checked_mul(i256::from_i128(right))?;
    let is_negative = product.is_negative();
    let product = product.checked_abs()?;
    let (quotient, rest) = (product.checked_div(divisor)?.to_i128()?, product.checked_rem(divisor)?);
    let quotient = quotient.checked_add(i128::from(rest >= divisor.checked_sub(rest)?))?;
    Some(if is_negative { -quotient } else { quotient })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_rounded_half_away_from_zero() {
        let hundred = i256::from_i128(100);
        let product = |left, right| one(left, right, hundred).map_err(|error| error.to_string());
        assert_eq!(product(15, 10), Ok(2));
        assert_eq!(product(-15, 10), Ok(-2));
        assert_eq!(product(-149, 1), Ok(-1));
        assert_eq!(product(0, -7), Ok(0));
        let most = 10_i128.pow(38) - 1;
        assert_eq!(product(most, 100), Ok(most));
        assert!(product(most, 101).unwrap_err().contains("does not fit DECIMAL(38, 20)"));
        assert!(product(most, -most).is_err());
    }
}

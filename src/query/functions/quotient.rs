//! `/` of decimals keeps its digits: `7 * 1.0 / 1000000` is 0.000007, not 0.
//!
//! Arrow gives a quotient four places more than the dividend has and cuts the rest. Here its type is that of SQL Server and Spark
//! (`DecimalType.adjustPrecisionScale`), rounded half away from zero. It is planned so at once ([`Quotients`]), so that what is
//! planned above it knows its type, and after parameters have theirs (`numbers`).

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Datum, PrimitiveArray};
use arrow::compute::kernels::arity::try_binary;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, i256};
use arrow::error::ArrowError;
use datafusion::common::{DFSchema, Result, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::numbers::may_have_fractions;
use super::product::{is_too_fine, product};

/// Places that are kept where 38 digits are too few for all.
const PLACES_MIN: i32 = 6;
const DIGITS_MAX: i32 = DECIMAL128_MAX_PRECISION as i32;

static DIVIDE: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::from(CheckedDivide::new())));

/// Plans `/`, and `*` of what has as many places as quotients.
#[derive(Debug)]
pub(super) struct Quotients;

impl ExprPlanner for Quotients {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        match expr {
            RawBinaryExpr { op: BinaryOperator::Divide, left, right } if is_of_decimals(&left, &right, schema) => {
                Ok(PlannerResult::Planned(quotient(left, right)))
            }
            RawBinaryExpr { op: BinaryOperator::Multiply, left, right } if is_too_fine(&left, &right, schema) => {
                Ok(PlannerResult::Planned(product(left, right)))
            }
            other => Ok(PlannerResult::Original(other)),
        }
    }
}

/// Whether the division is one of decimals, of which one side may be an integer.
pub(super) fn is_of_decimals(left: &Expr, right: &Expr, schema: &DFSchema) -> bool {
    if ![left, right].iter().any(|side| may_have_fractions(side, schema).unwrap_or(true)) {
        return false;
    }
    let (Ok(left), Ok(right)) = (left.get_type(schema), right.get_type(schema)) else { return false };
    let is_decimal = |side: &DataType| matches!(side, DataType::Decimal128(..));
    (is_decimal(&left) || is_decimal(&right)) && digits(&left).is_some() && digits(&right).is_some()
}

pub(super) fn quotient(left: Expr, right: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(DIVIDE.clone(), vec![left, right]))
}

/// Precision and scale of a decimal, and of what DataFusion makes of an integer beside one.
fn digits(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Decimal128(precision, scale) => Some((*precision, *scale)),
        DataType::Int8 | DataType::UInt8 => Some((3, 0)),
        DataType::Int16 | DataType::UInt16 => Some((5, 0)),
        DataType::Int32 | DataType::UInt32 => Some((10, 0)),
        DataType::Int64 | DataType::UInt64 => Some((20, 0)),
        _ => None,
    }
}

/// The digits of a quotient: all that there can be before the point, and at least six behind it.
fn quotient_digits((of_left, left_scale): (u8, i8), (of_right, right_scale): (u8, i8)) -> (u8, i8) {
    let (left_scale, right_scale) = (i32::from(left_scale), i32::from(right_scale));
    let whole = i32::from(of_left) - left_scale + right_scale;
    let mut places = (left_scale + i32::from(of_right) + 1).max(PLACES_MIN);
    if whole + places > DIGITS_MAX {
        places = (DIGITS_MAX - whole).clamp(PLACES_MIN, DIGITS_MAX);
    }
    let all = (whole.max(0) + places).min(DIGITS_MAX);
    (u8::try_from(all).unwrap_or(DECIMAL128_MAX_PRECISION), i8::try_from(places).unwrap_or(i8::MAX))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedDivide {
    signature: Signature,
}

impl CheckedDivide {
    fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// Both sides of a call.
fn sides(arg_types: &[DataType]) -> Result<((u8, i8), (u8, i8))> {
    match arg_types {
        [left, right] if digits(left).is_some() => match (digits(left), digits(right)) {
            (Some(left), Some(right)) => Ok((left, right)),
            _ => plan_err!("a decimal is not divided by {right}"),
        },
        other => plan_err!("no decimals to divide: {other:?}"),
    }
}

impl ScalarUDFImpl for CheckedDivide {
    fn name(&self) -> &str {
        "checked_divide"
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        let shown = |side: &Expr| match side {
            Expr::BinaryExpr(_) => format!("({side})"),
            _ => side.to_string(),
        };
        Ok(format!("{} / {}", shown(&args[0]), shown(&args[1])))
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(format!("{} / {}", args[0].schema_name(), args[1].schema_name()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let (left, right) = sides(arg_types)?;
        Ok([left, right].map(|(precision, scale)| DataType::Decimal128(precision, scale)).to_vec())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let (left, right) = sides(arg_types)?;
        let (precision, scale) = quotient_digits(left, right);
        Ok(DataType::Decimal128(precision, scale))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = [args.args[0].data_type(), args.args[1].data_type()];
        let (left, right) = sides(&[left, right])?;
        let division = Division::of(left, right);
        apply(&args.args[0], &args.args[1], |left, right| division.all(left, right))
    }
}

/// One division of two types.
struct Division {
    precision: u8,
    scale: i8,
    /// What the dividend is multiplied by, or the divisor: ten to the power of `shift`.
    power: Option<i128>,
    large_power: Option<i256>,
    is_of_dividend: bool,
}

impl Division {
    fn of(left: (u8, i8), right: (u8, i8)) -> Self {
        let (precision, scale) = quotient_digits(left, right);
        let shift = i32::from(scale) - i32::from(left.1) + i32::from(right.1);
        let (power, large_power) =
            (10_i128.checked_pow(shift.unsigned_abs()), i256::from_i128(10).checked_pow(shift.unsigned_abs()));
        Self { precision, scale, power, large_power, is_of_dividend: shift >= 0 }
    }

    fn all(&self, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
        let ((left, is_one_left), (right, is_one_right)) = (left.get(), right.get());
        let (left, right) = (left.as_primitive::<Decimal128Type>(), right.as_primitive::<Decimal128Type>());
        let quotients: PrimitiveArray<Decimal128Type> = match (is_one_left, is_one_right) {
            (true, false) if left.is_null(0) => PrimitiveArray::new_null(right.len()),
            (false, true) if right.is_null(0) => PrimitiveArray::new_null(left.len()),
            (true, false) => {
                let dividend = left.value(0);
                right.try_unary(|divisor| self.one(dividend, divisor))?
            }
            (false, true) => {
                let divisor = right.value(0);
                left.try_unary(|dividend| self.one(dividend, divisor))?
            }
            (true, true) | (false, false) => try_binary(left, right, |dividend, divisor| self.one(dividend, divisor))?,
        };
        Ok(Arc::new(quotients.with_precision_and_scale(self.precision, self.scale)?))
    }

    fn one(&self, dividend: i128, divisor: i128) -> Result<i128, ArrowError> {
        if divisor == 0 {
            return Err(ArrowError::DivideByZero);
        }
        if dividend == 0 {
            return Ok(0);
        }
        let quotient = match self.of_few_digits(dividend, divisor) {
            Some(quotient) => Some(quotient),
            None => self.of_many_digits(dividend, divisor),
        };
        let bound = 10_u128.pow(u32::from(self.precision));
        quotient.filter(|quotient| quotient.unsigned_abs() < bound).ok_or_else(|| {
            let (precision, scale) = (self.precision, self.scale);
            ArrowError::ArithmeticOverflow(format!("a quotient does not fit DECIMAL({precision}, {scale})"))
        })
    }

    /// `None`: not in 128 bits.
    fn of_few_digits(&self, dividend: i128, divisor: i128) -> Option<i128> {
        let power = self.power?;
        let (dividend, divisor) = match self.is_of_dividend {
            true => (dividend.checked_mul(power)?, divisor),
            false => (dividend, divisor.checked_mul(power)?),
        };
        let (quotient, rest) = (dividend.checked_div(divisor)?, dividend.checked_rem(divisor)?);
        let is_up = rest.unsigned_abs() >= divisor.unsigned_abs() - rest.unsigned_abs();
        let step = if (dividend < 0) == (divisor < 0) { 1 } else { -1 };
        if is_up { quotient.checked_add(step) } else { Some(quotient) }
    }

    /// The same in 256 bits; what does not fit them is no quotient of 38 digits either.
    fn of_many_digits(&self, dividend: i128, divisor: i128) -> Option<i128> {
        let is_negative = (dividend < 0) != (divisor < 0);
        let absolute = |value: i128| i256::from_i128(value).checked_abs();
        let (mut dividend, mut divisor) = (absolute(dividend)?, absolute(divisor)?);
        let scaled = if self.is_of_dividend { &mut dividend } else { &mut divisor };
        match self.large_power.and_then(|power| scaled.checked_mul(power)) {
            Some(product) => *scaled = product,
            None if self.is_of_dividend => return None,
            // Less than half of the last place.
            None => return Some(0),
        }
        let (quotient, rest) = (dividend.checked_div(divisor)?.to_i128()?, dividend.checked_rem(divisor)?);
        let quotient = quotient.checked_add(i128::from(rest >= divisor.checked_sub(rest)?))?;
        Some(if is_negative { -quotient } else { quotient })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Digits = (u8, i8);

    fn check(dividend: (i128, Digits), divisor: (i128, Digits), expected: Result<i128, &str>) {
        let division = Division::of(dividend.1, divisor.1);
        let found = division.one(dividend.0, divisor.0).map_err(|error| error.to_string());
        match (found, expected) {
            (Ok(found), expected) => assert_eq!(Ok(found), expected),
            (Err(found), expected) => assert!(expected.is_err_and(|expected| found.contains(expected)), "{found}"),
        }
    }

    #[test]
    fn digits_are_those_of_sql_server() {
        assert_eq!(quotient_digits((20, 0), (2, 1)), (27, 6));
        assert_eq!(quotient_digits((2, 1), (20, 0)), (23, 22));
        assert_eq!(quotient_digits((23, 1), (20, 0)), (38, 16));
        assert_eq!(quotient_digits((18, 6), (18, 6)), (38, 20));
        assert_eq!(quotient_digits((38, 6), (38, 6)), (38, 6));
        assert_eq!(quotient_digits((38, 0), (38, 38)), (38, 6));
        assert_eq!(quotient_digits((38, 38), (38, 0)), (38, 38));
        assert_eq!(quotient_digits((2, 2), (3, -3)), (6, 6));
    }

    #[test]
    fn quotients_are_rounded_half_away_from_zero() {
        let whole = (20, 0);
        check((50, (2, 1)), (30, (2, 1)), Ok(1_666_667));
        check((5, whole), (30, (2, 1)), Ok(1_666_667));
        check((-5, whole), (30, (2, 1)), Ok(-1_666_667));
        check((5, whole), (-30, (2, 1)), Ok(-1_666_667));
        check((1, (1, 0)), (64, (2, 0)), Ok(15_625));
        check((1, (1, 0)), (-128, (3, 0)), Ok(-7_813));
        check((0, whole), (3, (2, 1)), Ok(0));
        check((1, whole), (0, (2, 1)), Err("Divide by zero"));
    }

    #[test]
    fn many_digits_are_exact() {
        let most = 10_i128.pow(38) - 1;
        check((most, (38, 6)), (1_000_000, (38, 6)), Ok(most));
        check((most, (38, 6)), (999_999, (38, 6)), Err("does not fit DECIMAL(38, 6)"));
        check((most, (38, 0)), (1, (38, 38)), Err("does not fit"));
        check((most, (38, 0)), (most, (38, 0)), Ok(1_000_000));
        check((2, (38, 0)), (3, (38, 0)), Ok(666_667));
        check((most, (38, 38)), (most, (38, 38)), Ok(1_000_000));
        check((most, (38, 38)), (-7, (38, 0)), Ok(-(most + 1) / 7));
    }
}

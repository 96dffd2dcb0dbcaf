//! Expressions that have a value for every row, whatever the row holds: total functions.
//!
//! What is aggregated before a join is worked out for rows too that the join drops; an expression that fails for such a row (`1 / n`,
//! a sum that leaves BIGINT, a text that is no number) would make an error of an answer. What is not known to be total counts as
//! not total. Operands count as they are after types are settled: two kinds of text, two numbers or two times compare without
//! failing, a text and a number do not.
//!
//! Taken for total although it is not: a time that leaves nanoseconds (before 1677, after 2262) on its way to another zone.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::{Case, Cast, InList, Like, TryCast};
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, Operator};

use super::casts::{is_text, never_fails};

/// Functions of text.
const OF_TEXT: &[&str] =
    &["lower", "upper", "btrim", "ltrim", "rtrim", "character_length", "reverse", "starts_with", "contains", "concat"];
/// Decimals of more digits may not fit the type that two numbers are compared by.
const DIGITS_MAX: u8 = 18;

/// Whether `expr`, over columns of `schema`, is total.
pub(super) fn is_total(expr: &Expr, schema: &DFSchema) -> bool {
    let total = |part: &Expr| is_total(part, schema);
    let alike = |parts: &[&Expr]| parts.iter().all(|part| total(part)) && are_alike(parts, schema);
    match expr {
        Expr::Column(_) | Expr::Literal(..) => true,
        Expr::Alias(alias) => total(&alias.expr),
        Expr::Not(of) | Expr::IsNull(of) | Expr::IsNotNull(of) => total(of),
        Expr::IsTrue(of) | Expr::IsFalse(of) | Expr::IsUnknown(of) => total(of),
        Expr::IsNotTrue(of) | Expr::IsNotFalse(of) | Expr::IsNotUnknown(of) => total(of),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::And | Operator::Or => total(left) && total(right),
            Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => {
                alike(&[left, right])
            }
            Operator::IsDistinctFrom | Operator::IsNotDistinctFrom => alike(&[left, right]),
            _ => false,
        },
        Expr::Between(Between { expr, low, high, .. }) => alike(&[expr, low]) && alike(&[expr, high]),
        Expr::InList(InList { expr, list, .. }) => list.iter().all(|listed| alike(&[expr, listed])),
        Expr::Like(Like { expr, pattern, .. }) => {
            matches!(pattern.as_ref(), Expr::Literal(..)) && alike(&[expr, pattern])
        }
        Expr::Case(case) => is_total_case(case, schema),
        Expr::Cast(Cast { expr, field }) if let Expr::Literal(value, _) = expr.as_ref() => {
            value.cast_to(field.data_type()).is_ok()
        }
        Expr::Cast(Cast { expr, field }) => {
            total(expr) && expr.get_type(schema).is_ok_and(|from| is_total_cast(&from, field.data_type()))
        }
        Expr::TryCast(TryCast { expr, .. }) => total(expr),
        Expr::ScalarFunction(call) => {
            let args: Vec<&Expr> = call.args.iter().collect();
            match (call.name(), args.as_slice()) {
                ("date_trunc" | "date_part", [Expr::Literal(..), time]) => total(time) && is_of(time, schema, is_time),
                ("date_bin", [Expr::Literal(..), time, rest @ ..]) => {
                    total(time) && is_of(time, schema, is_time) && rest.iter().all(|origin| !origin.any_column_refs())
                }
                ("coalesce" | "nullif", args) => alike(args),
                (name, args) if OF_TEXT.contains(&name) => {
                    args.iter().all(|text| total(text) && is_of(text, schema, is_text))
                }
                _ => false,
            }
        }
        _ => false,
    }
}

fn is_total_case(case: &Case, schema: &DFSchema) -> bool {
    let total = |part: &Expr| is_total(part, schema);
    let when: Vec<&Expr> = case.when_then_expr.iter().map(|(when, _)| when.as_ref()).collect();
    let answers: Vec<&Expr> =
        case.when_then_expr.iter().map(|(_, then)| then.as_ref()).chain(case.else_expr.as_deref()).collect();
    let compared = match case.expr.as_deref() {
        None => true,
        Some(of) => total(of) && when.iter().all(|when| are_alike(&[of, when], schema)),
    };
    compared && when.iter().chain(&answers).all(|part| total(part)) && are_alike(&answers, schema)
}

/// Whether the expressions come to one type without failing. A constant text may be any other constant: it is read once.
fn are_alike(parts: &[&Expr], schema: &DFSchema) -> bool {
    let is_constant_text = |part: &Expr| matches!(part, Expr::Literal(..)) && is_of(part, schema, is_text);
    let typed: Vec<DataType> = match parts.iter().map(|part| part.get_type(schema)).collect() {
        Ok(typed) => typed,
        Err(_) => return false,
    };
    let all = |is: fn(&DataType) -> bool| typed.iter().all(|data_type| is(data_type) || data_type.is_null());
    let is_time_or_constant = || {
        let mut pairs = parts.iter().zip(&typed);
        pairs.all(|(part, data_type)| is_time(data_type) || data_type.is_null() || is_constant_text(part))
    };
    let is_same = |data_type: &DataType| *data_type == typed[0];
    typed.iter().all(is_same) || all(is_text) || all(is_number) || all(is_boolean) || is_time_or_constant()
}

fn is_of(expr: &Expr, schema: &DFSchema, is: fn(&DataType) -> bool) -> bool {
    expr.get_type(schema).is_ok_and(|data_type| is(&data_type))
}

fn is_boolean(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Boolean)
}

fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..))
}

fn is_number(data_type: &DataType) -> bool {
    match data_type {
        DataType::Decimal128(digits, _) => *digits <= DIGITS_MAX,
        other => other.is_signed_integer() || other.is_floating(),
    }
}

/// See the module for times.
fn is_total_cast(from: &DataType, to: &DataType) -> bool {
    matches!((from, to), (DataType::Timestamp(..), DataType::Timestamp(..) | DataType::Date32)) || never_fails(from, to)
}

//! `CHECK (count BETWEEN 1 AND 1000)` behind a parameter of an endpoint: the range of its values.
//!
//! Only ranges with literal bounds: the server checks them before anything is planned, and OpenAPI can say them.

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use crate::catalog::{CatalogError, ParameterRange};

/// Reads what follows the word CHECK of the parameter `name`.
pub fn read(
    cursor: &mut Cursor,
    name: &str,
    data_type: &DataType,
    default: Option<&str>,
) -> Result<ParameterRange, CatalogError> {
    let position = cursor.position();
    cursor.expect_symbol(&Token::LParen)?;
    let condition = cursor.parse(|parser| parser.parse_expr())?;
    cursor.expect_symbol(&Token::RParen)?;
    if !data_type.is_numeric() {
        return Err(position.bad(format!("parameter '{name}' is not a number; CHECK is for ranges of numbers")));
    }
    let mut range = ParameterRange::default();
    if !narrow(&mut range, &condition, name) {
        return Err(position.bad(format!(
            "CHECK of parameter '{name}' must be a range with literal bounds, such as ({name} BETWEEN 1 AND 1000) or ({name} >= 1)"
        )));
    }
    for bound in [&range.least, &range.most].into_iter().flatten() {
        if data_type.is_integer() && bound.parse::<i128>().is_err() {
            return Err(position.bad(format!("CHECK of parameter '{name}': {bound} is not a whole number")));
        }
    }
    let number = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<f64>().ok());
    let (least, most) = (number(&range.least), number(&range.most));
    if least.zip(most).is_some_and(|(least, most)| least > most) {
        return Err(position.bad(format!("CHECK of parameter '{name}' holds for no value")));
    }
    if let Some(default) = default.and_then(|text| text.trim().parse::<f64>().ok())
        && (least.is_some_and(|least| default < least) || most.is_some_and(|most| default > most))
    {
        return Err(position.bad(format!("the default of parameter '{name}' is outside its CHECK")));
    }
    Ok(range)
}

/// Adds what `condition` says to `range`; false when it is not a range of `name`, or says a side twice.
fn narrow(range: &mut ParameterRange, condition: &Expr, name: &str) -> bool {
    match condition {
        Expr::Nested(inner) => narrow(range, inner, name),
        Expr::Between { expr, negated: false, low, high } if is_parameter(expr, name) => {
            set(&mut range.least, literal(low)) && set(&mut range.most, literal(high))
        }
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            narrow(range, left, name) && narrow(range, right, name)
        }
        Expr::BinaryOp { left, op: BinaryOperator::GtEq, right } if is_parameter(left, name) => {
            set(&mut range.least, literal(right))
        }
        Expr::BinaryOp { left, op: BinaryOperator::LtEq, right } if is_parameter(left, name) => {
            set(&mut range.most, literal(right))
        }
        _ => false,
    }
}

fn set(side: &mut Option<String>, bound: Option<String>) -> bool {
    let is_new = side.is_none() && bound.is_some();
    *side = bound;
    is_new
}

fn is_parameter(expression: &Expr, name: &str) -> bool {
    match expression {
        Expr::Identifier(found) if found.quote_style.is_some() => found.value == name,
        Expr::Identifier(found) => found.value.eq_ignore_ascii_case(name),
        _ => false,
    }
}

/// A number as written, with its sign.
fn literal(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) => Some(text.to_string()),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
            literal(expr).filter(|text| !text.starts_with('-')).map(|text| format!("-{text}"))
        }
        _ => None,
    }
}

//! Numbers that SQL writes and DECIMAL cannot hold, and VALUES that mix both kinds of numbers.
//!
//! A number with an exponent, or of more than 38 digits, is a DOUBLE: `1e300`. Other numbers with a point are decimals, which
//! keep every digit. VALUES get their types while they are planned, so a column of them that holds a DOUBLE has its decimals
//! made DOUBLEs here, before; everything else is `functions::numbers`.

use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType as SqlType, ExactNumberInfo, Expr, Query, SetExpr, UnaryOperator, Value, Values, VisitMut,
    VisitorMut,
};

/// Digits of the longest decimal.
const DIGITS_MAX: usize = 38;

/// The type of an expression that reads no column, where it has one.
pub(super) type TypeOf<'a> = &'a dyn Fn(&Expr) -> Option<DataType>;

/// Writes a statement or an expression so that numbers have the types that they are meant to have.
pub(super) fn settle_literals<T: VisitMut>(written: &mut T, type_of: TypeOf<'_>) {
    // It never breaks.
    let _ = written.visit(&mut Settling { type_of });
}

struct Settling<'a> {
    type_of: TypeOf<'a>,
}

impl VisitorMut for Settling<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Value(value) = expr
            && let Value::Number(text, _) = &value.value
            && is_double(text)
        {
            *expr = in_double(std::mem::replace(expr, Expr::value(Value::Null)));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        each_values(&mut query.body, &mut |values: &mut Values| self.make_alike(values));
        ControlFlow::Continue(())
    }
}

/// All VALUES of a query that are not inside another query.
pub(super) fn each_values(body: &mut SetExpr, with: &mut dyn FnMut(&mut Values)) {
    match body {
        SetExpr::Values(values) => with(values),
        SetExpr::SetOperation { left, right, .. } => {
            each_values(left, with);
            each_values(right, with);
        }
        _ => {}
    }
}

/// Whether a number is written as no decimal can be; one beyond DOUBLE stays what it is, an error.
fn is_double(text: &str) -> bool {
    if text.len() <= DIGITS_MAX && !text.contains(['e', 'E']) {
        return false;
    }
    let digits = text.replace('_', "");
    if !digits.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte)) {
        return false;
    }
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, _)) => (mantissa, true),
        None => (digits.as_str(), false),
    };
    let (whole, places) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_long = whole.trim_start_matches('0').len() + places.len() > DIGITS_MAX;
    let is_zero = mantissa.bytes().all(|byte| byte == b'0' || byte == b'.');
    (exponent || is_long) && digits.parse::<f64>().is_ok_and(|value| value.is_finite() && (value != 0.0) != is_zero)
}

/// `1.5e-3` as `0.0015`; `None`: it has no exponent, or more digits than a decimal.
pub(super) fn without_exponent(text: &str) -> Option<String> {
    let digits = text.replace('_', "");
    let (mantissa, exponent) = digits.split_once(['e', 'E'])?;
    let (whole, places) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.parse::<isize>().ok().filter(|exponent| exponent.unsigned_abs() <= DIGITS_MAX)?;
    let all = format!("{whole}{places}");
    let point = isize::try_from(whole.len()).ok()?.checked_add(exponent)?;
    let plain = match usize::try_from(point) {
        Err(_) => format!("0.{}{all}", "0".repeat(point.unsigned_abs())),
        Ok(0) => format!("0.{all}"),
        Ok(point) if point >= all.len() => format!("{all}{}", "0".repeat(point - all.len())),
        Ok(point) => format!("{}.{}", &all[..point], &all[point..]),
    };
    (plain.len() <= DIGITS_MAX && !is_double(&plain)).then_some(plain)
}

/// The number that an expression writes, and whether it is negative.
pub(super) fn number(expr: &Expr) -> Option<(&str, bool)> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) => Some((text, false)),
            _ => None,
        },
        Expr::Nested(inner) => number(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => number(expr).map(|(text, negative)| (text, !negative)),
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => number(expr),
        _ => None,
    }
}

pub(super) fn cast(expr: Expr, data_type: SqlType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

/// A number is read as DOUBLE from its text, so it is the nearest one.
pub(super) fn in_double(expr: Expr) -> Expr {
    let text = number(&expr).map(|(text, negative)| format!("{}{text}", if negative { "-" } else { "" }));
    let expr = match text {
        Some(text) => Expr::value(Value::SingleQuotedString(text.replace('_', ""))),
        None => expr,
    };
    cast(expr, SqlType::Double(ExactNumberInfo::None))
}

/// What a cell of VALUES is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Whole,
    Decimal,
    Floating,
    Text,
    Bytes,
    /// NULL and parameters: what their column is.
    Any,
    Other,
    /// Only planning tells.
    Unknown,
}

pub(super) fn cell(expr: &Expr) -> Cell {
    if let Some((text, _)) = number(expr) {
        return match text.contains('.') || text.len() > 18 {
            true => Cell::Decimal,
            false => Cell::Whole,
        };
    }
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Null | Value::Placeholder(_) => Cell::Any,
            Value::Boolean(_) => Cell::Other,
            Value::HexStringLiteral(_) => Cell::Bytes,
            _ => Cell::Text,
        },
        Expr::Nested(inner) => cell(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } => cell(expr),
        Expr::Cast { data_type, .. } => of_type(data_type),
        _ => Cell::Unknown,
    }
}

fn of_type(data_type: &SqlType) -> Cell {
    match data_type {
        SqlType::Double(_) | SqlType::DoublePrecision | SqlType::Real | SqlType::Float(_) => Cell::Floating,
        SqlType::Float4 | SqlType::Float8 => Cell::Floating,
        SqlType::Decimal(_) | SqlType::Numeric(_) | SqlType::Dec(_) => Cell::Decimal,
        SqlType::Varchar(_) | SqlType::Text | SqlType::String(_) => Cell::Text,
        SqlType::Bytea => Cell::Bytes,
        _ => Cell::Other,
    }
}

impl Settling<'_> {
    fn make_alike(&self, values: &mut Values) {
        let columns = values.rows.iter().map(|row| row.content.len()).max().unwrap_or(0);
        for column in 0..columns {
            let written = values.rows.iter().map(|row| row.content.get(column).map_or(Cell::Other, cell));
            let mut cells: Vec<Cell> = written.collect();
            let is_number = |cell: &&Cell| matches!(cell, Cell::Decimal | Cell::Floating | Cell::Unknown);
            if !cells.iter().any(|cell| matches!(cell, Cell::Floating | Cell::Unknown))
                || cells.iter().filter(is_number).count() < 2
            {
                continue;
            }
            for (cell, row) in cells.iter_mut().zip(&values.rows) {
                if let (Cell::Unknown, Some(expr)) = (*cell, row.content.get(column)) {
                    *cell = match (self.type_of)(expr) {
                        Some(data_type) if data_type.is_decimal() => Cell::Decimal,
                        Some(data_type) if data_type.is_floating() => Cell::Floating,
                        _ => Cell::Other,
                    };
                }
            }
            if !cells.contains(&Cell::Floating) {
                continue;
            }
            for (cell, row) in cells.into_iter().zip(&mut values.rows) {
                if let (Cell::Decimal, Some(expr)) = (cell, row.content.get_mut(column)) {
                    *expr = in_double(std::mem::replace(expr, Expr::value(Value::Null)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn check(sql: &str, expected: &str) {
        let mut statements = Parser::parse_sql(&GenericDialect {}, sql).unwrap();
        settle_literals(&mut statements[0], &|_| Some(DataType::Decimal128(10, 2)));
        assert_eq!(statements[0].to_string(), expected);
    }

    #[test]
    fn what_no_decimal_holds_is_a_double() {
        check("SELECT 1e3, -2.5E-7, 0.5, 7", "SELECT CAST('1e3' AS DOUBLE), -CAST('2.5E-7' AS DOUBLE), 0.5, 7");
        let (fits, long) = ("9".repeat(38), "9".repeat(39));
        check(&format!("SELECT {fits}, 0.{fits}"), &format!("SELECT {fits}, 0.{fits}"));
        check(&format!("SELECT 0{long}"), &format!("SELECT CAST('0{long}' AS DOUBLE)"));
        check("SELECT 1e400, 1e-400, 0e-400", "SELECT 1e400, 1e-400, CAST('0e-400' AS DOUBLE)");
    }

    #[test]
    fn columns_of_values_are_of_one_kind() {
        check("VALUES (0.5, 0.5), (1e3, 2)", "VALUES (CAST('0.5' AS DOUBLE), 0.5), (CAST('1e3' AS DOUBLE), 2)");
        let double = "CAST(x AS DOUBLE)";
        check(
            &format!("SELECT * FROM (VALUES (f(1)), (-0.5), ({double}), (NULL)) AS t"),
            &format!(
                "SELECT * FROM (VALUES (CAST(f(1) AS DOUBLE)), (CAST('-0.5' AS DOUBLE)), ({double}), (NULL)) AS t"
            ),
        );
        check("VALUES (f(1)), (0.5)", "VALUES (f(1)), (0.5)");
    }

    #[test]
    fn exponents_are_written_out() {
        let plain = |text: &str| without_exponent(text);
        assert_eq!(plain("1.5e-3").as_deref(), Some("0.0015"));
        assert_eq!(plain("1.5E3").as_deref(), Some("1500"));
        assert_eq!(plain("12.345e1").as_deref(), Some("123.45"));
        assert_eq!(plain("12e-2").as_deref(), Some("0.12"));
        assert_eq!(plain("1e30").as_deref(), Some(format!("1{}", "0".repeat(30)).as_str()));
        assert_eq!((plain("1e38"), plain("1.5"), plain("1e-300")), (None, None, None));
    }
}

//! `INSERT … VALUES`: each value is meant for its column, not for what stands above and below it.
//!
//! VALUES have one type per column, found from all its rows; `('a'), (1)` has none. So where the values of a column differ in
//! kind they are written as values of the target's kind, before planning. Whether they fit the column is not decided here
//! (`conform`), so nothing is cut.

use arrow::datatypes::{DataType, Schema};
use datafusion::sql::parser::Statement as SqlStatement;
use datafusion::sql::sqlparser::ast::{DataType as SqlType, Expr, Statement, UnaryOperator, Value, Values};

use crate::query::literals::{Cell, cast, cell, each_values, in_double, number, without_exponent};

/// Writes the VALUES of `statement` for the columns at `places` of a table.
pub(super) fn write_for(statement: &mut SqlStatement, places: &[usize], columns: &Schema) {
    let SqlStatement::Statement(statement) = statement else { return };
    let Statement::Query(query) = statement.as_mut() else { return };
    each_values(&mut query.body, &mut |values: &mut Values| {
        for (at, place) in places.iter().enumerate() {
            if let Some(field) = columns.fields().get(*place) {
                write_column(values, at, field.data_type());
            }
        }
    });
}

fn write_column(values: &mut Values, at: usize, target: &DataType) {
    let cells: Vec<Cell> = values.rows.iter().filter_map(|row| row.content.get(at)).map(cell).collect();
    let known = |cell: &&Cell| **cell != Cell::Any;
    let is_mixed = cells.iter().filter(known).any(|cell| Some(cell) != cells.iter().find(known));
    let cells_of = values.rows.iter_mut().filter_map(|row| row.content.get_mut(at));
    for (cell, expr) in cells.into_iter().zip(cells_of) {
        let write: Option<fn(Expr) -> Expr> = match (target, cell) {
            (_, Cell::Any) => None,
            (DataType::Float32 | DataType::Float64, Cell::Decimal) => Some(in_double),
            (target, Cell::Whole | Cell::Decimal) if target.is_integer() || target.is_decimal() => Some(written_out),
            (DataType::Utf8, cell) if is_mixed && cell != Cell::Text => Some(|expr| cast(expr, SqlType::Varchar(None))),
            (DataType::Binary, Cell::Text | Cell::Unknown) if is_mixed => Some(|expr| cast(expr, SqlType::Bytea)),
            _ => None,
        };
        if let Some(write) = write {
            *expr = write(std::mem::replace(expr, Expr::value(Value::Null)));
        }
    }
}

/// `1.5e3` as the 1500 that it is; another number stays.
fn written_out(expr: Expr) -> Expr {
    let plain = number(&expr).and_then(|(text, is_negative)| Some((without_exponent(text)?, is_negative)));
    match plain {
        Some((plain, false)) => Expr::value(Value::Number(plain, false)),
        Some((plain, true)) => {
            let number = Box::new(Expr::value(Value::Number(plain, false)));
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: number }
        }
        None => expr,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;
    use crate::query::planner::parse;

    fn check(target: DataType, sql: &str, expected: &str) {
        let mut statement = parse(sql).unwrap();
        write_for(&mut statement, &[0], &Schema::new(vec![Field::new("c", target, true)]));
        assert_eq!(statement.to_string(), expected);
    }

    #[test]
    fn values_are_written_for_their_column() {
        let doubles = "VALUES (CAST('0.5' AS DOUBLE)), (CAST('-0.25' AS DOUBLE)), (7), (NULL)";
        check(DataType::Float64, "VALUES (0.5), (-0.25), (7), (NULL)", doubles);
        check(DataType::Utf8, "VALUES ('a'), (1), ($1)", "VALUES ('a'), (CAST(1 AS VARCHAR)), ($1)");
        check(DataType::Utf8, "VALUES (1), (2)", "VALUES (1), (2)");
        check(DataType::Binary, "VALUES ('abc'), (X'00ff')", "VALUES (CAST('abc' AS BYTEA)), (X'00ff')");
        check(DataType::Int64, "VALUES (-1e3), (2.5)", "VALUES (-1000), (2.5)");
        check(DataType::Decimal128(18, 6), "VALUES (1.5e-3), (1e300)", "VALUES (0.0015), (1e300)");
    }
}

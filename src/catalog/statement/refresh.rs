//! Statements about the rows of materialized views: REFRESH, EXPLAIN REFRESH, VERIFY.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Value, Visit, Visitor};

use super::cursor::{Cursor, Position};
use super::{Refresh, RefreshScope, Statement, names};
use crate::catalog::CatalogError;

/// `REFRESH MATERIALIZED VIEW name [FULL | BETWEEN a AND b]`
pub fn refresh(cursor: &mut Cursor) -> Result<Statement, CatalogError> {
    cursor.expect_word("REFRESH")?;
    let view = materialized_view(cursor)?;
    let scope = match cursor.word("FULL") {
        true => RefreshScope::Full,
        false => range(cursor)?.map_or(RefreshScope::Pending, |(from, to)| RefreshScope::Between(from, to)),
    };
    cursor.expect_end()?;
    Ok(Statement::Refresh(Refresh { view, scope }))
}

/// `VERIFY MATERIALIZED VIEW name [BETWEEN a AND b]`
pub fn verify(cursor: &mut Cursor) -> Result<Statement, CatalogError> {
    cursor.expect_word("VERIFY")?;
    let view = materialized_view(cursor)?;
    let range = range(cursor)?;
    cursor.expect_end()?;
    Ok(Statement::Verify { view, range })
}

/// What follows EXPLAIN: `REFRESH [MATERIALIZED VIEW] name`
pub fn explain(cursor: &mut Cursor) -> Result<Statement, CatalogError> {
    cursor.expect_word("REFRESH")?;
    cursor.words(&["MATERIALIZED", "VIEW"]);
    let view = names::object_name(cursor, "the name of the materialized view")?;
    cursor.expect_end()?;
    Ok(Statement::ExplainRefresh { view })
}

fn materialized_view(cursor: &mut Cursor) -> Result<String, CatalogError> {
    cursor.expect_word("MATERIALIZED")?;
    cursor.expect_word("VIEW")?;
    names::object_name(cursor, "the name of the materialized view")
}

/// `BETWEEN a AND b`, if it comes next.
fn range(cursor: &mut Cursor) -> Result<Option<(String, String)>, CatalogError> {
    if !cursor.word("BETWEEN") {
        return Ok(None);
    }
    let from = bound(cursor)?;
    cursor.expect_word("AND")?;
    let to = bound(cursor)?;
    Ok(Some((from, to)))
}

/// An expression that is the same for all rows, as written.
fn bound(cursor: &mut Cursor) -> Result<String, CatalogError> {
    let (from, position) = (cursor.offset(), cursor.position());
    let expression = cursor.bound()?;
    match expression.visit(&mut Constant { position }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(cursor.slice(from, cursor.offset_behind()).trim().to_owned()),
    }
}

/// Refuses what depends on rows or on the client.
struct Constant {
    position: Position,
}

impl Visitor for Constant {
    type Break = CatalogError;

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<CatalogError> {
        let wrong = |what: &str| {
            let position = self.position;
            ControlFlow::Break(position.bad(format!(
                "a bound of BETWEEN is a moment, such as '2026-03-01' or now() - INTERVAL '1 day'; it cannot contain {what}"
            )))
        };
        match expression {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => wrong("a column"),
            Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } => wrong("a query"),
            Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => wrong("a parameter"),
            _ => ControlFlow::Continue(()),
        }
    }
}

//! `[CONSTRAINT name] CHECK (expression)`: which rows a table takes.

use std::ops::ControlFlow;

use arrow::datatypes::Schema;
use datafusion::sql::sqlparser::ast::{Expr, Ident, Visit, Visitor};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::{Cursor, Position};
use super::names;
use crate::base::suggestion;
use crate::catalog::CatalogError;

/// A constraint as written, its columns not looked up yet (they may be declared behind it).
#[derive(Debug)]
pub struct Check {
    name: Option<String>,
    text: String,
    expression: Expr,
    position: Position,
}

/// Reads a constraint.
pub fn read(cursor: &mut Cursor) -> Result<Check, CatalogError> {
    let name = match cursor.word("CONSTRAINT") {
        true => Some(names::identifier(cursor, "the name of the constraint")?),
        false => None,
    };
    if !cursor.word("CHECK") {
        let message = "only CHECK constraints are supported; for keys use WITH (event_key='column')";
        return Err(cursor.position().unimplemented(message));
    }
    cursor.expect_symbol(&Token::LParen)?;
    let from = cursor.offset();
    let position = cursor.position();
    let expression = cursor.parse(|parser| parser.parse_expr())?;
    let text = cursor.slice(from, cursor.offset_behind()).trim().to_owned();
    cursor.expect_symbol(&Token::RParen)?;
    Ok(Check { name, text, expression, position })
}

impl Check {
    /// The constraint's name (its text when it has none) and text, after its columns were found in `columns`.
    pub fn against(self, columns: &Schema) -> Result<(String, String), CatalogError> {
        let mut visitor = Columns { columns, position: self.position };
        match self.expression.visit(&mut visitor) {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok((self.name.unwrap_or_else(|| self.text.clone()), self.text)),
        }
    }
}

/// Looks at every name in the expression.
struct Columns<'a> {
    columns: &'a Schema,
    position: Position,
}

impl Columns<'_> {
    fn column(&self, ident: &Ident) -> ControlFlow<CatalogError> {
        let name = names::fold(ident);
        if self.columns.fields().iter().any(|field| *field.name() == name) {
            return ControlFlow::Continue(());
        }
        let near = suggestion(&name, self.columns.fields().iter().map(|field| field.name().as_str()));
        let position = if ident.span.start.line == 0 { self.position } else { ident.span.start.into() };
        ControlFlow::Break(position.bad(format!("CHECK names the unknown column '{name}'{near}")))
    }
}

impl Visitor for Columns<'_> {
    type Break = CatalogError;

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<CatalogError> {
        match expression {
            Expr::Identifier(ident) => self.column(ident),
            Expr::CompoundIdentifier(_) => {
                ControlFlow::Break(self.position.bad("CHECK names columns of its own table, without a table in front"))
            }
            Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } => {
                ControlFlow::Break(self.position.bad("CHECK sees one row at a time: it cannot contain a query"))
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

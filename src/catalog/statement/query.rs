//! Queries inside definitions: kept as written, checked for syntax, and asked which relations they read.
//!
//! What the names mean is the planner's business (`query`); here only the text is known.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Query, Select, SetExpr, TableFactor, Visit, Visitor};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::{Cursor, Position, is_word, offsets, tokenize};
use super::names;
use crate::catalog::CatalogError;

/// Stands in an endpoint's query where `?filter=column:value` applies. See
/// [`EndpointDefinition::query_with_filters`](crate::catalog::EndpointDefinition::query_with_filters).
pub const FILTERS_FUNCTION: &str = "adlake_filters";

/// A query that becomes part of a definition.
#[derive(Debug)]
pub struct StoredQuery {
    pub text: String,
    /// Names of relations it reads, sorted, each once; without CTEs, table functions and the schemas `system` and
    /// `information_schema`.
    pub reads: Vec<String>,
    pub parameters: Vec<ParameterUse>,
    /// Places of `adlake_filters()`.
    pub filters: Vec<Position>,
}

/// A `$name`, `$1` or `?` in the text; `name` comes without the `$`.
#[derive(Debug)]
pub struct ParameterUse {
    pub name: String,
    pub position: Position,
}

impl StoredQuery {
    pub fn refuse_parameters(&self, of: &str) -> Result<(), CatalogError> {
        match self.parameters.first() {
            Some(used) => {
                Err(used.position.bad(format!("the query of {of} cannot have parameters; only endpoints have them")))
            }
            None => Ok(()),
        }
    }

    pub fn refuse_filters(&self) -> Result<(), CatalogError> {
        match self.filters.first() {
            Some(position) => {
                Err(position.bad(format!("{FILTERS_FUNCTION}() belongs into endpoints WITH (filters='…')")))
            }
            None => Ok(()),
        }
    }
}

/// Reads the query of a definition.
pub fn stored(cursor: &mut Cursor) -> Result<StoredQuery, CatalogError> {
    let from = cursor.offset();
    let start = cursor.position();
    let query = read(cursor)?;
    let text = cursor.slice(from, cursor.offset_behind()).trim().to_owned();
    let mut places = Places { start, parameters: Vec::new(), filters: Vec::new() };
    places.collect(&text)?;
    Ok(StoredQuery { reads: reads(&query), text, parameters: places.parameters, filters: places.filters })
}

/// Reads a query and refuses what would change something: `SELECT … INTO`, `WITH … INSERT`.
pub fn read(cursor: &mut Cursor) -> Result<Box<Query>, CatalogError> {
    let position = cursor.position();
    let query = cursor.parse(|parser| parser.parse_query())?;
    match query.visit(&mut ReadOnly) {
        ControlFlow::Break(message) => Err(position.unimplemented(message)),
        ControlFlow::Continue(()) => Ok(query),
    }
}

/// Reads a condition; its subqueries change nothing either.
pub fn predicate(cursor: &mut Cursor) -> Result<(), CatalogError> {
    let position = cursor.position();
    let condition = cursor.parse(|parser| parser.parse_expr())?;
    match condition.visit(&mut ReadOnly) {
        ControlFlow::Break(message) => Err(position.unimplemented(message)),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// `query` with every `adlake_filters()` replaced by `predicate` in parentheses.
pub fn replace_filters(query: &str, predicate: &str) -> Result<String, CatalogError> {
    let tokens = tokenize(query)?;
    let offsets = offsets(query, &tokens);
    let words: Vec<usize> =
        (0..tokens.len()).filter(|index| !matches!(tokens[*index].token, Token::Whitespace(_))).collect();
    let mut text = String::with_capacity(query.len() + predicate.len());
    let mut copied = 0;
    for window in words.windows(3) {
        let [name, open, close] = window else { continue };
        let is_call = is_word(&tokens[*name].token, FILTERS_FUNCTION)
            && tokens[*open].token == Token::LParen
            && tokens[*close].token == Token::RParen;
        if is_call {
            text.push_str(query.get(copied..offsets[*name]).unwrap_or_default());
            text.push_str(&format!("({predicate})"));
            copied = offsets[*close + 1];
        }
    }
    text.push_str(query.get(copied..).unwrap_or_default());
    Ok(text)
}

/// Relations a query reads, sorted.
fn reads(query: &Query) -> Vec<String> {
    let mut relations = Relations::default();
    let _: ControlFlow<()> = query.visit(&mut relations);
    relations.names.into_iter().collect()
}

/// Collects relation names with the scoping of CTEs: inside `WITH a AS (…), b AS (…)` the query of `b` sees `a`, the query
/// of `a` sees neither (unless RECURSIVE), so `WITH clicks AS (SELECT … FROM clicks)` reads the table.
#[derive(Default)]
struct Relations {
    names: BTreeSet<String>,
    scopes: Vec<Scope>,
}

struct Scope {
    ctes: Vec<(*const Query, String)>,
    /// How many of them can be seen.
    visible: usize,
}

impl Relations {
    fn is_cte(&self, name: &str) -> bool {
        self.scopes.iter().any(|scope| scope.ctes.iter().take(scope.visible).any(|(_, cte)| cte == name))
    }
}

impl Visitor for Relations {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let ctes: Vec<(*const Query, String)> = query
            .with
            .iter()
            .flat_map(|with| &with.cte_tables)
            .map(|cte| (std::ptr::from_ref(&*cte.query), names::fold(&cte.alias.name)))
            .collect();
        let visible = if query.with.as_ref().is_some_and(|with| with.recursive) { ctes.len() } else { 0 };
        self.scopes.push(Scope { ctes, visible });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.scopes.pop();
        if let Some(scope) = self.scopes.last_mut()
            && let Some(index) = scope.ctes.iter().position(|(cte, _)| std::ptr::eq(*cte, query))
        {
            scope.visible = scope.visible.max(index + 1);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args: None, .. } = factor {
            let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(names::fold).collect();
            if let Some(name) = names::reduce(&parts)
                && !(parts.len() == 1 && self.is_cte(name))
            {
                self.names.insert(name.to_owned());
            }
        }
        ControlFlow::Continue(())
    }
}

/// Finds statements hidden in queries.
struct ReadOnly;

impl Visitor for ReadOnly {
    type Break = &'static str;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<&'static str> {
        match *query.body {
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => ControlFlow::Break(
                "a query cannot contain INSERT, UPDATE, DELETE or MERGE; write INSERT INTO … WITH … SELECT",
            ),
            SetExpr::Select(_)
            | SetExpr::Query(_)
            | SetExpr::SetOperation { .. }
            | SetExpr::Values(_)
            | SetExpr::Table(_) => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<&'static str> {
        match select.into {
            Some(_) => {
                ControlFlow::Break("SELECT … INTO is not supported: create the table, then INSERT INTO … SELECT")
            }
            None => ControlFlow::Continue(()),
        }
    }
}

/// Places in the whole statement of what stands in the query's text.
struct Places {
    start: Position,
    parameters: Vec<ParameterUse>,
    filters: Vec<Position>,
}

impl Places {
    fn collect(&mut self, text: &str) -> Result<(), CatalogError> {
        let tokens = tokenize(text)?;
        let mut words = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).peekable();
        while let Some(token) = words.next() {
            let position = self.in_statement(token.span.start.into());
            match &token.token {
                Token::Placeholder(name) => {
                    let name = name.strip_prefix('$').unwrap_or(name).to_owned();
                    self.parameters.push(ParameterUse { name, position });
                }
                Token::Question => self.parameters.push(ParameterUse { name: "?".to_owned(), position }),
                word if is_word(word, FILTERS_FUNCTION)
                    && words.peek().is_some_and(|next| next.token == Token::LParen) =>
                {
                    self.filters.push(position);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn in_statement(&self, place: Position) -> Position {
        if place.line == 1 {
            Position { line: self.start.line, column: self.start.column + place.column - 1 }
        } else {
            Position { line: self.start.line + place.line - 1, column: place.column }
        }
    }
}

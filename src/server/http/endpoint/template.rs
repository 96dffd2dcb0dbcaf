//! An endpoint's query, cut at its parameters and at `adlake_filters()`.
//!
//! The query is cut once, by SQL's own tokens, so text in strings and comments is never touched. A request then joins the
//! pieces: a parameter that was sent stays `$name` and is bound; one that was not becomes its default expression, so
//! `now()` is the engine's; the filter call becomes a conjunction of bound placeholders. Equal requests give equal text,
//! which lets the engine reuse what it planned.

use std::fmt::Write;

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use crate::base::quoted;
use crate::catalog::EndpointDefinition;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Parameter(String),
    Filters,
}

/// A query ready to be joined.
#[derive(Clone, Debug)]
pub struct QueryTemplate(Vec<Piece>);

/// A parameter's place in the text.
pub enum Fill<'a> {
    /// Bound under its name.
    Bound,
    /// Not sent: this SQL stands in its place.
    Expression(&'a str),
}

impl QueryTemplate {
    /// Cuts `query` up.
    ///
    /// # Errors
    /// Text that cannot even be split into tokens.
    pub fn new(query: &str) -> Result<Self, String> {
        let dialect = GenericDialect {};
        let tokens = Tokenizer::new(&dialect, query).tokenize_with_location().map_err(|error| error.to_string())?;
        let places = Places::new(query);
        let mut pieces = Vec::new();
        // Text up to here is in `pieces`; what follows is copied from the query itself, not printed from tokens.
        let mut copied = 0;
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let (piece, length) = match (&token.token, filter_call(&tokens[at..])) {
                (_, Some(length)) => (Piece::Filters, length),
                (Token::Placeholder(name), None) if name.starts_with('$') => {
                    (Piece::Parameter(name[1..].to_owned()), 1)
                }
                _ => {
                    at += 1;
                    continue;
                }
            };
            let end = tokens[at + length - 1].span.end;
            push_text(&mut pieces, &query[copied..places.byte(token.span.start)]);
            pieces.push(piece);
            copied = places.byte(end);
            at += length;
        }
        push_text(&mut pieces, &query[copied..]);
        Ok(Self(pieces))
    }

    /// The query of one request. `filters` holds for each filtered column how many values it has.
    pub fn join<'a>(&'a self, fill: impl Fn(&'a str) -> Fill<'a>, filters: &[(&str, usize)]) -> String {
        let mut sql = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => sql.push_str(text),
                Piece::Parameter(name) => match fill(name) {
                    Fill::Bound => {
                        sql.push('$');
                        sql.push_str(name);
                    }
                    Fill::Expression(expression) => sql.push_str(expression),
                },
                Piece::Filters => push_filters(&mut sql, filters),
            }
        }
        sql
    }
}

/// The name under which value `index` of filter column number `column` is bound.
pub fn filter_placeholder(column: usize, index: usize) -> String {
    format!("adlake_f{column}_{index}")
}

/// `adlake_filters()`, in any letter case and spacing: its length in tokens.
fn filter_call(tokens: &[TokenWithSpan]) -> Option<usize> {
    match &tokens.first()?.token {
        Token::Word(word)
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(EndpointDefinition::FILTERS_FUNCTION) => {}
        _ => return None,
    }
    let mut real = tokens.iter().enumerate().skip(1).filter(|(_, token)| !matches!(token.token, Token::Whitespace(_)));
    let (_, open) = real.next()?;
    let (close_at, close) = real.next()?;
    (open.token == Token::LParen && close.token == Token::RParen).then_some(close_at + 1)
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

/// Byte offsets of the tokenizer's 1-based lines and columns (counted in characters).
struct Places<'a> {
    query: &'a str,
    lines: Vec<usize>,
}

impl<'a> Places<'a> {
    fn new(query: &'a str) -> Self {
        let breaks = query.match_indices('\n').map(|(at, _)| at + 1);
        Self { query, lines: std::iter::once(0).chain(breaks).collect() }
    }

    fn byte(&self, place: Location) -> usize {
        let line = usize::try_from(place.line).unwrap_or(1).saturating_sub(1);
        let column = usize::try_from(place.column).unwrap_or(1).saturating_sub(1);
        let start = self.lines.get(line).copied().unwrap_or(self.query.len());
        self.query[start..].char_indices().nth(column).map_or(self.query.len(), |(at, _)| start + at)
    }
}

/// Values of one column are alternatives, columns are all required; no filter is TRUE.
fn push_filters(sql: &mut String, filters: &[(&str, usize)]) {
    if filters.iter().all(|(_, count)| *count == 0) {
        sql.push_str("TRUE");
        return;
    }
    sql.push('(');
    let mut first = true;
    for (column, (name, count)) in filters.iter().enumerate().filter(|(_, (_, count))| *count > 0) {
        if !std::mem::take(&mut first) {
            sql.push_str(" AND ");
        }
        let name = quoted(name);
        let names: Vec<String> = (0..*count).map(|index| format!("${}", filter_placeholder(column, index))).collect();
        // Writing to a String cannot fail.
        let _ = match count {
            1 => write!(sql, "{name} = {}", names[0]),
            _ => write!(sql, "{name} IN ({})", names.join(", ")),
        };
    }
    sql.push(')');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(query: &str, absent: &[(&str, &str)], filters: &[(&str, usize)]) -> String {
        let absent: Vec<(String, String)> = absent.iter().map(|(n, e)| ((*n).to_owned(), (*e).to_owned())).collect();
        let template = QueryTemplate::new(query).unwrap();
        template.join(
            |name| match absent.iter().find(|(absent, _)| absent == name) {
                Some((_, expression)) => Fill::Expression(expression),
                None => Fill::Bound,
            },
            filters,
        )
    }

    #[test]
    fn joins_parameters_defaults_and_filters() {
        let query = "SELECT count(*) FROM t WHERE ad = $ad AND at >= $from AND Adlake_Filters ( )";
        assert_eq!(
            join(query, &[("from", "CAST((now()) AS TIMESTAMP)")], &[("country", 2), ("ip", 0), ("user id", 1)]),
            "SELECT count(*) FROM t WHERE ad = $ad AND at >= CAST((now()) AS TIMESTAMP) AND (\"country\" IN ($adlake_f0_0, $adlake_f0_1) AND \"user id\" = $adlake_f2_0)"
        );
        assert_eq!(join("x adlake_filters()", &[], &[("country", 0)]), "x TRUE");
    }

    #[test]
    fn leaves_strings_names_and_comments_alone() {
        let query = "SELECT '$ad adlake_filters() 한글 it''s', \"adlake_filters\" /* $ad adlake_filters() */ -- $ad\n, E'a\\nb', adlake_filters, ";
        assert_eq!(join(query, &[("ad", "0")], &[("c", 1)]), query);
        let after = format!("{query}$ad, 'é', $b;");
        assert_eq!(join(&after, &[("ad", "0")], &[]), format!("{query}0, 'é', $b;"));
    }
}

//! Reads text in PostgreSQL's grammar, with bounded work.
//!
//! The parser reads what is in parentheses twice in some places, to see which of two things it is: the arguments of a call, which may
//! have names, are. So what lies inside n pairs of them is read up to 2ⁿ times.

use datafusion::sql::sqlparser::ast::{Expr, Query, Statement};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::query::depth::is_deeper;

/// Deepest expression that is read, on a thread of ordinary stack.
const LEVELS_MAX: usize = 400;
/// Tokens, each as often as it may be read: about a tenth of a second.
const READS_MAX: u64 = 500_000;

/// The one statement that a text is.
pub(super) fn statement(sql: &str) -> Option<Statement> {
    let [statement] = <[Statement; 1]>::try_from(parser(sql)?.parse_statements().ok()?).ok()?;
    Some(statement)
}

pub(super) fn expression(sql: &str) -> Option<Expr> {
    parser(sql)?.parse_expr().ok()
}

pub(super) fn query(sql: &str) -> Option<Query> {
    parser(sql)?.parse_query().ok().map(|query| *query)
}

fn parser(sql: &str) -> Option<Parser<'static>> {
    let dialect = &PostgreSqlDialect {};
    if is_deeper(sql, dialect, LEVELS_MAX) {
        return None;
    }
    let tokens = Tokenizer::new(dialect, sql).tokenize().ok()?;
    (reads(&tokens) <= READS_MAX).then(|| Parser::new(dialect).with_tokens(tokens))
}

fn reads(tokens: &[Token]) -> u64 {
    let (mut open, mut reads) = (0_u32, 0_u64);
    for token in tokens {
        match token {
            Token::LParen => open = open.saturating_add(1),
            Token::RParen => open = open.saturating_sub(1),
            _ => {}
        }
        reads = reads.saturating_add(1_u64.checked_shl(open).unwrap_or(u64::MAX));
    }
    reads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_inside_calls_are_read_while_that_is_little_work() {
        let nested = |depth: usize| format!("SELECT {}1{}", "f(".repeat(depth), ")".repeat(depth));
        assert!(statement(&nested(10)).is_some());
        assert!(statement(&nested(60)).is_none());
        assert!(expression("CASE WHEN a THEN (b + 1) END").is_some());
        assert!(statement("SELECT 1; SELECT 2").is_none());
    }
}

//! Refuses texts whose expressions would be nested deeper than a stack holds.
//!
//! `1 + 1 + 1 …` and `1 IS NULL IS NULL …` are trees as deep as they have operators, and freeing or copying such a tree is
//! recursive whatever the parser does. Operators are therefore counted before anything is parsed, by the tokens that the parser
//! reads. A comma ends a chain of operators, so long lists of values or columns are not affected; it does not end one of UNION.

use datafusion::sql::sqlparser::dialect::Dialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::QueryError;
use crate::catalog::tokens;

/// Operators in one chain. A level needs up to some hundred bytes of stack in each of several recursive passes; see
/// `runtime::STACK_BYTES`.
const OPERATORS_MAX: usize = 6_000;

/// Words that chain what they stand between, or stand behind: all that `Dialect::get_next_precedence` knows, and what is read
/// behind a table.
const WORDS: [Keyword; 25] = [
    Keyword::AND,
    Keyword::OR,
    Keyword::XOR,
    Keyword::NOT,
    Keyword::IS,
    Keyword::NOTNULL,
    Keyword::IN,
    Keyword::BETWEEN,
    Keyword::OVERLAPS,
    Keyword::LIKE,
    Keyword::ILIKE,
    Keyword::RLIKE,
    Keyword::REGEXP,
    Keyword::MATCH,
    Keyword::SIMILAR,
    Keyword::MEMBER,
    Keyword::OPERATOR,
    Keyword::DIV,
    Keyword::AT,
    Keyword::COLLATE,
    Keyword::JOIN,
    Keyword::APPLY,
    Keyword::PIVOT,
    Keyword::UNPIVOT,
    Keyword::MATCH_RECOGNIZE,
];
/// Words that chain whole queries, lists of columns included.
const OF_QUERIES: [Keyword; 4] = [Keyword::UNION, Keyword::EXCEPT, Keyword::INTERSECT, Keyword::MINUS];

/// Queries inside the expressions of each other: every level doubles the time DataFusion takes to check and plan them, which is some
/// milliseconds for these. Those behind FROM, JOIN or WITH are not counted, they cost no more than others.
const SUBQUERIES_MAX: usize = 12;
const BEGIN_QUERIES: [Keyword; 5] = [Keyword::SELECT, Keyword::WITH, Keyword::VALUES, Keyword::FROM, Keyword::TABLE];
const BEFORE_TABLES: [Keyword; 4] = [Keyword::FROM, Keyword::JOIN, Keyword::LATERAL, Keyword::AS];

/// # Errors
/// `Invalid`, with what to write instead.
pub(super) fn check_depth(sql: &str) -> Result<(), QueryError> {
    if sql.bytes().filter(|byte| *byte == b'(').count() > SUBQUERIES_MAX && subqueries_inside(sql) > SUBQUERIES_MAX {
        return Err(QueryError::Invalid {
            message: format!("more than {SUBQUERIES_MAX} subqueries inside each other; use WITH (…) or joins"),
        });
    }
    if sql.len() <= OPERATORS_MAX || deepest_chain(sql) <= OPERATORS_MAX {
        return Ok(());
    }
    Err(QueryError::Invalid {
        message: format!("more than {OPERATORS_MAX} operators in one expression; use IN (…) or a join with VALUES"),
    })
}

/// Whether an expression of a text that is parsed in this dialect may be nested deeper than that: dialects differ in where a string
/// ends. Of a text that falls into no tokens nobody knows.
pub(super) fn is_deeper(sql: &str, dialect: &dyn Dialect, levels: usize) -> bool {
    if sql.len() <= levels {
        return false;
    }
    match Tokenizer::new(dialect, sql).tokenize() {
        Ok(tokens) => {
            let read = tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_) | Token::EOF));
            deepest(read) > levels
        }
        Err(_) => true,
    }
}

/// How many queries are inside the expressions of each other; a text without tokens has none.
fn subqueries_inside(sql: &str) -> usize {
    let keyword = |token: &Token| match token {
        Token::Word(word) => word.keyword,
        _ => Keyword::NoKeyword,
    };
    let (mut open, mut now, mut most) = (Vec::new(), 0_usize, 0_usize);
    // Of the last two tokens, and whether the last one opens a parenthesis.
    let (mut before, mut last, mut opens) = (Keyword::NoKeyword, Keyword::NoKeyword, false);
    for (_, token) in tokens(sql).unwrap_or_default() {
        let this = keyword(&token);
        if opens && BEGIN_QUERIES.contains(&this) && !BEFORE_TABLES.contains(&before) {
            if let Some(is_subquery) = open.last_mut() {
                *is_subquery = true;
            }
            now += 1;
            most = most.max(now);
        }
        opens = token == Token::LParen;
        match token {
            Token::LParen => open.push(false),
            Token::RParen => now -= usize::from(open.pop().unwrap_or_default()),
            _ => {}
        }
        (before, last) = (last, this);
    }
    most
}

/// An upper bound of the depth of the expressions in a text; a text without tokens has none.
fn deepest_chain(sql: &str) -> usize {
    deepest(tokens(sql).unwrap_or_default().into_iter().map(|(_, token)| token))
}

fn deepest(tokens: impl Iterator<Item = Token>) -> usize {
    let mut levels = Levels { open: vec![Level::default()], before: [Token::EOF, Token::EOF] };
    for token in tokens {
        levels.read(&token);
        levels.before.swap(0, 1);
        levels.before[1] = token;
    }
    while levels.open.len() > 1 {
        levels.close();
    }
    levels.open.first().map_or(0, Level::depth)
}

/// What is known inside one pair of parentheses.
#[derive(Default)]
struct Level {
    /// Operators since the last comma.
    operators: usize,
    /// The deepest operand since the last comma.
    operand: usize,
    /// The deepest item before the last comma.
    item: usize,
    /// Operators between queries.
    queries: usize,
}

impl Level {
    fn depth(&self) -> usize {
        self.queries + self.item.max(self.operators + self.operand)
    }
}

struct Levels {
    /// One per open parenthesis, outermost first; never empty.
    open: Vec<Level>,
    /// The last two tokens.
    before: [Token; 2],
}

impl Levels {
    fn read(&mut self, token: &Token) {
        match token {
            Token::Word(word) if OF_QUERIES.contains(&word.keyword) => self.count_query(),
            Token::Word(word) if WORDS.contains(&word.keyword) => self.count(),
            Token::VerticalBarRightAngleBracket => self.count_query(),
            Token::LParen => self.open.push(Level::default()),
            Token::LBracket | Token::LBrace => {
                self.count();
                self.open.push(Level::default());
            }
            Token::RParen | Token::RBracket | Token::RBrace => self.close(),
            Token::Comma | Token::SemiColon => self.end_item(),
            Token::Period if self.begins_name() => {}
            Token::Word(_)
            | Token::Number(..)
            | Token::Char(_)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::NationalStringLiteral(_)
            | Token::QuoteDelimitedStringLiteral(_)
            | Token::NationalQuoteDelimitedStringLiteral(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::Placeholder(_) => {}
            // Whatever else there is, or will be, is an operator.
            _ => self.count(),
        }
    }

    /// Whether a period here stands behind the first part of a name: every further one may be a field of a field.
    fn begins_name(&self) -> bool {
        matches!(&self.before, [before, Token::Word(_)] if *before != Token::Period)
    }

    fn end_item(&mut self) {
        if let Some(level) = self.open.last_mut() {
            let item = level.item.max(level.operators + level.operand);
            *level = Level { item, queries: level.queries, ..Level::default() };
        }
    }

    fn count(&mut self) {
        if let Some(level) = self.open.last_mut() {
            level.operators += 1;
        }
    }

    fn count_query(&mut self) {
        if let Some(level) = self.open.last_mut() {
            level.queries += 1;
        }
    }

    /// Ends a level; what was in it is an operand of the level around it. A parenthesis too many is the parser's business.
    fn close(&mut self) {
        if self.open.len() < 2 {
            return;
        }
        let Some(inner) = self.open.pop() else { return };
        if let Some(outer) = self.open.last_mut() {
            outer.operand = outer.operand.max(inner.depth());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subqueries_of_expressions_are_counted_and_tables_are_not() {
        assert_eq!(subqueries_inside("SELECT (SELECT 1), (SELECT (SELECT 2))"), 2);
        assert_eq!(
            subqueries_inside("SELECT 1 WHERE EXISTS (SELECT 1 WHERE 1 IN (WITH a AS (SELECT 1) SELECT * FROM a))"),
            2
        );
        assert_eq!(subqueries_inside("SELECT * FROM (SELECT * FROM (VALUES (1)) AS t) JOIN (SELECT 1) ON true"), 0);
        let nested = |count: usize| format!("SELECT {}1{}", "(SELECT ".repeat(count), ")".repeat(count));
        assert!(check_depth(&nested(SUBQUERIES_MAX)).is_ok());
        assert!(check_depth(&nested(SUBQUERIES_MAX + 1)).is_err());
        assert!(check_depth(&format!("SELECT 1 IN {}", "(".repeat(100))).is_ok(), "the parser's business");
    }

    #[test]
    fn chains_are_counted_across_parentheses() {
        assert_eq!(deepest_chain("1+1+1"), 2);
        assert_eq!(deepest_chain("f(a, b) + f(a, b) + f(a, b)"), 2);
        assert_eq!(deepest_chain("(a = 1 AND b = 2) OR (a = 1 AND b = 2)"), 4);
        assert_eq!(deepest_chain("((1+1)+1)+1"), 3);
        assert_eq!(deepest_chain("x[1][2]::text"), 3);
    }

    #[test]
    fn what_stands_behind_its_operand_is_counted() {
        for operator in [
            " IS NULL",
            " IS NOT TRUE",
            " LIKE 'x'",
            " NOT IN (1)",
            " COLLATE c",
            " AT TIME ZONE 'UTC'",
            "::text",
            "[1]",
            " !",
            " BETWEEN 1",
            " OPERATOR(+) 1",
            " REGEXP 'x'",
            " DIV 1",
            " |> WHERE a, b",
        ] {
            let depth = deepest_chain(&format!("x{}", operator.repeat(100)));
            assert!((100..=200).contains(&depth), "{operator}: {depth}");
        }
        assert_eq!(deepest_chain(&format!("(x){}", ".a".repeat(100))), 100);
        assert_eq!(deepest_chain(&format!("SELECT 1, 2{}", " UNION SELECT 1, 2".repeat(100))), 100);
    }

    #[test]
    fn strings_end_where_the_parser_ends_them() {
        for string in ["E'\\''", "q'[']'", "N'''", "$$'$$", "$a$ ' $a$", "'\\'", "\"'\"", "U&'\\0027'"] {
            let chain = format!("SELECT {string}{}", " IS NULL".repeat(100));
            assert_eq!(deepest_chain(&chain), if tokens(&chain).is_some() { 100 } else { 0 }, "{string}");
        }
        assert_eq!(deepest_chain("SELECT E'\\'', 1+1"), 1);
        assert_eq!(deepest_chain("SELECT q'[']', 1+1"), 1);
    }

    #[test]
    fn strings_end_where_the_dialect_ends_them() {
        use datafusion::sql::sqlparser::dialect::{GenericDialect, PostgreSqlDialect};

        let hidden = format!("SELECT q'[', {}1, 'a]'", "1+".repeat(1000));
        assert!(!is_deeper(&hidden, &GenericDialect {}, 400));
        assert!(is_deeper(&hidden, &PostgreSqlDialect {}, 400));
        let unfinished = format!("SELECT '{}", "1 ".repeat(1000));
        assert!(is_deeper(&unfinished, &PostgreSqlDialect {}, 400), "nobody knows");
        assert!(!is_deeper(&format!("SELECT 1{}", ", 1".repeat(1000)), &PostgreSqlDialect {}, 400));
    }

    #[test]
    fn lists_names_and_quoted_text_are_no_chains() {
        assert_eq!(deepest_chain("VALUES (-1, -2), (-3, -4)"), 1);
        assert_eq!(deepest_chain("'1+1+1' || \"a+b\" -- + + +"), 1);
        assert_eq!(deepest_chain("order_or_and, orders, \"and\".b"), 0);
        assert_eq!(deepest_chain("a.b, c.d, ?, $1, X'00'"), 0);
        assert_eq!(deepest_chain(")]"), 0);
    }

    #[test]
    fn only_very_long_chains_are_refused() {
        assert!(check_depth(&format!("SELECT 1{}", "+1".repeat(5_000))).is_ok());
        assert!(check_depth(&format!("SELECT 1{}", "+1".repeat(7_000))).is_err());
        assert!(check_depth(&format!("VALUES (1){}", ", (-1)".repeat(20_000))).is_ok());
    }
}

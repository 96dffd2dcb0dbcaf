//! A reader over one statement's tokens that knows where it is.
//!
//! Wraps sqlparser's `Parser`, so that our own grammar and sqlparser's (types, expressions, queries) advance over the same
//! tokens, and every error carries a line and a column of the text the user wrote.

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect, Precedence};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, TokenizerError};

use crate::catalog::CatalogError;

/// The dialect of every statement: DataFusion's default.
static DIALECT: GenericDialect = GenericDialect {};

/// 1-based line and column (in characters) in a statement's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub line: u64,
    pub column: u64,
}

impl Position {
    pub fn syntax(self, message: impl Into<String>) -> CatalogError {
        CatalogError::Syntax { line: self.line, column: self.column, message: message.into() }
    }

    pub fn bad(self, message: impl Into<String>) -> CatalogError {
        CatalogError::BadDefinition { line: self.line, column: self.column, message: message.into() }
    }

    pub fn unimplemented(self, message: impl Into<String>) -> CatalogError {
        CatalogError::Unimplemented { line: self.line, column: self.column, message: message.into() }
    }
}

impl From<Location> for Position {
    fn from(location: Location) -> Self {
        Self { line: location.line, column: location.column }
    }
}

/// Where a token starts: in bytes, and for people.
#[derive(Clone, Copy, Debug)]
struct Mark {
    offset: usize,
    position: Position,
    is_space: bool,
}

/// Tokens of one text, read from front to back.
pub struct Cursor<'a> {
    text: &'a str,
    parser: Parser<'static>,
    /// One per token, and one for the end of the text.
    marks: Vec<Mark>,
}

impl<'a> Cursor<'a> {
    /// Splits `text` into tokens; an unfinished string or comment is a syntax error at its place.
    pub fn new(text: &'a str) -> Result<Self, CatalogError> {
        let tokens = tokenize(text)?;
        let marks = marks(text, &tokens);
        let parser = Parser::new(&DIALECT).with_tokens_with_locations(tokens);
        Ok(Self { text, parser, marks })
    }

    /// The next token that is not white space; `EOF` at the end.
    pub fn peek(&self) -> &Token {
        &self.parser.peek_token_ref().token
    }

    /// The token after [`Cursor::peek`].
    pub fn peek_second(&self) -> &Token {
        &self.parser.peek_nth_token_ref(1).token
    }

    /// Where the next token starts.
    pub fn position(&self) -> Position {
        self.mark(self.next_index()).position
    }

    /// Byte offset of the next token.
    pub fn offset(&self) -> usize {
        self.mark(self.next_index()).offset
    }

    /// Byte offset just behind the last token that was read.
    pub fn offset_behind(&self) -> usize {
        self.mark(self.parser.index()).offset
    }

    /// The whole text.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The text between two byte offsets.
    pub fn slice(&self, from: usize, to: usize) -> &'a str {
        self.text.get(from..to).unwrap_or_default()
    }

    pub fn advance(&mut self) {
        self.parser.advance_token();
    }

    /// Reads `word` (a keyword of ours, any letter case, unquoted) if it comes next.
    pub fn word(&mut self, word: &str) -> bool {
        let found = is_word(self.peek(), word);
        if found {
            self.advance();
        }
        found
    }

    /// Reads all of `words` if they come next, else nothing.
    pub fn words(&mut self, words: &[&str]) -> bool {
        let found =
            words.iter().enumerate().all(|(index, word)| is_word(&self.parser.peek_nth_token_ref(index).token, word));
        if found {
            words.iter().for_each(|_| self.advance());
        }
        found
    }

    pub fn expect_word(&mut self, word: &str) -> Result<(), CatalogError> {
        if self.word(word) { Ok(()) } else { Err(self.expected(word)) }
    }

    /// Reads `token` if it comes next.
    pub fn symbol(&mut self, token: &Token) -> bool {
        let found = self.peek() == token;
        if found {
            self.advance();
        }
        found
    }

    pub fn expect_symbol(&mut self, token: &Token) -> Result<(), CatalogError> {
        if self.symbol(token) { Ok(()) } else { Err(self.expected(&format!("'{token}'"))) }
    }

    /// Reads a `'string'`.
    pub fn expect_string(&mut self, what: &str) -> Result<String, CatalogError> {
        match self.peek().clone() {
            Token::SingleQuotedString(text) => {
                self.advance();
                Ok(text)
            }
            _ => Err(self.expected(what)),
        }
    }

    /// Lets sqlparser read something; its errors come back with their position.
    pub fn parse<T>(&mut self, read: impl FnOnce(&mut Parser) -> Result<T, ParserError>) -> Result<T, CatalogError> {
        let start = self.position();
        read(&mut self.parser).map_err(|error| self.parser_error(error, start))
    }

    /// Reads an expression that ends before `AND`, as the bounds of BETWEEN do.
    pub fn bound(&mut self) -> Result<Expr, CatalogError> {
        self.parse(|parser| parser.parse_subexpr(DIALECT.prec_value(Precedence::Between)))
    }

    /// Checks that nothing but an optional `;` follows.
    pub fn expect_end(&mut self) -> Result<(), CatalogError> {
        while self.symbol(&Token::SemiColon) {}
        match self.peek() {
            Token::EOF => Ok(()),
            _ => Err(self.expected("the end of the statement")),
        }
    }

    /// "expected …, found …" at the next token.
    pub fn expected(&self, what: &str) -> CatalogError {
        let found = match self.peek() {
            Token::EOF => "the end of the text".to_owned(),
            token => format!("'{}'", shortened(&token.to_string())),
        };
        self.position().syntax(format!("expected {what}, found {found}"))
    }

    fn next_index(&self) -> usize {
        let first = self.parser.index();
        self.marks.iter().skip(first).position(|mark| !mark.is_space).map_or(self.marks.len(), |ahead| first + ahead)
    }

    fn mark(&self, index: usize) -> Mark {
        let last = self.marks.len().saturating_sub(1);
        self.marks.get(index.min(last)).copied().unwrap_or(Mark {
            offset: 0,
            position: Position { line: 1, column: 1 },
            is_space: false,
        })
    }

    /// sqlparser puts the position into the message's text; without one it ran into the end of the text.
    fn parser_error(&self, error: ParserError, start: Position) -> CatalogError {
        let message = match error {
            ParserError::ParserError(message) | ParserError::TokenizerError(message) => message,
            ParserError::RecursionLimitExceeded => {
                return start.syntax("nested too deeply; split the statement, for example with WITH or a view");
            }
        };
        match split_position(&message) {
            Some((message, position)) => position.syntax(teaching(message)),
            None => self.mark(usize::MAX).position.syntax(teaching(&message)),
        }
    }
}

/// Tokens of `text` with their places.
pub fn tokenize(text: &str) -> Result<Vec<TokenWithSpan>, CatalogError> {
    Tokenizer::new(&DIALECT, text).tokenize_with_location().map_err(|TokenizerError { message, location }| {
        Position { line: location.line.max(1), column: location.column.max(1) }.syntax(teaching(&message))
    })
}

/// Byte offset of each token's start, and at last the length of the text.
pub fn offsets(text: &str, tokens: &[TokenWithSpan]) -> Vec<usize> {
    marks(text, tokens).iter().map(|mark| mark.offset).collect()
}

/// Whether `token` is the unquoted `word`, in any letter case.
pub fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

/// Walks text and tokens side by side: sqlparser counts lines and characters, slicing needs bytes.
fn marks(text: &str, tokens: &[TokenWithSpan]) -> Vec<Mark> {
    let mut at = Location::new(1, 1);
    let mut characters = text.char_indices().peekable();
    let mut marks = Vec::with_capacity(tokens.len() + 1);
    for token in tokens {
        while at < token.span.start {
            match characters.next() {
                Some((_, '\n')) => at = Location::new(at.line + 1, 1),
                Some(_) => at.column += 1,
                None => break,
            }
        }
        let offset = characters.peek().map_or(text.len(), |(offset, _)| *offset);
        let is_space = matches!(token.token, Token::Whitespace(_));
        marks.push(Mark { offset, position: token.span.start.into(), is_space });
    }
    for (_, character) in characters {
        at = if character == '\n' { Location::new(at.line + 1, 1) } else { Location::new(at.line, at.column + 1) };
    }
    marks.push(Mark { offset: text.len(), position: at.into(), is_space: false });
    marks
}

/// `message at Line: 3, Column: 7` → the message and the position.
fn split_position(message: &str) -> Option<(&str, Position)> {
    let (head, tail) = message.rsplit_once(" at Line: ")?;
    let (line, column) = tail.split_once(", Column: ")?;
    Some((head, Position { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? }))
}

/// sqlparser's `Expected: ), found: x` in our style.
fn teaching(message: &str) -> String {
    let message =
        message.strip_prefix("Expected: ").map_or_else(|| message.to_owned(), |rest| format!("expected {rest}"));
    let message =
        message.replacen(", found: EOF", ", found the end of the text", 1).replacen(", found: ", ", found ", 1);
    let mut characters = message.chars();
    let lowered = characters.next().map(|first| first.to_lowercase().collect::<String>() + characters.as_str());
    shortened(&lowered.unwrap_or_default())
}

fn shortened(text: &str) -> String {
    const LENGTH_MAX: usize = 300;
    match text.char_indices().nth(LENGTH_MAX) {
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
        None => text.to_owned(),
    }
}

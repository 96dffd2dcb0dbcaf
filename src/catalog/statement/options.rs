//! `WITH (key = 'value', …)`: read with positions, taken one by one; what nobody took is an error.

use std::fmt::Display;
use std::str::FromStr;

use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::{Cursor, Position};
use super::names;
use crate::base::suggestion;
use crate::catalog::CatalogError;

/// One `key = value`.
#[derive(Clone, Debug)]
pub struct OptionValue {
    pub key: String,
    pub text: String,
    pub key_position: Position,
    /// Where the value is written.
    pub position: Position,
}

impl OptionValue {
    /// The value as a `T`; its own error text tells what is expected.
    pub fn parse<T>(&self) -> Result<T, CatalogError>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.text.parse().map_err(|error| self.position.bad(format!("option {}: {error}", self.key)))
    }

    /// The value as a list of words separated by commas, empty ones left out.
    pub fn list(&self) -> Vec<String> {
        self.text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }
}

/// The options of one statement that were not taken yet.
#[derive(Debug, Default)]
pub struct Options(Vec<OptionValue>);

impl Options {
    /// Reads `WITH ( … )` if it comes next.
    pub fn read(cursor: &mut Cursor) -> Result<Self, CatalogError> {
        if !is_next(cursor) {
            return Ok(Self::default());
        }
        cursor.expect_word("WITH")?;
        Self::parenthesised(cursor)
    }

    /// Reads `( … )`.
    pub fn parenthesised(cursor: &mut Cursor) -> Result<Self, CatalogError> {
        let mut options = Self::default();
        cursor.expect_symbol(&Token::LParen)?;
        while !cursor.symbol(&Token::RParen) {
            let option = read_one(cursor)?;
            if options.0.iter().any(|other| other.key == option.key) {
                return Err(option.key_position.bad(format!("option '{}' is given twice", option.key)));
            }
            options.0.push(option);
            if !cursor.symbol(&Token::Comma) {
                cursor.expect_symbol(&Token::RParen)?;
                break;
            }
        }
        Ok(options)
    }

    /// Removes and gives back an option.
    pub fn take(&mut self, key: &str) -> Option<OptionValue> {
        let index = self.0.iter().position(|option| option.key == key)?;
        Some(self.0.remove(index))
    }

    /// Refuses a known option whose work is not done yet.
    pub fn refuse(&mut self, key: &str, instead: &str) -> Result<(), CatalogError> {
        match self.take(key) {
            Some(option) => {
                Err(option.key_position.unimplemented(format!("option '{key}' is not supported yet: {instead}")))
            }
            None => Ok(()),
        }
    }

    /// All that are left.
    pub fn into_rest(self) -> Vec<OptionValue> {
        self.0
    }

    /// Refuses what is left: nobody knew it. `known` feeds the suggestion.
    pub fn finish(self, of: &str, known: &[&str]) -> Result<(), CatalogError> {
        match self.0.first() {
            Some(option) => Err(unknown(option, of, known)),
            None => Ok(()),
        }
    }
}

/// "unknown option …" with the nearest valid spelling, or all of them.
pub fn unknown(option: &OptionValue, of: &str, known: &[&str]) -> CatalogError {
    let key = &option.key;
    let tail = match suggestion(key, known.iter().copied()) {
        near if !near.is_empty() => near,
        _ if known.is_empty() => format!("; {of} has no options"),
        _ => format!("; {of} knows {}", known.join(", ")),
    };
    option.key_position.bad(format!("unknown option '{key}'{tail}"))
}

/// `WITH (` begins options; `WITH name AS (` a query.
fn is_next(cursor: &Cursor) -> bool {
    super::cursor::is_word(cursor.peek(), "WITH") && *cursor.peek_second() == Token::LParen
}

fn read_one(cursor: &mut Cursor) -> Result<OptionValue, CatalogError> {
    let key_position = cursor.position();
    let key = match cursor.peek().clone() {
        Token::SingleQuotedString(key) => {
            cursor.advance();
            key
        }
        _ => names::identifier(cursor, "an option name")?,
    };
    if !cursor.symbol(&Token::Eq) {
        return Err(cursor.expected(&format!("'=' after option '{key}'")));
    }
    let position = cursor.position();
    let text = match cursor.peek().clone() {
        Token::SingleQuotedString(text) => text,
        Token::Number(text, _) => text,
        Token::Word(word) if word.quote_style.is_none() => word.value,
        _ => return Err(cursor.expected(&format!("a value for option '{key}', such as '…'"))),
    };
    cursor.advance();
    Ok(OptionValue { key, text, key_position, position })
}

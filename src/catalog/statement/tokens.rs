//! A statement as the tokens that its parser reads, for who looks at a text without parsing it.
//!
//! Only the tokenizer knows where a string ends: `'it''s'`, `E'it\'s'`, `$$it's$$`, `q'[it's]'`.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::{offsets, tokenize};

/// The tokens of a text but white space and comments, each with the byte offset where it begins; `None` for a text that falls
/// into none, which no parser takes either.
pub fn tokens(text: &str) -> Option<Vec<(usize, Token)>> {
    let tokens = tokenize(text).ok()?;
    let places = offsets(text, &tokens);
    let all = places.into_iter().zip(tokens.into_iter().map(|token| token.token));
    Some(all.filter(|(_, token)| !matches!(token, Token::Whitespace(_) | Token::EOF)).collect())
}

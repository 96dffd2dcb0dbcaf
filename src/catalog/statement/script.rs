//! Several statements in one text, and whether two texts say the same.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::cursor::{offsets, tokenize};
use crate::catalog::CatalogError;

/// Splits a script at `;` outside quotes and comments; each statement with its text (comments in front of it included) and
/// its 1-based starting line. Parts without a statement are left out.
pub fn parse_script(sql: &str) -> Result<Vec<(u64, String)>, CatalogError> {
    let tokens = tokenize(sql)?;
    let offsets = offsets(sql, &tokens);
    let mut statements = Vec::new();
    let mut first = 0;
    for index in 0..=tokens.len() {
        let is_end = tokens.get(index).is_none_or(|token| token.token == Token::SemiColon);
        if !is_end {
            continue;
        }
        let part = tokens.get(first..index).unwrap_or_default();
        if part.iter().any(|token| !matches!(token.token, Token::Whitespace(_))) {
            statements.push(statement(sql, part, &offsets, first, index));
        }
        first = index + 1;
    }
    Ok(statements)
}

/// A text's words, without white space, comments and letter case of unquoted words: equal texts define the same.
pub fn normalised(sql: &str) -> Result<String, CatalogError> {
    let mut text = String::with_capacity(sql.len());
    for token in tokenize(sql)? {
        match &token.token {
            Token::Whitespace(_) | Token::SemiColon | Token::EOF => continue,
            Token::Word(word) if word.quote_style.is_none() => text.push_str(&word.value.to_lowercase()),
            token => text.push_str(&token.to_string()),
        }
        text.push('\n');
    }
    Ok(text)
}

fn statement(sql: &str, part: &[TokenWithSpan], offsets: &[usize], first: usize, end: usize) -> (u64, String) {
    let from = offsets.get(first).copied().unwrap_or_default();
    let to = offsets.get(end).copied().unwrap_or(sql.len());
    let text = sql.get(from..to).unwrap_or_default();
    let skipped = text.len() - text.trim_start().len();
    let line_of_first = part.first().map_or(1, |token| token.span.start.line.max(1));
    let newlines = text.get(..skipped).unwrap_or_default().matches('\n').count();
    (line_of_first + u64::try_from(newlines).unwrap_or(0), text.trim().to_owned())
}

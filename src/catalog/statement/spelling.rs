//! `current_user()`, as people write it, as `current_user`, as SQL has it: sqlparser takes only that.

use std::borrow::Cow;

use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::is_word;
use super::tokens::tokens;

const CURRENT_USER: &str = "current_user";

/// The text with blanks in the place of those parentheses, so that every place in it stays where it was.
pub fn spelled(sql: &str) -> Cow<'_, str> {
    if !sql.to_ascii_lowercase().contains(CURRENT_USER) {
        return sql.into();
    }
    let Some(tokens) = tokens(sql) else { return sql.into() };
    let mut text = sql.to_owned();
    for three in tokens.windows(3) {
        if let [(_, name), (open, Token::LParen), (close, Token::RParen)] = three
            && is_word(name, CURRENT_USER)
        {
            text.replace_range(*open..*open + 1, " ");
            text.replace_range(*close..*close + 1, " ");
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_are_respelled_and_no_place_moves() {
        assert_eq!(spelled("SELECT Current_User ( ), 1"), "SELECT Current_User    , 1");
        for same in [
            "SELECT current_user",
            "SELECT 'current_user()'",
            "SELECT \"current_user\"()",
            "SELECT 'current_user",
            "SELECT 1",
        ] {
            assert_eq!(spelled(same), same);
        }
    }
}

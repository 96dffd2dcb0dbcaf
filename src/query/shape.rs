//! The text of a statement without any value: what may be kept of it for long.

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::catalog::tokens;

/// Strings and numbers become `?`, comments go, white space is one blank; names stay. Nothing is kept of a text that does not
/// fall into tokens: where its strings end is not known.
pub(super) fn shape(sql: &str) -> String {
    let Some(tokens) = tokens(sql) else { return "?".to_owned() };
    let mut shape = String::with_capacity(sql.len());
    for (index, (place, token)) in tokens.iter().enumerate() {
        shape.push_str(&kept(token));
        let end = tokens.get(index + 1).map_or(sql.len(), |(next, _)| *next);
        // White space and comments are no tokens: they are what lies between.
        let piece = sql.get(*place..end).unwrap_or_default();
        if piece.ends_with(char::is_whitespace) || piece.ends_with("*/") {
            shape.push(' ');
        }
    }
    shape.truncate(shape.trim_end().len());
    shape
}

/// Only what is known to hold no value: names, parameters and signs.
fn kept(token: &Token) -> String {
    let text = token.to_string();
    let is_sign = |c: char| c.is_ascii_punctuation() && !matches!(c, '\'' | '"' | '`');
    match token {
        Token::Word(_) | Token::Placeholder(_) => text,
        _ if text.chars().all(is_sign) => text,
        _ => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_go_and_names_stay() {
        for (sql, expected) in [
            (
                "SELECT a1, \"B 2\" FROM t2 WHERE x = 'secret' AND y > 42",
                "SELECT a1, \"B 2\" FROM t2 WHERE x = ? AND y > ?",
            ),
            ("SELECT 1.5e10, -7, .5, 0xFF, $1, ?", "SELECT ?, -?, ?, ?, $1, ?"),
            ("  SELECT\n\t1 -- a secret\n , 2 /* another */ ; ", "SELECT ? , ? ;"),
            ("SELECT 'it''s', $$a$$, $t$ b $t$, E'c', x'ab'", "SELECT ?, ?, ?, ?, ?"),
            ("SELECT 'left open", "?"),
            ("SELECT \"left open", "?"),
            ("CREATE USER ann PASSWORD 'pw' ROLE analyst", "CREATE USER ann PASSWORD ? ROLE analyst"),
            ("", ""),
        ] {
            assert_eq!(shape(sql), expected, "{sql}");
        }
    }

    proptest! {
        #[test]
        fn no_string_and_no_number_is_left(before in "[a-z ]{0,8}", value in "[g-z]{4,12}", number in 1000_u32..) {
            let sql = format!("SELECT {before} '{value}' , {number} FROM t WHERE a = '{value}'");
            let shape = shape(&sql);
            prop_assert!(!shape.contains(&number.to_string()), "{shape}");
            prop_assert!(before.contains(&value) || !shape.contains(&format!("{value}'")), "{shape}");
        }

        #[test]
        fn any_text_has_a_shape(sql in ".{0,80}") {
            let _ = shape(&sql);
        }
    }
}

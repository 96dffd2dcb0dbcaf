//! `?` becomes `$1`, `$2`, … before planning; text inside strings, quoted names and comments is left alone.
//!
//! A text that does not fall into tokens passes through all of this: its parser says what is wrong with it.

use std::borrow::Cow;

use datafusion::sql::sqlparser::tokenizer::Token;

use super::QueryError;
use crate::catalog::tokens;

/// Refuses more parameters than a statement may have, and `$2000000000` as well: there is one value for each number below.
///
/// # Errors
/// `Invalid`, with the limit's name.
pub(super) fn check_parameters(sql: &str, max: usize) -> Result<(), QueryError> {
    if !sql.contains(['?', '$']) {
        return Ok(());
    }
    let (mut count, mut highest) = (0_usize, 0_usize);
    for (_, token) in tokens(sql).unwrap_or_default() {
        let Token::Placeholder(id) = token else { continue };
        match id.strip_prefix('$') {
            Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                // More digits than a number holds is more than any limit.
                highest = highest.max(digits.parse().unwrap_or(usize::MAX));
            }
            Some(_) => {}
            None => count += 1,
        }
    }
    if count.max(highest) <= max {
        return Ok(());
    }
    let message = format!("statement has more than {max} parameters (query.max_parameters)");
    Err(QueryError::Invalid { message })
}

/// Numbers the `?` of a statement.
///
/// # Errors
/// `?` and `$1` in one statement, or `?1`: which value belongs where would be a guess.
pub(super) fn number_placeholders(sql: &str) -> Result<Cow<'_, str>, QueryError> {
    if !sql.contains('?') {
        return Ok(Cow::Borrowed(sql));
    }
    let invalid = |message: String| Err(QueryError::Invalid { message });
    let mut text = String::with_capacity(sql.len() + 16);
    let (mut count, mut dollars, mut copied) = (0, false, 0);
    for (place, token) in tokens(sql).unwrap_or_default() {
        match token {
            Token::Placeholder(id) if id == "?" => {
                count += 1;
                text.push_str(&sql[copied..place]);
                text.push('$');
                text.push_str(&count.to_string());
                copied = place + 1;
            }
            Token::Placeholder(id) if id.starts_with('?') => {
                return invalid(format!("'{id}' is no parameter; write ${}", &id[1..]));
            }
            Token::Placeholder(_) => dollars = true,
            _ => {}
        }
    }
    if count > 0 && dollars {
        return invalid("a statement has either ? or $1 parameters, not both; number them all".to_owned());
    }
    text.push_str(&sql[copied..]);
    Ok(Cow::Owned(text))
}

/// Where the first parenthesis of a statement closes.
pub(super) fn matching_parenthesis(sql: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (place, token) in tokens(sql)? {
        match token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 1 => return Some(place),
            Token::RParen => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_bounded_by_count_and_number() {
        let is_fine = |sql: &str| check_parameters(sql, 3).is_ok();
        assert!(is_fine("SELECT 1") && is_fine("SELECT ?, ?, ?") && is_fine("SELECT $1, $3, $name"));
        assert!(is_fine("SELECT '????', \"$99\" -- ???? $99\n, $$ ???? $99 $$"));
        assert!(!is_fine("SELECT ?, ?, ?, ?") && !is_fine("SELECT $4"));
        assert!(!is_fine("SELECT $99999999999999999999999"));
        assert!(!is_fine("SELECT E'\\'', $4000000000") && !is_fine("SELECT q'[']', ?, ?, ?, ?"));
        assert!(is_fine("SELECT E'\\' ? ? ? ?', q'[' ? ? ? ?]'"));
    }

    fn check(sql: &str, wanted: &str) {
        assert_eq!(
            number_placeholders(sql).map(Cow::into_owned).map_err(|error| error.to_string()),
            Ok(wanted.to_owned())
        );
    }

    #[test]
    fn numbers_in_order() {
        check("SELECT ? + ? FROM t WHERE a=?", "SELECT $1 + $2 FROM t WHERE a=$3");
        check("SELECT 1", "SELECT 1");
    }

    #[test]
    fn leaves_strings_names_and_comments_alone() {
        check("SELECT '?', 'it''s ?', \"a?\" -- ?\n, ?", "SELECT '?', 'it''s ?', \"a?\" -- ?\n, $1");
        check("/* ? /* ? */ ? */ SELECT ?", "/* ? /* ? */ ? */ SELECT $1");
        check("SELECT $$?$$, $a$ ? $a$, ?", "SELECT $$?$$, $a$ ? $a$, $1");
        check("SELECT 'é?', ?", "SELECT 'é?', $1");
        check("SELECT E'it\\'s ?', ?", "SELECT E'it\\'s ?', $1");
        check("SELECT q'[it's ?]', '\\', ?", "SELECT q'[it's ?]', '\\', $1");
    }

    #[test]
    fn unfinished_quotes_end_with_the_text() {
        check("SELECT '?", "SELECT '?");
        check("SELECT /* ?", "SELECT /* ?");
    }

    #[test]
    fn mixing_is_refused() {
        assert!(number_placeholders("SELECT ?, $1").is_err());
        assert!(number_placeholders("SELECT ?, '$1'").is_ok());
        assert!(number_placeholders("SELECT ?1").is_err());
    }

    #[test]
    fn finds_the_end_of_the_first_list() {
        assert_eq!(matching_parenthesis("f(a(')'), -- )\n b) (c)"), Some(17));
        assert_eq!(matching_parenthesis("f(E'\\')')"), Some(8));
        assert_eq!(matching_parenthesis("f(a"), None);
    }
}

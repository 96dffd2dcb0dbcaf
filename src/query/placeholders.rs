//! `?` becomes `$1`, `$2`, … before planning; text inside strings, quoted names and comments is left alone.

use std::borrow::Cow;

use super::QueryError;

/// Where the scanner is.
pub(super) enum Part {
    Code,
    Quoted,
}

/// Splits `sql` into code and quoted pieces (strings, quoted names, comments, dollar quotes); together they are `sql`.
pub(super) fn pieces(sql: &str) -> Vec<(Part, &str)> {
    let bytes = sql.as_bytes();
    let mut found = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < bytes.len() {
        let end = match bytes[at] {
            quote @ (b'\'' | b'"' | b'`') => Some(after_quote(bytes, at, quote)),
            b'-' if bytes.get(at + 1) == Some(&b'-') => Some(after_line(bytes, at)),
            b'/' if bytes.get(at + 1) == Some(&b'*') => Some(after_block_comment(bytes, at)),
            b'$' => after_dollar_quote(sql, at),
            _ => None,
        };
        match end {
            Some(end) => {
                found.push((Part::Code, &sql[start..at]));
                found.push((Part::Quoted, &sql[at..end]));
                (start, at) = (end, end);
            }
            None => at += 1,
        }
    }
    found.push((Part::Code, &sql[start..]));
    found
}

fn after_quote(bytes: &[u8], at: usize, quote: u8) -> usize {
    let mut next = at + 1;
    while next < bytes.len() {
        if bytes[next] == quote {
            if bytes.get(next + 1) != Some(&quote) {
                return next + 1;
            }
            next += 1;
        }
        next += 1;
    }
    bytes.len()
}

fn after_line(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| at + length + 1)
}

fn after_block_comment(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut next) = (0_usize, at);
    while next + 1 < bytes.len() {
        match (bytes[next], bytes[next + 1]) {
            (b'/', b'*') => (depth, next) = (depth + 1, next + 2),
            (b'*', b'/') => {
                (depth, next) = (depth - 1, next + 2);
                if depth == 0 {
                    return next;
                }
            }
            _ => next += 1,
        }
    }
    bytes.len()
}

/// `$$ … $$` or `$tag$ … $tag$`; `None` when the dollar begins a parameter.
fn after_dollar_quote(sql: &str, at: usize) -> Option<usize> {
    let rest = &sql[at + 1..];
    let tag_end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'))?;
    if !rest[tag_end..].starts_with('$') || rest.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let tag = &sql[at..at + tag_end + 2];
    let body = at + tag.len();
    Some(sql[body..].find(tag).map_or(sql.len(), |length| body + length + tag.len()))
}

/// Refuses more parameters than a statement may have, and `$2000000000` as well: there is one value for each number below.
///
/// # Errors
/// `Invalid`, with the limit's name.
pub(super) fn check_parameters(sql: &str, max: usize) -> Result<(), QueryError> {
    if !sql.contains(['?', '$']) {
        return Ok(());
    }
    let code = pieces(sql).into_iter().filter(|(part, _)| matches!(part, Part::Code)).map(|(_, piece)| piece);
    let (mut count, mut highest) = (0_usize, 0_usize);
    for piece in code {
        count += piece.matches('?').count();
        for (at, _) in piece.match_indices('$') {
            let digits = piece[at + 1..].split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
            // More digits than a number holds is more than any limit.
            let number = if digits.is_empty() { 0 } else { digits.parse().unwrap_or(usize::MAX) };
            highest = highest.max(number);
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
/// `?` and `$1` in one statement: which value belongs where would be a guess.
pub(super) fn number_placeholders(sql: &str) -> Result<Cow<'_, str>, QueryError> {
    if !sql.contains('?') {
        return Ok(Cow::Borrowed(sql));
    }
    let mut text = String::with_capacity(sql.len() + 16);
    let (mut count, mut dollars) = (0, false);
    for (part, piece) in pieces(sql) {
        if matches!(part, Part::Quoted) {
            text.push_str(piece);
            continue;
        }
        for character in piece.chars() {
            dollars |= character == '$';
            if character == '?' {
                count += 1;
                text.push('$');
                text.push_str(&count.to_string());
            } else {
                text.push(character);
            }
        }
    }
    if count > 0 && dollars {
        return Err(QueryError::Invalid {
            message: "a statement has either ? or $1 parameters, not both; number them all".to_owned(),
        });
    }
    Ok(Cow::Owned(text))
}

/// Where the first parenthesis of a statement closes.
pub(super) fn matching_parenthesis(sql: &str) -> Option<usize> {
    let (mut depth, mut offset) = (0_usize, 0);
    for (part, piece) in pieces(sql) {
        if matches!(part, Part::Code) {
            for (at, character) in piece.char_indices() {
                match character {
                    '(' => depth += 1,
                    ')' if depth == 1 => return Some(offset + at),
                    ')' => depth = depth.checked_sub(1)?,
                    _ => {}
                }
            }
        }
        offset += piece.len();
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
    }

    #[test]
    fn finds_the_end_of_the_first_list() {
        assert_eq!(matching_parenthesis("f(a(')'), -- )\n b) (c)"), Some(17));
        assert_eq!(matching_parenthesis("f(a"), None);
    }
}

//! SQL in colours: keywords bold, texts green, comments grey. Only escape sequences are added; the width stays.

use super::words::KEYWORDS;

const KEYWORD: &str = "\x1b[1m";
const TEXT: &str = "\x1b[32m";
const COMMENT: &str = "\x1b[90m";
const PLAIN: &str = "\x1b[0m";

/// `line` with colours.
pub fn highlight(line: &str) -> String {
    let mut coloured = String::with_capacity(line.len() * 2);
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let (colour, length) = token(rest, first);
        let (this, after) = rest.split_at(length);
        match colour {
            Some(colour) => coloured.extend([colour, this, PLAIN]),
            None => coloured.push_str(this),
        }
        rest = after;
    }
    coloured
}

/// The colour and length in bytes of the token at the start of `rest`.
fn token(rest: &str, first: char) -> (Option<&'static str>, usize) {
    if rest.starts_with("--") {
        return (Some(COMMENT), rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Some(COMMENT), rest.find("*/").map_or(rest.len(), |end| end + 2));
    }
    if first == '\'' {
        return (Some(TEXT), rest[1..].find('\'').map_or(rest.len(), |end| end + 2));
    }
    if first.is_alphabetic() || first == '_' {
        let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let is_keyword = KEYWORDS.binary_search(&rest[..length].to_uppercase().as_str()).is_ok();
        return (is_keyword.then_some(KEYWORD), length);
    }
    (None, first.len_utf8())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_colours_are_added() {
        let line = "select a, 'it''s \u{4e2d}' -- end\nfrom selected /* x";
        let coloured = highlight(line);
        let plain = [KEYWORD, TEXT, COMMENT, PLAIN].iter().fold(coloured.clone(), |text, code| text.replace(code, ""));
        assert_eq!(plain, line);
        assert!(coloured.starts_with(&format!("{KEYWORD}select{PLAIN} a")));
        assert!(coloured.contains(" selected "), "not a keyword");
        assert!(coloured.contains(&format!("{COMMENT}-- end{PLAIN}")));
    }
}

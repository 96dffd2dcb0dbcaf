//! Cuts input into statements at `;` and into backslash commands, looking through quotes and comments.
//!
//! A backslash command is a line that begins with `\` where no statement is open. Used for scripts (`-f`, `\i`) and to
//! decide whether what was typed so far is complete. Not here: what the statements mean.

/// One thing to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Without its `;`.
    Statement(String),
    /// A line such as `\timing on`.
    Command(String),
}

/// What a text holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    pub pieces: Vec<Piece>,
    /// Begun but not ended by `;`. Empty when only blanks and comments are left.
    pub rest: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Code,
    /// Until this quote; doubled quotes are quotes of the text.
    Quote(char),
    LineComment,
    /// Nested this deep.
    BlockComment(u32),
}

/// Cuts `text`.
pub fn split(text: &str) -> Split {
    let mut split = Split::default();
    let mut statement = String::new();
    let mut has_code = false;
    let mut inside = Inside::Code;
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        if inside == Inside::Code && !has_code && c == '\\' {
            let line = text[at..].split('\n').next().unwrap_or_default();
            split.pieces.push(Piece::Command(line.trim_end().to_owned()));
            statement.clear();
            while characters.next_if(|(next, _)| *next < at + line.len()).is_some() {}
            continue;
        }
        if inside == Inside::Code && c == ';' {
            if has_code {
                split.pieces.push(Piece::Statement(statement.trim().to_owned()));
            }
            statement.clear();
            has_code = false;
            continue;
        }
        statement.push(c);
        let next = characters.peek().map(|(_, next)| *next);
        let (after, takes_next) = step(inside, c, next);
        has_code |= inside == Inside::Code && !c.is_whitespace() && matches!(after, Inside::Code | Inside::Quote(_));
        if takes_next && let Some((_, next)) = characters.next() {
            statement.push(next);
        }
        inside = after;
    }
    if has_code {
        statement.trim().clone_into(&mut split.rest);
    }
    split
}

/// Where the scan is after `c`, and whether the next character belongs to `c` (as in `--` and `/*`).
fn step(inside: Inside, c: char, next: Option<char>) -> (Inside, bool) {
    match (inside, c, next) {
        (Inside::Code, '-', Some('-')) => (Inside::LineComment, true),
        (Inside::Code, '/', Some('*')) => (Inside::BlockComment(1), true),
        (Inside::Code, '\'' | '"', _) => (Inside::Quote(c), false),
        (Inside::Quote(quote), _, _) if c == quote => (Inside::Code, false),
        (Inside::LineComment, '\n', _) => (Inside::Code, false),
        (Inside::BlockComment(depth), '/', Some('*')) => (Inside::BlockComment(depth + 1), true),
        (Inside::BlockComment(1), '*', Some('/')) => (Inside::Code, true),
        (Inside::BlockComment(depth), '*', Some('/')) => (Inside::BlockComment(depth - 1), true),
        _ => (inside, false),
    }
}

/// Whether Enter should run what was typed: nothing is left open.
pub fn is_complete(text: &str) -> bool {
    let word = text.trim();
    split(text).rest.is_empty() || ["quit", "exit", "help"].contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> (Vec<String>, String) {
        let split = split(text);
        let shown = split.pieces.into_iter().map(|piece| match piece {
            Piece::Statement(sql) => sql,
            Piece::Command(line) => format!("!{line}"),
        });
        (shown.collect(), split.rest)
    }

    #[track_caller]
    fn check(text: &str, wanted: &[&str], rest: &str) {
        let (found, found_rest) = pieces(text);
        assert_eq!(
            (found.iter().map(String::as_str).collect::<Vec<_>>(), found_rest.as_str()),
            (wanted.to_vec(), rest)
        );
    }

    #[test]
    fn semicolons_end_statements_only_in_code() {
        check("select 1; select ';', 'it''s;' ;", &["select 1", "select ';', 'it''s;'"], "");
        check("select \";\" from t;", &["select \";\" from t"], "");
        check("select 1 -- a; b\n, 2;", &["select 1 -- a; b\n, 2"], "");
        check("select /* ; /* ; */ ; */ 1;", &["select /* ; /* ; */ ; */ 1"], "");
    }

    #[test]
    fn what_is_open_is_left() {
        check("select 1; select 'a;", &["select 1"], "select 'a;");
        check("select 1; -- the end", &["select 1"], "");
        check(" \n /* only a comment */ ", &[], "");
        check(";;", &[], "");
        check("select 1 - -1", &[], "select 1 - -1");
    }

    #[test]
    fn backslash_commands_are_lines_between_statements() {
        check("\\timing on\nselect 1;\n\\x\n", &["!\\timing on", "select 1", "!\\x"], "");
        check("select '\\d';", &["select '\\d'"], "");
        check("select 1\n\\d;", &["select 1\n\\d"], "");
        check("\\d \u{e4}\u{4e2d}\nselect 2;", &["!\\d \u{e4}\u{4e2d}", "select 2"], "");
    }

    #[test]
    fn enter_runs_complete_input_only() {
        assert!(is_complete("select 1;"));
        assert!(is_complete("\\d"));
        assert!(is_complete("quit"));
        assert!(is_complete("  "));
        assert!(!is_complete("select 1"));
        assert!(!is_complete("select 1; select"));
    }
}

//! Statements that are about the connection and not about data: blocks, settings, prepared statements. The protocol answers
//! them; everything else is the engine's.

use super::complaint::Complaint;
use super::settings::{TRANSACTION_READ_ONLY, flag};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Own {
    Begin {
        /// `READ ONLY`, `READ WRITE`; none = as the connection has it.
        read_only: Option<bool>,
    },
    Commit,
    Rollback,
    /// `None` = all.
    Deallocate(Option<String>),
    /// Everything of the connection as at its beginning.
    DiscardAll,
    /// True without anything done, such as `UNLISTEN *`; carries its tag.
    Nothing(&'static str),
    Set {
        name: String,
        value: String,
        is_local: bool,
    },
    /// For the blocks to come.
    SetReadOnly(Option<bool>),
    /// For the block that is open.
    SetTransaction(Option<bool>),
    Reset(Option<String>),
    Show(String),
}

const SAVEPOINTS: &str = "savepoints are not supported: each statement is its own transaction";

/// What the statement asks of the connection; `None`: nothing.
///
/// # Errors
/// What would have to be believed, such as SERIALIZABLE.
pub(super) fn own(sql: &str) -> Result<Option<Own>, Complaint> {
    let Some(words) = short(sql) else { return Ok(None) };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let lower: Vec<String> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let own = match lower.as_slice() {
        ["begin", "work" | "transaction", modes @ ..]
        | ["begin", modes @ ..]
        | ["start", "transaction", modes @ ..] => Own::Begin { read_only: transaction_modes(modes)? },
        ["commit" | "end"] | ["commit" | "end", "work" | "transaction"] => Own::Commit,
        ["rollback" | "abort"] | ["rollback" | "abort", "work" | "transaction"] => Own::Rollback,
        ["savepoint" | "release", ..] | ["rollback", "to", ..] | ["rollback", _, "to", ..] => {
            return Err(Complaint::unsupported(SAVEPOINTS));
        }
        ["deallocate", "all"] | ["deallocate", "prepare", "all"] => Own::Deallocate(None),
        ["deallocate", "prepare", _] | ["deallocate", _] => Own::Deallocate(words.last().map(|name| name_of(name))),
        ["discard", "all"] => Own::DiscardAll,
        ["discard", "plans" | "temp" | "temporary" | "sequences"] => Own::Nothing("DISCARD"),
        ["close", "all"] => Own::Nothing("CLOSE CURSOR ALL"),
        ["unlisten", "*"] => Own::Nothing("UNLISTEN"),
        ["set", "session", "characteristics", "as", "transaction", modes @ ..] => {
            Own::SetReadOnly(transaction_modes(modes)?)
        }
        ["set", "transaction", modes @ ..] | ["set", "session" | "local", "transaction", modes @ ..] => {
            Own::SetTransaction(transaction_modes(modes)?)
        }
        ["set", "names", value] => set("client_encoding", value, false),
        ["set", scope @ ("session" | "local"), "time", "zone", ..] => {
            set("timezone", &value_of(&words[4..]), *scope == "local")
        }
        ["set", "time", "zone", ..] => set("timezone", &value_of(&words[3..]), false),
        ["set", scope @ ("session" | "local"), name, "to" | "=", _, ..] => {
            set(name, &value_of(&words[4..]), *scope == "local")
        }
        ["set", name, "to" | "=", _, ..] => set(name, &value_of(&words[3..]), false),
        ["reset", "all"] => Own::Reset(None),
        ["reset", name] => Own::Reset(Some((*name).to_owned())),
        ["show", "transaction", "isolation", "level"] => Own::Show("transaction_isolation".to_owned()),
        ["show", "time", "zone"] => Own::Show("timezone".to_owned()),
        ["show", name] => Own::Show((*name).to_owned()),
        _ => return Ok(None),
    };
    of_transaction(own).map(Some)
}

/// `SET transaction_read_only = on` is `SET TRANSACTION READ ONLY`.
fn of_transaction(own: Own) -> Result<Own, Complaint> {
    match own {
        Own::Set { name, value, .. } if name == TRANSACTION_READ_ONLY => {
            Ok(Own::SetTransaction(Some(flag(&name, &value)?)))
        }
        Own::Reset(Some(name)) if name == TRANSACTION_READ_ONLY => {
            Err(Complaint::new("55P02", format!("{name} cannot be reset: it ends with its transaction")))
        }
        other => Ok(other),
    }
}

/// Whether the engine would change something by the statement, as far as its first word tells.
pub(super) fn changes(sql: &str) -> bool {
    const READS: [&str; 14] = [
        "select", "with", "values", "table", "from", "show", "explain", "describe", "desc", "set", "reset", "verify",
        "advise", "kill",
    ];
    let (words, _) = words(sql);
    let Some(first) = words.first() else { return false };
    // `SELECT*FROM t`
    let verb = first.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    !first.starts_with('(') && !READS.contains(&verb.to_ascii_lowercase().as_str())
}

/// The first words of a statement, in capitals, for its tag.
pub(super) fn first_words(sql: &str) -> Vec<String> {
    let (words, _) = words(sql);
    words.into_iter().take(4).map(|word| word.to_ascii_uppercase()).collect()
}

fn set(name: &str, value: &str, is_local: bool) -> Own {
    Own::Set { name: name.to_owned(), value: value.to_owned(), is_local }
}

/// `'a', b` as `a, b`.
fn value_of(words: &[&str]) -> String {
    let unquoted = words.iter().map(|word| match *word {
        "," => ",".to_owned(),
        word => name_of(word),
    });
    unquoted.collect::<Vec<_>>().join(" ").replace(" ,", ",")
}

fn name_of(word: &str) -> String {
    for quote in ['\'', '"'] {
        if let Some(inner) = word.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner.replace(&format!("{quote}{quote}"), &quote.to_string());
        }
    }
    word.to_owned()
}

fn transaction_modes(modes: &[&str]) -> Result<Option<bool>, Complaint> {
    let (mut rest, mut read_only) = (modes, None);
    loop {
        rest = match rest {
            [] => return Ok(read_only),
            [",", rest @ ..] | ["deferrable", rest @ ..] | ["not", "deferrable", rest @ ..] => rest,
            ["isolation", "level", "read", "committed" | "uncommitted", rest @ ..] => rest,
            ["isolation", "level", ..] => {
                let message = "each statement reads one state and is its own transaction (READ COMMITTED); \
                               higher isolation levels are not supported";
                return Err(Complaint::unsupported(message));
            }
            ["read", "only", rest @ ..] => {
                read_only = Some(true);
                rest
            }
            ["read", "write", rest @ ..] => {
                read_only = Some(false);
                rest
            }
            [other, ..] => return Err(Complaint::new("42601", format!("unknown transaction mode '{other}'"))),
        };
    }
}

/// All words of a short statement; `None`: a longer one, or several.
fn short(sql: &str) -> Option<Vec<String>> {
    let (mut words, rest) = words(sql);
    while words.last().is_some_and(|last| last == ";") {
        words.pop();
    }
    (rest.is_empty() && !words.iter().any(|word| word == ";")).then_some(words)
}

/// Words, quoted pieces, `=`, `,` and `;` of a text, without comments and without `;` in front; of a long one the first, and the rest.
fn words(sql: &str) -> (Vec<String>, &str) {
    const WORDS_MAX: usize = 24;
    let mut rest = skip_space(sql);
    let mut found: Vec<String> = Vec::new();
    while found.len() < WORDS_MAX {
        let Some(first) = rest.chars().next() else { break };
        let length = match first {
            quote @ ('\'' | '"') => quoted(rest, quote),
            '=' | ',' | ';' | '(' | ')' => 1,
            _ => plain(rest),
        };
        let length = length.max(first.len_utf8()).min(rest.len());
        if first != ';' || !found.is_empty() {
            found.push(rest[..length].to_owned());
        }
        rest = skip_space(&rest[length..]);
    }
    (found, rest)
}

/// Bytes of a word without quotes.
fn plain(text: &str) -> usize {
    let end = text.find(|c: char| c.is_whitespace() || "=,;()".contains(c)).unwrap_or(text.len());
    ["--", "/*"].iter().filter_map(|comment| text[..end].find(*comment)).fold(end, usize::min)
}

fn quoted(text: &str, quote: char) -> usize {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
            return at + 1;
        }
    }
    text.len()
}

/// Without white space and comments in front.
fn skip_space(mut text: &str) -> &str {
    loop {
        text = text.trim_start();
        text = match text {
            line if line.starts_with("--") => line.split_once('\n').map_or("", |(_, rest)| rest),
            block if block.starts_with("/*") => behind_comment(block),
            other => return other,
        };
    }
}

/// What stands behind the comment that a text begins with; there may be comments in it.
fn behind_comment(text: &str) -> &str {
    let (mut at, mut open) = (0, 0_usize);
    while let Some(found) = text[at..].find(['/', '*']) {
        at += found;
        match text.get(at..at + 2) {
            Some("/*") => (open, at) = (open + 1, at + 2),
            Some("*/") => (open, at) = (open.saturating_sub(1), at + 2),
            _ => at += 1,
        }
        if open == 0 {
            return &text[at..];
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sql: &str, expected: Own) {
        assert_eq!(own(sql), Ok(Some(expected)), "{sql}");
    }

    #[test]
    fn blocks_are_known_in_all_spellings() {
        for begin in ["BEGIN", "begin;", "START TRANSACTION", "/* a */ BEGIN WORK -- b"] {
            check(begin, Own::Begin { read_only: None });
        }
        check("BEGIN ISOLATION LEVEL READ COMMITTED, READ ONLY", Own::Begin { read_only: Some(true) });
        check("END", Own::Commit);
        check("ROLLBACK TRANSACTION", Own::Rollback);
        for refused in ["BEGIN ISOLATION LEVEL SERIALIZABLE", "SAVEPOINT a", "ROLLBACK TO SAVEPOINT a", "RELEASE a"] {
            assert_eq!(own(refused).unwrap_err().sqlstate, "0A000", "{refused}");
        }
    }

    #[test]
    fn settings_have_names_and_values() {
        let of = |name: &str, value: &str| set(name, value, false);
        check("SET extra_float_digits = 3", of("extra_float_digits", "3"));
        check("SET SESSION TIME ZONE 'UTC'", of("timezone", "UTC"));
        check("SET TIME ZONE UTC", of("timezone", "UTC"));
        check("set search_path to \"$user\", public", of("search_path", "$user, public"));
        check("SET LOCAL application_name='it''s'", set("application_name", "it's", true));
        check("SET DateStyle=ISO", of("datestyle", "ISO"));
        check("SHOW TRANSACTION ISOLATION LEVEL", Own::Show("transaction_isolation".to_owned()));
        check("RESET ALL", Own::Reset(None));
        check("DEALLOCATE \"_pg3_0\"", Own::Deallocate(Some("_pg3_0".to_owned())));
    }

    #[test]
    fn a_transaction_is_set_and_not_the_connection() {
        for only in [
            "SET TRANSACTION READ ONLY",
            "SET LOCAL TRANSACTION READ ONLY",
            "SET transaction_read_only = on",
            "SET LOCAL transaction_read_only TO 'tr'",
        ] {
            check(only, Own::SetTransaction(Some(true)));
        }
        check("SET TRANSACTION ISOLATION LEVEL READ COMMITTED", Own::SetTransaction(None));
        check("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", Own::SetReadOnly(Some(true)));
        assert_eq!(own("SET transaction_read_only = maybe").unwrap_err().sqlstate, "22023");
        assert_eq!(own("RESET transaction_read_only").unwrap_err().sqlstate, "55P02");
    }

    #[test]
    fn the_rest_is_for_the_engine() {
        let long = format!("SET search_path = a{}; DELETE FROM t", ", a".repeat(30));
        for sql in [
            "SELECT 1",
            "",
            " ; ",
            "SHOW CREATE TABLE t",
            "INSERT INTO t VALUES (1)",
            "(SELECT 1)",
            "'",
            "SET application_name = 'x'; DELETE FROM t",
            "BEGIN; DELETE FROM t",
            "SHOW; timezone",
            &long,
        ] {
            assert_eq!(own(sql), Ok(None), "{sql}");
        }
        check(";; SET application_name = 'a;b' ; ; -- c", set("application_name", "a;b", false));
        assert!(changes("; DELETE FROM t") && changes("/* /* */ SELECT */ DELETE/**/FROM t") && changes("/*/ */ DROP"));
        assert!(!changes("SELECT*FROM t") && !changes("/* a /* b */ */ SELECT/**/1") && !changes("/* SELECT /* */"));
        assert!(changes("INSERT INTO t VALUES (1)") && changes("-- a\nDROP TABLE t"));
        assert!(!changes("SELECT 1") && !changes("(SELECT 1)") && !changes("") && !changes("SET a = 1"));
    }
}

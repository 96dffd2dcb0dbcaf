//! Statements that are about the connection and not about data: blocks, settings, prepared statements. The protocol answers
//! them; everything else is the engine's.

use super::complaint::Complaint;

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
    Reset(Option<String>),
    Show(String),
}

const SAVEPOINTS: &str = "savepoints are not supported: each statement is its own transaction";

/// What the statement asks of the connection; `None`: nothing.
///
/// # Errors
/// What would have to be believed, such as SERIALIZABLE.
pub(super) fn own(sql: &str) -> Result<Option<Own>, Complaint> {
    let words = words(sql);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let lower: Vec<String> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    Ok(Some(match lower.as_slice() {
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
        ["set", "transaction", modes @ ..] => Own::SetReadOnly(transaction_modes(modes)?),
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
    }))
}

/// Whether the engine would change something by the statement, as far as its first word tells.
pub(super) fn changes(sql: &str) -> bool {
    const READS: [&str; 14] = [
        "select", "with", "values", "table", "from", "show", "explain", "describe", "desc", "set", "reset", "verify",
        "advise", "kill",
    ];
    match words(sql).first() {
        Some(first) => !first.starts_with('(') && !READS.contains(&first.to_ascii_lowercase().as_str()),
        None => false,
    }
}

/// The first words of a statement, in capitals, for its tag.
pub(super) fn first_words(sql: &str) -> Vec<String> {
    words(sql).into_iter().take(4).map(|word| word.to_ascii_uppercase()).collect()
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

/// Words, quoted pieces, `=` and `,` of a short statement; without comments. Of a long one, the first.
fn words(sql: &str) -> Vec<String> {
    const WORDS_MAX: usize = 24;
    let mut rest = sql;
    let mut found: Vec<String> = Vec::new();
    while found.len() < WORDS_MAX {
        rest = skip_space(rest);
        let Some(first) = rest.chars().next() else { break };
        let length = match first {
            quote @ ('\'' | '"') => quoted(rest, quote),
            '=' | ',' | '(' | ')' => 1,
            _ => rest.find(|c: char| c.is_whitespace() || "=,;()".contains(c)).unwrap_or(rest.len()),
        };
        let length = length.max(first.len_utf8()).min(rest.len());
        found.push(rest[..length].to_owned());
        rest = &rest[length..];
    }
    found
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

/// Without white space, comments and `;` in front.
fn skip_space(mut text: &str) -> &str {
    loop {
        text = text.trim_start_matches(|c: char| c.is_whitespace() || c == ';');
        text = match text {
            line if line.starts_with("--") => line.split_once('\n').map_or("", |(_, rest)| rest),
            block if block.starts_with("/*") => block.split_once("*/").map_or("", |(_, rest)| rest),
            other => return other,
        };
    }
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
    fn the_rest_is_for_the_engine() {
        for sql in ["SELECT 1", "", "SHOW CREATE TABLE t", "INSERT INTO t VALUES (1)", "(SELECT 1)", "'"] {
            assert_eq!(own(sql), Ok(None), "{sql}");
        }
        assert!(changes("INSERT INTO t VALUES (1)") && changes("-- a\nDROP TABLE t"));
        assert!(!changes("SELECT 1") && !changes("(SELECT 1)") && !changes("") && !changes("SET a = 1"));
    }
}

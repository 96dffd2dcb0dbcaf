//! What Tab offers: a pure function of the text before the cursor and the names that exist.
//!
//! After FROM, JOIN, INTO … relations; after `name.` the columns of that relation; elsewhere the columns of relations named
//! in the statement, then relations, functions and keywords.

use clap::ValueEnum;

use super::super::args::OutputFormat;
use super::command;
use super::words::{FUNCTIONS, KEYWORDS, Names};

/// Words after which a relation is named.
const BEFORE_RELATION: [&str; 9] = ["FROM", "JOIN", "INTO", "TABLE", "VIEW", "DESCRIBE", "REFRESH", "UPDATE", "\\D"];

/// Offers at most this many.
const OFFERS_MAX: usize = 200;

/// Where the word under the cursor starts, and what it may become.
pub fn complete(before: &str, names: &Names) -> (usize, Vec<String>) {
    if before.starts_with('\\') && !before.contains(char::is_whitespace) {
        let offers = command::names().iter().filter(|name| name.starts_with(before));
        return (0, offers.map(|name| (*name).to_owned()).collect());
    }
    let start = before
        .rfind(|c: char| !c.is_alphanumeric() && !"_.".contains(c))
        .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
    let word = &before[start..];
    let previous = before[..start].split_whitespace().next_back().unwrap_or_default().to_uppercase();
    let mut offers = if previous == "\\FORMAT" {
        OutputFormat::value_variants().iter().map(|format| format.name().to_owned()).collect()
    } else if BEFORE_RELATION.contains(&previous.as_str()) {
        names.relations.keys().cloned().collect()
    } else if let Some(columns) = qualified(before, word, names) {
        columns
    } else {
        anything(before, word, names)
    };
    offers.retain(|offer| is_prefix(word, offer) && offer != word);
    offers.dedup();
    offers.truncate(OFFERS_MAX);
    (start, offers)
}

/// `clicks.` → `clicks.ad_id` …; also for an alias: `FROM clicks c … c.`
fn qualified(before: &str, word: &str, names: &Names) -> Option<Vec<String>> {
    let (qualifier, _) = word.rsplit_once('.')?;
    let columns = names.relations.get(qualifier).or_else(|| names.relations.get(&relation_of(before, qualifier)?))?;
    Some(columns.iter().map(|column| format!("{qualifier}.{column}")).collect())
}

/// The relation that has this alias in the text.
fn relation_of(text: &str, alias: &str) -> Option<String> {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty()).collect();
    words.windows(3).find_map(|three| {
        let is_relation = ["FROM", "JOIN"].contains(&three[0].to_uppercase().as_str());
        (is_relation && three[2] == alias).then(|| three[1].to_owned())
    })
}

fn anything(before: &str, word: &str, names: &Names) -> Vec<String> {
    let mentioned = |relation: &String| {
        before.split(|c: char| !c.is_alphanumeric() && !"_.".contains(c)).any(|word| word == relation)
    };
    let mut relations: Vec<_> = names.relations.iter().filter(|(name, _)| mentioned(name)).collect();
    if relations.is_empty() {
        relations = names.relations.iter().filter(|(name, _)| !name.contains('.')).collect();
    }
    let mut columns: Vec<String> = relations.iter().flat_map(|(_, columns)| columns.iter().cloned()).collect();
    columns.sort();
    let upper = word.chars().next().is_some_and(char::is_uppercase);
    let keywords = KEYWORDS.iter().map(|word| if upper { (*word).to_owned() } else { word.to_lowercase() });
    let mut offers = columns;
    offers.extend(names.relations.keys().cloned());
    offers.extend(FUNCTIONS.iter().map(|name| format!("{name}(")));
    offers.extend(keywords);
    offers
}

fn is_prefix(word: &str, offer: &str) -> bool {
    offer.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let columns = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect();
        Names {
            relations: [
                ("clicks".to_owned(), columns(&["ad_id", "country", "event_time"])),
                ("campaigns".to_owned(), columns(&["campaign_id", "country"])),
                ("system.queries".to_owned(), columns(&["query_id"])),
            ]
            .into(),
        }
    }

    #[track_caller]
    fn check(before: &str, wanted: &[&str]) {
        let (start, offers) = complete(before, &names());
        let whole: Vec<_> = offers.iter().map(|offer| format!("{}{offer}", &before[..start])).collect();
        assert_eq!(whole, wanted, "{before}");
    }

    #[test]
    fn keywords_in_the_case_that_was_typed() {
        check("sel", &["select"]);
        check("SEL", &["SELECT"]);
    }

    #[test]
    fn relations_where_relations_are_named() {
        check("select 1 from c", &["select 1 from campaigns", "select 1 from clicks"]);
        check("select 1 from sys", &["select 1 from system.queries"]);
        check("\\d cl", &["\\d clicks"]);
    }

    #[test]
    fn columns_of_the_relation_in_question() {
        check("select * from clicks where even", &["select * from clicks where event_time"]);
        check("select * from clicks where camp", &["select * from clicks where campaigns"]);
        check("select clicks.ev", &["select clicks.event_time"]);
        check("select * from clicks c where c.ad", &["select * from clicks c where c.ad_id"]);
    }

    #[test]
    fn commands_and_formats() {
        check("\\ti", &["\\timing"]);
        check("\\format nd", &["\\format ndjson"]);
    }

    #[test]
    fn text_beyond_ascii_does_not_break_it() {
        check("select '\u{e4}\u{4e2d}' || up", &["select '\u{e4}\u{4e2d}' || upper("]);
        let (_, offers) = complete("select \u{4e2d}", &names());
        assert!(offers.is_empty());
    }
}

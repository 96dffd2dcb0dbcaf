//! `CommandComplete`: what was done, in PostgreSQL's words.

use super::own::first_words;

/// The tag of a statement that gave no rows. `rows`: how many it changed, if it counts.
pub(super) fn done(sql: &str, rows: Option<u64>) -> String {
    let words = first_words(sql);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let verb = match words.as_slice() {
        ["CREATE" | "ALTER" | "DROP", "OR", "REPLACE", kind, ..] => format!("{} {kind}", words[0]),
        [verb @ ("CREATE" | "ALTER" | "DROP" | "REFRESH"), "MATERIALIZED", ..] => format!("{verb} MATERIALIZED VIEW"),
        [verb @ ("CREATE" | "ALTER" | "DROP"), "ROW", "POLICY", ..] => format!("{verb} POLICY"),
        [verb @ ("CREATE" | "ALTER" | "DROP"), kind, ..] => format!("{verb} {kind}"),
        [verb, ..] => (*verb).to_owned(),
        [] => String::new(),
    };
    match (verb.as_str(), rows) {
        // Where PostgreSQL once had the number of a row.
        ("INSERT", rows) => format!("INSERT 0 {}", rows.unwrap_or(0)),
        (verb, Some(rows)) if !verb.starts_with("CREATE") && !verb.starts_with("DROP") => format!("{verb} {rows}"),
        (verb, _) => verb.to_owned(),
    }
}

/// The tag of rows.
pub(super) fn selected(rows: u64) -> String {
    format!("SELECT {rows}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_those_clients_look_for() {
        assert_eq!(done("insert into t values (1)", Some(2)), "INSERT 0 2");
        assert_eq!(done("DELETE FROM t", Some(3)), "DELETE 3");
        assert_eq!(done("CREATE TABLE t (a INT)", None), "CREATE TABLE");
        assert_eq!(done("CREATE OR REPLACE VIEW v AS SELECT 1", None), "CREATE VIEW");
        assert_eq!(done("CREATE MATERIALIZED VIEW v AS SELECT 1", None), "CREATE MATERIALIZED VIEW");
        assert_eq!(done("COPY INTO t FROM 'x'", Some(9)), "COPY 9");
        assert_eq!(done("GRANT SELECT ON t TO r", None), "GRANT");
        assert_eq!(selected(5), "SELECT 5");
    }
}

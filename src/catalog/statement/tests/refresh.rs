//! Materialized views: options, REFRESH, EXPLAIN REFRESH, VERIFY, ALTER.

use super::*;
use crate::catalog::MaterializedViewDefinition;

fn view(options: &str) -> MaterializedViewDefinition {
    match created(&format!("CREATE MATERIALIZED VIEW v {options} AS SELECT * FROM t")).definition {
        Definition::MaterializedView(view) => view,
        other => panic!("{other:?}"),
    }
}

/// What the options mean: trigger, strategy, rewrite, restate_after, verify.
fn check_options(options: &str, expected: &str) {
    let view = view(options);
    let verify = view.verify.map_or("-".to_owned(), |share| share.to_string());
    let shown = format!("{} | {} | {} | {} | {verify}", view.trigger, view.strategy, view.rewrite, view.restate_after);
    assert_eq!(shown, expected, "{options}");
}

/// The error of options, which begin at line 2, column 7.
fn check_error(options: &str, expected: &str) {
    let error = parse_statement(&format!("CREATE MATERIALIZED VIEW v\nWITH ({options}) AS SELECT * FROM t"));
    assert_eq!(error.unwrap_err().to_string(), expected, "{options}");
}

#[test]
fn options_have_defaults() {
    check_options("", "continuous | auto | on | 1 hour | -");
    check_options("WITH ()", "continuous | auto | on | 1 hour | -");
    check_options("WITH (strategy='full')", "manual | full | off | 1 hour | -");
    check_options("WITH (strategy='auto', refresh='manual')", "manual | auto | on | 1 hour | -");
}

#[test]
fn options_are_read() {
    check_options(
        "WITH (refresh='every 5 minutes', rewrite='off', restate_after='2 hours', verify='1%')",
        "every 5 minutes | auto | off | 2 hours | 1%",
    );
    check_options("WITH (refresh='cron 0 * * * *', strategy='full')", "cron 0 * * * * | full | off | 1 hour | -");
    check_options("WITH (restate_after='2 hours', strategy='full')", "manual | full | off | 2 hours | -");
    check_options(
        "WITH (refresh='Every 300s', strategy=FULL, rewrite=off, verify='0.5%')",
        "every 5 minutes | full | off | 1 hour | 0.5%",
    );
    check_options("WITH (refresh=manual, rewrite=on, restate_after='0 s')", "manual | auto | on | 0 seconds | -");
    let view = view("WITH (refresh='manual', partition_by='day(minute)', sort_by='a, b')");
    assert_eq!((view.partition_by.len(), view.sort_by.join(" ")), (1, "a b".to_owned()));
}

#[test]
fn the_kept_text_keeps_the_options() {
    let text =
        "CREATE MATERIALIZED VIEW v WITH (refresh='cron 0 3 * * *', strategy='full', verify='2%') AS SELECT 1 AS a";
    let create = created(text);
    assert_eq!(create.sql, text);
    assert_eq!(created(&create.sql).definition, create.definition);
}

#[test]
fn wrong_values_are_explained() {
    check_error(
        "refresh='often'",
        "line 2, column 15: option refresh: 'often' is none of 'continuous', 'every 5 minutes', 'cron 0 3 * * *' and 'manual'",
    );
    check_error(
        "refresh='continous'",
        "line 2, column 15: option refresh: 'continous' is none of 'continuous', 'every 5 minutes', 'cron 0 3 * * *' and \
         'manual'; did you mean 'continuous'?",
    );
    check_error(
        "refresh='evry 5 minutes'",
        "line 2, column 15: option refresh: 'evry 5 minutes' is none of 'continuous', 'every 5 minutes', 'cron 0 3 * * *' \
         and 'manual'; did you mean 'every'?",
    );
    check_error(
        "refresh='every 5'",
        "line 2, column 15: option refresh: '5' is not a length of time; write a number and a unit, such as '7 days', \
         '5 minutes' or '30s'",
    );
    check_error(
        "refresh='every 1 ms'",
        "line 2, column 15: option refresh: 'every 1 ms' is too often; the shortest is 'every 100 milliseconds'",
    );
    check_error(
        "refresh='cron 0 3 * *'",
        "line 2, column 15: option refresh: '0 3 * *' is not a cron schedule: it has 4 fields, not 5; write minute, hour, \
         day of month, month and day of week, such as '0 3 * * *'",
    );
    check_error("strategy='partial'", "line 2, column 16: option strategy: 'partial' is neither 'auto' nor 'full'");
    check_error("rewrite='maybe'", "line 2, column 15: option rewrite: 'maybe' is neither 'on' nor 'off'");
    check_error(
        "restate_after='1'",
        "line 2, column 21: option restate_after: '1' is not a length of time; write a number and a unit, such as \
         '7 days', '5 minutes' or '30s'",
    );
    check_error(
        "verify='1'",
        "line 2, column 14: option verify: '1' is not a share; write a percentage, such as '1%' or '0.05%', up to '100%'",
    );
    check_error("refesh='manual'", "line 2, column 7: unknown option 'refesh'; did you mean 'refresh'?");
    check_error(
        "event_time='at'",
        "line 2, column 7: unknown option 'event_time'; CREATE MATERIALIZED VIEW knows refresh, strategy, rewrite, \
         restate_after, verify, partition_by, sort_by",
    );
    check_error("refresh='manual', refresh='continuous'", "line 2, column 25: option 'refresh' is given twice");
}

#[test]
fn contradictions_are_refused() {
    check_error(
        "strategy='full', refresh='continuous'",
        "line 2, column 32: refresh='continuous' contradicts strategy='full', which runs the whole query for each change \
         of a source; use refresh='every 5 minutes' (or another time), 'cron …' or 'manual', or strategy='auto'",
    );
    check_error(
        "rewrite='on', strategy='full'",
        "line 2, column 15: rewrite='on' contradicts strategy='full': its rows are those of the last refresh, and queries \
         on the sources would be answered from old rows; use rewrite='off' or strategy='auto'",
    );
}

#[test]
fn refreshes_have_a_scope() {
    check("REFRESH MATERIALIZED VIEW v", "refresh v Pending");
    check("refresh materialized view Public.V full;", "refresh v Full");
    check(
        "REFRESH MATERIALIZED VIEW v BETWEEN '2026-03-01' AND now() - INTERVAL '1 day' -- so far",
        r#"refresh v Between("'2026-03-01'", "now() - INTERVAL '1 day'")"#,
    );
    check(
        "REFRESH MATERIALIZED VIEW v BETWEEN (TIMESTAMP '2026-03-01') AND 2 + 3 * 4",
        r#"refresh v Between("(TIMESTAMP '2026-03-01')", "2 + 3 * 4")"#,
    );
    check("REFRESH VIEW v", "syntax error at line 1, column 9: expected MATERIALIZED, found 'VIEW'");
    check("REFRESH v", "syntax error at line 1, column 9: expected MATERIALIZED, found 'v'");
    check(
        "REFRESH MATERIALIZED VIEW v FULL BETWEEN 1 AND 2",
        "syntax error at line 1, column 34: expected the end of the statement, found 'BETWEEN'",
    );
    check(
        "REFRESH MATERIALIZED VIEW v BETWEEN '1'",
        "syntax error at line 1, column 40: expected AND, found the end of the text",
    );
    check(
        "REFRESH MATERIALIZED VIEW v BETWEEN '1' AND",
        "syntax error at line 1, column 44: expected an expression, found the end of the text",
    );
}

#[test]
fn bounds_are_the_same_for_all_rows() {
    let check_bound = |bound: &str, what: &str| {
        check(
            &format!("VERIFY MATERIALIZED VIEW v BETWEEN '1' AND {bound}"),
            &format!(
                "line 1, column 44: a bound of BETWEEN is a moment, such as '2026-03-01' or now() - INTERVAL '1 day'; it \
                 cannot contain {what}"
            ),
        );
    };
    check_bound("minute", "a column");
    check_bound("abs(v.minute)", "a column");
    check_bound("(SELECT 1)", "a query");
    check_bound("$1", "a parameter");
}

#[test]
fn refreshes_are_explained_and_verified() {
    check("EXPLAIN REFRESH v", "explain refresh v");
    check("EXPLAIN REFRESH MATERIALIZED VIEW adlake.public.v;", "explain refresh v");
    check(
        "EXPLAIN ANALYZE REFRESH v",
        "syntax error at line 1, column 17: EXPLAIN REFRESH view knows neither ANALYZE, VERBOSE nor FORMAT; leave them out",
    );
    check(
        "EXPLAIN REFRESH",
        "syntax error at line 1, column 16: expected the name of the materialized view, found the end of the text",
    );
    check("VERIFY MATERIALIZED VIEW v", "verify v None");
    check("VERIFY MATERIALIZED VIEW v BETWEEN '1' AND '2'", r#"verify v Some(("'1'", "'2'"))"#);
    check("VERIFY v", "syntax error at line 1, column 8: expected MATERIALIZED, found 'v'");
    check(
        "VERFY MATERIALIZED VIEW v",
        "syntax error at line 1, column 1: unknown statement 'VERFY'; did you mean 'VERIFY'?",
    );
}

#[test]
fn options_can_be_altered() {
    check(
        "ALTER MATERIALIZED VIEW v SET (refresh='every 5 minutes', rewrite='off', restate_after='2 h', verify='1%')",
        r#"alter materialized view v [("refresh", Some("every 5 minutes")), ("rewrite", Some("off")), ("restate_after", Some("2 h")), ("verify", Some("1%"))]"#,
    );
    check(
        "ALTER MATERIALIZED VIEW v RESET (verify, refresh)",
        r#"alter materialized view v [("verify", None), ("refresh", None)]"#,
    );
    check(
        "ALTER MATERIALIZED VIEW v SET (strategy='full')",
        "line 1, column 32: option 'strategy' cannot change: rows are stored by it; use CREATE OR REPLACE MATERIALIZED VIEW",
    );
    check(
        "ALTER MATERIALIZED VIEW v SET (refesh='manual')",
        "line 1, column 32: unknown option 'refesh'; did you mean 'refresh'?",
    );
    check(
        "ALTER MATERIALIZED VIEW v SET ()",
        "syntax error at line 1, column 33: expected an option, such as (refresh='every 5 minutes'), found the end of the text",
    );
    check(
        "ALTER MATERIALIZED VIEW v ADD COLUMN a INT",
        "line 1, column 27: only ALTER MATERIALIZED VIEW … SET (option='value') and RESET (option) are supported; for \
         another query use CREATE OR REPLACE",
    );
    check(
        "ALTER VIEW v SET (a='b')",
        "line 1, column 7: only ALTER TABLE and ALTER MATERIALIZED VIEW are supported; for other objects use CREATE OR \
         REPLACE",
    );
}

#[test]
fn advise_is_read() {
    let advised = |sql: &str| match parse_statement(sql) {
        Ok(Statement::Advise { query }) => Ok(query),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    };
    assert_eq!(advised("advise materialized views;"), Ok(None));
    let query = Some("SELECT count(*) FROM t WHERE a = 'x'".to_owned());
    assert_eq!(advised("ADVISE MATERIALIZED VIEWS FOR 'SELECT count(*) FROM t WHERE a = ''x'''"), Ok(query));
    let wrong = |sql: &str| advised(sql).unwrap_err();
    assert_eq!(wrong("ADVISE VIEWS"), "syntax error at line 1, column 8: expected MATERIALIZED, found 'VIEWS'");
    assert_eq!(
        wrong("ADVISE MATERIALIZED VIEWS FOR SELECT 1"),
        "syntax error at line 1, column 31: expected a query in quotes, such as 'SELECT … FROM … GROUP BY …', found 'SELECT'"
    );
    assert_eq!(
        wrong("ADVISE MATERIALIZED VIEWS OF t"),
        "syntax error at line 1, column 27: expected the end of the statement, found 'OF'"
    );
}

//! Plans from texts: what is there, what is wanted, what has to be done.

use super::*;
use crate::catalog::testing::{create, snapshot};

/// One line per change, or the error. Everything present came from a project.
fn check(present: &[&str], wanted: &[&str], expected: &str) {
    let mut current = snapshot(present);
    for object in current.relations.values_mut().chain(current.endpoints.values_mut()) {
        Arc::make_mut(object).defined_by = DefinedBy::Project;
    }
    let wanted = wanted.iter().map(|sql| Create { defined_by: DefinedBy::Project, ..create(sql) }).collect();
    let shown = match plan(&current, wanted) {
        Ok(plan) => {
            let mut lines: Vec<String> = plan.changes.iter().map(ToString::to_string).collect();
            lines.extend(plan.kept.iter().map(|kept| format!("keep {kept}")));
            lines.join("; ")
        }
        Err(error) => error.to_string(),
    };
    assert_eq!(shown, expected, "from {present:?} to {current:?}");
}

const TABLE: &str = "CREATE TABLE t (a INT NOT NULL, b VARCHAR)";
const EVENTS: &str =
    "CREATE TABLE t (a VARCHAR NOT NULL, at TIMESTAMPTZ NOT NULL) WITH (event_time='at', lateness='1 day')";

#[test]
fn creates_come_after_what_they_read() {
    check(
        &[],
        &[
            "CREATE ENDPOINT e WITH (path='/v1/e') AS SELECT * FROM a",
            "CREATE VIEW a AS SELECT * FROM z JOIN u USING (k)",
            "CREATE MATERIALIZED VIEW z WITH (refresh='manual') AS SELECT * FROM u",
            "CREATE TABLE u (k INT)",
        ],
        "create table 'u'; create materialized view 'z'; create view 'a'; create endpoint 'e'",
    );
}

#[test]
fn white_space_comments_and_case_change_nothing() {
    check(&["CREATE VIEW v AS SELECT 1 AS a"], &["-- one\ncreate view V as\n  select 1 /* two */ as a;"], "");
    check(&["CREATE VIEW v AS SELECT 'a'"], &["CREATE VIEW v AS SELECT 'A'"], "replace view 'v'");
    check(&["CREATE VIEW v AS SELECT 1 AS a"], &["CREATE VIEW v AS SELECT 1 AS \"A\""], "replace view 'v'");
}

#[test]
fn the_comment_of_an_endpoint_counts() {
    let endpoint = "CREATE ENDPOINT e WITH (path='/v1/e') AS SELECT 1";
    check(&[endpoint], &[endpoint], "");
    check(&[endpoint], &["-- says more\nCREATE ENDPOINT e WITH (path='/v1/e') AS SELECT 1"], "replace endpoint 'e'");
}

#[test]
fn tables_take_new_columns_at_the_end() {
    let wider = "CREATE TABLE t (a INT NOT NULL, b TEXT, c BIGINT)";
    check(&[TABLE], &[wider], "change table 't': add column c");
    check(&[TABLE], &["CREATE TABLE t (a INTEGER NOT NULL, b STRING NULL)"], "");
    check(&[EVENTS], &[&EVENTS.replace("1 day", "2 days")], "change table 't': lateness '1 day' → '2 days'");
    let stricter = EVENTS.replace("lateness='1 day'", "on_error='fail'");
    let said = "change table 't': lateness '1 day' → unset; on_error 'reject' → 'fail'";
    check(&[EVENTS], &[&stricter], said);
    check(&[TABLE], &["CREATE TABLE t (a INT NOT NULL, b VARCHAR, CHECK (a > 0))"], "change table 't'");
}

#[test]
fn tables_refuse_what_their_files_cannot_follow() {
    let cannot = |wanted: &str, expected: &str| check(&[TABLE], &[wanted], &format!("table 't': {expected}"));
    cannot("CREATE TABLE t (a INT NOT NULL)", "column 'b' cannot be removed; keep it, and leave it out in a view");
    cannot(
        "CREATE TABLE t (a BIGINT NOT NULL, b VARCHAR)",
        "column 'a' cannot change from Int32 to Int64; add a new column instead",
    );
    cannot(
        "CREATE TABLE t (c INT, a INT NOT NULL, b VARCHAR)",
        "column 'a' cannot change its place; put new columns at the end",
    );
    cannot(
        "CREATE TABLE t (a INT NOT NULL, b VARCHAR, c INT NOT NULL)",
        "new column 'c' cannot be NOT NULL, as present rows have no value for it; leave NOT NULL out",
    );
    cannot(
        "CREATE TABLE t (a INT NOT NULL, b VARCHAR) WITH (sort_by='a')",
        "partition_by and sort_by cannot change; make a new table and INSERT INTO it from this one",
    );
    check(
        &[EVENTS],
        &[&EVENTS.replace("event_time='at'", "event_time='at', event_key='a'")],
        "table 't': event_time, event_key, kind and key cannot change; make a new table and INSERT INTO it from this one",
    );
}

#[test]
fn what_is_missing_is_dropped_but_never_a_table() {
    check(
        &[
            TABLE,
            "CREATE VIEW v AS SELECT * FROM t",
            "CREATE VIEW w AS SELECT * FROM v",
            "CREATE VIEW a AS SELECT * FROM w",
            "CREATE ENDPOINT e WITH (path='/v1/e') AS SELECT * FROM a",
        ],
        &[],
        "drop endpoint 'e'; drop view 'a'; drop view 'w'; drop view 'v'; keep table 't'",
    );
}

#[test]
fn what_a_statement_made_is_kept() {
    let current = snapshot(&[TABLE, "CREATE VIEW v AS SELECT * FROM t"]);
    let plan = plan(&current, Vec::new()).unwrap();
    assert_eq!((plan.changes.len(), plan.kept), (0, vec!["table 't'".to_owned(), "view 'v'".to_owned()]));
}

#[test]
fn names_must_be_defined() {
    check(
        &[TABLE],
        &[TABLE, "CREATE VIEW v AS SELECT * FROM orders"],
        "view 'v' reads 'orders', which nothing defines",
    );
    check(
        &[],
        &["CREATE TABLE things (a INT)", "CREATE VIEW v AS SELECT * FROM thing"],
        "view 'v' reads 'thing', which nothing defines; did you mean 'things'?",
    );
}

#[test]
fn cycles_are_refused() {
    check(
        &[],
        &["CREATE VIEW a AS SELECT * FROM b", "CREATE VIEW b AS SELECT * FROM a"],
        "definitions form a cycle: a -> b -> a",
    );
}

#[test]
fn kinds_do_not_change() {
    check(&[TABLE], &["CREATE VIEW t AS SELECT 1"], "'t' is a table and cannot become a view; DROP it first");
}

#[test]
fn a_view_that_others_read_is_not_dropped() {
    let mut current = snapshot(&[TABLE, "CREATE VIEW v AS SELECT * FROM t", "CREATE VIEW mine AS SELECT * FROM v"]);
    if let Some(object) = current.relations.get_mut("v") {
        Arc::make_mut(object).defined_by = DefinedBy::Project;
    }
    let error = plan(&current, vec![create(TABLE)]).unwrap_err();
    assert_eq!(error.to_string(), "cannot drop 'v': read by mine; drop those first or use CASCADE");
}

#[test]
fn materialized_views_keep_their_rows_when_only_options_change() {
    let view = |options: &str| format!("CREATE MATERIALIZED VIEW v WITH ({options}) AS SELECT 1 AS a");
    let (manual, hourly) = (view("refresh='manual'"), view("rewrite='off', refresh='every 1 hour', verify='1%'"));
    check(
        &[&manual],
        &[&hourly],
        "change materialized view 'v': refresh 'manual' → 'every 1 hour'; rewrite 'on' → 'off'; verify unset → '1%'",
    );
    check(&[&manual], &[&view("refresh = 'manual' -- by hand\n")], "");
    check(
        &[&manual],
        &[&view("refresh='MANUAL'").replace("SELECT", "select /* one */")],
        "change materialized view 'v'",
    );
    check(&[&manual], &[&view("refresh='manual', sort_by='a'")], "replace materialized view 'v'");
    check(&[&manual], &[&view("strategy='full'")], "replace materialized view 'v'");
    check(&[&manual], &[&manual.replace("1 AS a", "2 AS a")], "replace materialized view 'v'");
}

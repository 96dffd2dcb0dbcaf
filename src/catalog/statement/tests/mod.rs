//! Statements and errors, two lines each: what a text means, in short, or its error.

mod objects;
mod refresh;
mod tables;

use super::*;
use proptest::prelude::*;

/// What a text means, in short; or its error.
fn check(sql: &str, expected: &str) {
    let shown = match parse_statement(sql) {
        Ok(statement) => show(&statement),
        Err(error) => error.to_string(),
    };
    assert_eq!(shown, expected, "{sql}");
}

/// A CREATE TABLE with one event column and these options.
fn check_options(options: &str, expected: &str) {
    let sql =
        format!("CREATE TABLE t (id BIGINT NOT NULL, at TIMESTAMPTZ NOT NULL, name TEXT, x DOUBLE)\nWITH ({options})");
    check(&sql, expected);
}

fn show(statement: &Statement) -> String {
    match statement {
        Statement::Query(text) => format!("query {text}"),
        Statement::Insert { table, columns, source } => format!("insert {table} {columns:?} {source}"),
        Statement::Delete(delete) => format!("delete {} {}", delete.table, delete.sql),
        Statement::Create(create) => show_create(create),
        Statement::Drop(drop) => {
            format!("drop {} {} if_exists={} cascade={}", drop.kind, drop.name, drop.if_exists, drop.cascade)
        }
        Statement::AlterAddColumn(alter) => {
            format!("add {} {} {}", alter.table, alter.field.name(), alter.field.data_type())
        }
        Statement::AlterOptions(alter) => format!("alter {} {} {:?}", alter.kind, alter.name, alter.changes),
        Statement::Kill { query_id } => format!("kill {query_id}"),
        Statement::Replay(replay) => format!("replay {} {:?}", replay.table, replay.predicate),
        Statement::Refresh(refresh) => format!("refresh {} {:?}", refresh.view, refresh.scope),
        Statement::ExplainRefresh { view } => format!("explain refresh {view}"),
        Statement::Verify { view, range } => format!("verify {view} {range:?}"),
        Statement::Advise { query } => format!("advise {query:?}"),
        Statement::Copy(copy) => format!("copy {} from {} {:?}", copy.table, copy.from, copy.options),
        Statement::Maintain(maintain) => format!("{} {:?}", maintain.table, maintain.work),
        Statement::Security(statement) => format!("{statement:?}"),
        Statement::Show(target) => format!("show {target:?}"),
        Statement::Describe { name } => format!("describe {name}"),
        Statement::Set { key, value } => format!("set {key} = {value}"),
        Statement::Reset { key } => format!("reset {key:?}"),
    }
}

fn show_create(create: &Create) -> String {
    let body = match &create.definition {
        Definition::Table(table) => {
            let column = |field: &FieldRef| {
                format!("{} {}{}", field.name(), field.data_type(), if field.is_nullable() { "" } else { "!" })
            };
            let columns: Vec<String> = table.columns.fields().iter().map(column).collect();
            format!("({}) {:?}", columns.join(", "), table.kind)
        }
        Definition::View(view) => view.query.clone(),
        Definition::MaterializedView(view) => view.query.clone(),
        Definition::Endpoint(endpoint) => format!("{} {:?}", endpoint.path, endpoint.filters),
    };
    format!("{} {} reads {:?}: {body}", create.kind(), create.name, create.reads)
}

fn created(sql: &str) -> Create {
    match parse_statement(sql) {
        Ok(Statement::Create(create)) => *create,
        other => panic!("{sql}: {other:?}"),
    }
}

#[test]
fn names_are_folded_reduced_and_checked() {
    check("CREATE TABLE Public.Clicks (A INT, \"B\" INT)", "table clicks reads []: (a Int32, B Int32) Plain");
    check("DROP TABLE adlake.public.clicks", "drop table clicks if_exists=false cascade=false");
    check(
        "CREATE TABLE other.t (a INT)",
        "line 1, column 14: 'other.t': objects live in the schema adlake.public; leave the \
        schema out",
    );
    check(
        "CREATE TABLE \"a/b\" (a INT)",
        "line 1, column 14: 'a/b' cannot be the name of an object: use letters, digits, '_' \
        and '-', starting with a letter, at most 64 characters",
    );
    check(
        "CREATE TABLE t (\"a b\" INT)",
        "line 1, column 17: 'a b' cannot be a column name: it must not be empty nor contain \
        spaces or any of , ; { } ( ) =",
    );
    check("CREATE TABLE t (a INT, A INT)", "line 1, column 24: column 'a' is declared twice");
}

#[test]
fn syntax_errors_have_positions() {
    check("", "syntax error at line 1, column 1: expected a statement, found the end of the text");
    check("SELCT 1", "syntax error at line 1, column 1: unknown statement 'SELCT'; did you mean 'SELECT'?");
    check(
        "SELECT a\nFROM t WHERE",
        "syntax error at line 2, column 13: expected an expression, found the end of the text",
    );
    check("SELECT 1; SELECT 2", "syntax error at line 1, column 11: expected the end of the statement, found 'SELECT'");
    check(
        "CREATE TABLE t (a INT",
        "syntax error at line 1, column 22: expected ',' or ')' after the column, found the end of the text",
    );
    check("CREATE TABEL t (a INT)", "syntax error at line 1, column 8: cannot CREATE TABEL; did you mean 'TABLE'?");
    check("SELECT 'ü', 'open", "syntax error at line 1, column 13: unterminated string literal");
    check(
        "CREATE VIEW v AS\n SELECT * FROM",
        "syntax error at line 2, column 15: expected identifier, found the end of the text",
    );
    check(
        "CREATE OR REPLACE TABLE IF NOT EXISTS t (a INT)",
        "line 1, column 25: OR REPLACE and IF NOT EXISTS contradict each other; keep one",
    );
}

#[test]
fn changes() {
    check("DROP MATERIALIZED VIEW IF EXISTS v CASCADE;", "drop materialized view v if_exists=true cascade=true");
    check("ALTER TABLE t ADD COLUMN c BIGINT", "add t c Int64");
    check(
        "ALTER TABLE t ADD c BIGINT NOT NULL",
        "line 1, column 19: column 'c' cannot be NOT NULL: the rows that are there have \
        no value for it",
    );
    check(
        "ALTER TABLE t DROP COLUMN c",
        "line 1, column 15: only ALTER TABLE … ADD COLUMN name type, SET (option='value') and RESET (option) are supported",
    );
    check(
        "ALTER TABLE t SET (on_error='fail', lateness='3 days')",
        r#"alter table t [("on_error", Some("fail")), ("lateness", Some("3 days"))]"#,
    );
    check("ALTER TABLE t RESET (on_error)", r#"alter table t [("on_error", None)]"#);
    check("REPLAY REJECTS FROM t", "replay t None");
    check(
        "REPLAY REJECTS FROM t WHERE line = 1 OR (field IN ('a')) -- all",
        r#"replay t Some("line = 1 OR (field IN ('a'))")"#,
    );
    check(
        "COPY INTO t FROM 'a/*.csv' WITH (map='a=b, c=d', header=false)",
        "copy t from a/*.csv [(\"map\", \"a=b, c=d\"), \
        (\"header\", \"false\")]",
    );
    check(
        "COPY INTO t FROM 'x' WITH (fromat='csv')",
        "line 1, column 28: unknown option 'fromat'; did you mean 'format'?",
    );
    check(
        "COPY t TO 'x'",
        "line 1, column 6: only COPY INTO table FROM 'files' is supported; to write files, query from a client \
        or the command line",
    );
    check("OPTIMIZE TABLE \"T\";", "T Optimize");
    check("VACUUM TABLE t", "t Vacuum { retain: None }");
    check("vacuum table t retain '2 hours'", "t Vacuum { retain: Some(Span(7200s)) }");
    check("OPTIMIZE t", "syntax error at line 1, column 10: expected TABLE, found 't'");
    check(
        "VACUUM TABLE t RETAIN 2",
        "syntax error at line 1, column 23: expected a length of time in quotes, such as '2 hours', found '2'",
    );
    check(
        "VACUUM TABLE t RETAIN '2'",
        "line 1, column 23: RETAIN: '2' is not a length of time; write a number and a unit, such as \
        '7 days', '5 minutes' or '30s'",
    );
    check("KILL QUERY '019f1e3-0a'", "kill 019f1e3-0a");
    check("kill query 019f1e3c00e77000;", "kill 019f1e3c00e77000");
    let id = "expected the id of a statement, as in system.queries";
    check("KILL QUERY", &format!("syntax error at line 1, column 11: {id}"));
    check("KILL QUERY a b", &format!("syntax error at line 1, column 12: {id}"));
    check(
        "KILL QUERY 'a'; SELECT 1",
        "syntax error at line 1, column 17: expected the end of the statement, found 'SELECT'",
    );
    check("KILL 'a'", "syntax error at line 1, column 6: expected QUERY, found ''a''");
    check("INSERT INTO t (a, \"B\") VALUES (1, 2), (3, 4);", "insert t [\"a\", \"B\"] VALUES (1, 2), (3, 4)");
    check("INSERT INTO t (SELECT 1)", "insert t [] (SELECT 1)");
    check("INSERT INTO t WITH x AS (SELECT 1) SELECT * FROM x", "insert t [] WITH x AS (SELECT 1) SELECT * FROM x");
    check("INSERT INTO t (a, a) VALUES (1, 2)", "line 1, column 19: column 'a' is named twice");
    check("INSERT INTO t VALUES (1) RETURNING a", "line 1, column 26: ON CONFLICT and RETURNING are not supported");
}

#[test]
fn deletes() {
    check(
        "DELETE FROM t WHERE a > 1 AND b IN (SELECT b FROM o);",
        "delete t DELETE FROM t WHERE a > 1 AND b IN (SELECT b FROM o)",
    );
    check("-- why\ndelete from Public.T where TRUE ;", "delete t -- why\ndelete from Public.T where TRUE");
    let all = |table: &str| {
        format!(
            "DELETE without WHERE would delete every row of '{table}'; if that is meant, write WHERE TRUE, or DROP TABLE to be \
             rid of the table too"
        )
    };
    check("DELETE FROM t", &format!("line 1, column 14: {}", all("t")));
    check("DELETE FROM t ;", &format!("line 1, column 15: {}", all("t")));
    check("DELETE t WHERE a = 1", "syntax error at line 1, column 8: expected FROM, found 't'");
    check(
        "DELETE FROM t WHERE",
        "syntax error at line 1, column 20: expected an expression, found the end of the text",
    );
    check(
        "DELETE FROM t WHERE a = 1 b",
        "syntax error at line 1, column 27: expected the end of the statement, found 'b'",
    );
    check("DELETE FROM t (a)", "syntax error at line 1, column 15: expected WHERE, found '('");
    let join = "DELETE names one table; choose its rows by others with WHERE column IN (SELECT … FROM other)";
    check("DELETE FROM t USING o WHERE t.a = o.a", &format!("line 1, column 15: {join}"));
    check("DELETE FROM t, o WHERE t.a = o.a", &format!("line 1, column 14: {join}"));
    check("DELETE FROM t\nLEFT JOIN o ON t.a = o.a WHERE TRUE", &format!("line 2, column 1: {join}"));
    let alias = "DELETE takes no alias for its table; write its columns as they are";
    check("DELETE FROM t AS x WHERE x.a = 1", &format!("line 1, column 15: {alias}"));
    check("DELETE FROM t x WHERE x.a = 1", &format!("line 1, column 15: {alias}"));
    let returning = "RETURNING is not supported: select the rows first; the answer is how many went";
    check("DELETE FROM t RETURNING a", &format!("line 1, column 15: {returning}"));
    check("DELETE FROM t WHERE TRUE RETURNING a", &format!("line 1, column 26: {returning}"));
    let limit = "ORDER BY and LIMIT of DELETE are not supported: say in WHERE which rows go";
    check("DELETE FROM t WHERE TRUE ORDER BY a LIMIT 1", &format!("line 1, column 26: {limit}"));
    check("DELETE FROM t WHERE TRUE LIMIT 1", &format!("line 1, column 26: {limit}"));
    check(
        "DELETE FROM system.rejects WHERE TRUE",
        "line 1, column 13: nothing is deleted from system tables: they show what is, and follow by themselves",
    );
    check(
        "DELETE FROM other.t WHERE TRUE",
        "line 1, column 13: 'other.t': objects live in the schema adlake.public; leave the schema out",
    );
    check(
        "DELETE FROM t WHERE a IN (WITH x AS (SELECT 1) INSERT INTO t SELECT 1)",
        "line 1, column 21: a query cannot contain INSERT, UPDATE, DELETE or MERGE; write INSERT INTO … WITH … SELECT",
    );
    check("TRUNCATE TABLE t", "line 1, column 1: TRUNCATE is not supported: DELETE FROM the table WHERE TRUE instead");
}

#[test]
fn questions() {
    check("-- why\nSELECT 1 ; ", "query -- why\nSELECT 1");
    check("EXPLAIN ANALYZE VERBOSE SELECT 1", "query EXPLAIN ANALYZE VERBOSE SELECT 1");
    check("EXPLAIN FORMAT TREE SELECT 1", "query EXPLAIN FORMAT TREE SELECT 1");
    check(
        "EXPLAIN ANALYZE INSERT INTO t SELECT 1",
        "line 1, column 17: EXPLAIN shows the plan of a query only, such as EXPLAIN SELECT …",
    );
    check("SHOW MATERIALIZED VIEWS", "show Objects(MaterializedView)");
    check("SHOW TABLES;", "show Objects(Table)");
    check("SHOW datafusion.execution.batch_size", "show Setting(\"datafusion.execution.batch_size\")");
    check("SHOW ALL", "show AllSettings");
    check("SHOW COLUMNS FROM clicks", "describe clicks");
    check("DESCRIBE system.tables", "describe system.tables");
    check("DESC TABLE public.t", "describe t");
    check("SET adlake.timeout = '5 minutes'", "set adlake.timeout = 5 minutes");
    check("SET a TO -1;", "set a = -1");
    check("SET TIME ZONE 'Asia/Seoul'", "set datafusion.execution.time_zone = Asia/Seoul");
    check("SET a", "syntax error at line 1, column 6: expected '=' after the setting 'a', found the end of the text");
    check("RESET a.b", "reset Some(\"a.b\")");
    check("RESET ALL", "reset None");
}

#[test]
fn hidden_changes_are_refused() {
    check(
        "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
        "line 1, column 1: a query cannot contain INSERT, UPDATE, DELETE or \
        MERGE; write INSERT INTO … WITH … SELECT",
    );
    check(
        "SELECT 1 INTO t",
        "line 1, column 1: SELECT … INTO is not supported: create the table, then INSERT INTO … SELECT",
    );
}

#[test]
fn scripts_are_split_outside_quotes_and_comments() {
    let script = "-- first; not yet\nSELECT ';' ;\n\n ; SELECT 2 -- tail\n;/* only; this */";
    let parts = parse_script(script).unwrap();
    assert_eq!(parts, [(1, "-- first; not yet\nSELECT ';'".to_owned()), (4, "SELECT 2 -- tail".to_owned())]);
    assert_eq!(parse_script(" \n ").unwrap(), []);
    assert!(parse_script("SELECT 'open; SELECT 2").is_err());
}

#[test]
fn deep_nesting_is_an_error() {
    let deep = format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000));
    check(
        &deep,
        "syntax error at line 1, column 1: nested too deeply; split the statement, for example with WITH or a view",
    );
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in ".{0,80}") {
        let _ = parse_statement(&text);
        let _ = parse_script(&text);
    }

    /// Random sequences of words that make up statements reach far into the grammar.
    #[test]
    fn any_words_are_parsed_or_refused(words in proptest::collection::vec(proptest::sample::select(WORDS.to_vec()), 0..24)) {
        let text = words.join(" ");
        if let Ok(Statement::Create(create)) = parse_statement(&text) {
            // What is kept must mean the same when it is read again.
            let again = created(&create.sql);
            prop_assert_eq!(again.definition, create.definition);
            prop_assert_eq!(again.name, create.name);
        }
    }
}

const WORDS: [&str; 62] = [
    "CREATE",
    "OR",
    "REPLACE",
    "TABLE",
    "VIEW",
    "MATERIALIZED",
    "ENDPOINT",
    "IF",
    "NOT",
    "EXISTS",
    "t",
    "v",
    "a",
    "(",
    ")",
    ",",
    "INT",
    "VARCHAR",
    "NULL",
    "TIMESTAMPTZ",
    "CHECK",
    "a > 1",
    "WITH",
    "(a='b')",
    "(refresh='manual')",
    "(strategy='full', rewrite='off')",
    "(refresh='every 5 m', verify='1%')",
    "RESET",
    "REFRESH",
    "VERIFY",
    "EXPLAIN",
    "FULL",
    "BETWEEN",
    "AND",
    "now()",
    "path",
    "=",
    "'x'",
    "'/v1/é'",
    "AS",
    "SELECT",
    "1",
    "FROM",
    "$a",
    "adlake_filters()",
    "-- c\n",
    "/* é */",
    ";",
    "DROP",
    "ALTER",
    "ADD",
    "COPY",
    "INTO",
    "INSERT",
    "VALUES",
    "(1, 2)",
    "SHOW",
    "SET",
    "\"Q\"",
    "é",
    "ARRAY<INT>",
    "SELECT 1",
];

//! CREATE TABLE: types, options, checks.

use super::*;

#[test]
fn types_become_arrow_types() {
    check(
        "CREATE TABLE t (a VARCHAR NOT NULL, b TEXT, c STRING, d BIGINT, e INT, f INTEGER, g SMALLINT, h TINYINT)",
        "table t reads []: (a Utf8!, b Utf8, c Utf8, d Int64, e Int32, f Int32, g Int16, h Int8) Plain",
    );
    check(
        "CREATE TABLE t (a BOOLEAN, b DOUBLE, c DOUBLE PRECISION, d REAL, e FLOAT, f DECIMAL(18, 6), g NUMERIC(5))",
        "table t reads []: (a Boolean, b Float64, c Float64, d Float32, e Float32, f Decimal128(18, 6), g Decimal128(5, 0)) \
         Plain",
    );
    check(
        "CREATE TABLE t (a DATE, b TIMESTAMP, c TIMESTAMP WITH TIME ZONE, d TIMESTAMPTZ, e BYTEA, f VARBINARY)",
        "table t reads []: (a Date32, b Timestamp(µs), c Timestamp(µs, \"UTC\"), d Timestamp(µs, \"UTC\"), e Binary, \
         f Binary) Plain",
    );
    check(
        "CREATE TABLE t (a VARCHAR[], b ARRAY<BIGINT>)",
        "table t reads []: (a List(Utf8, field: 'element'), b List(Int64, field: 'element')) Plain",
    );
}

#[test]
fn wrong_types_are_named_at_their_place() {
    check("CREATE TABLE t (a VARCHR)", "line 1, column 19: unknown type 'VARCHR'; did you mean 'VARCHAR'?");
    check(
        "CREATE TABLE t (\n  a INT,\n  b VARCHAR(20))",
        "line 3, column 5: type VARCHAR(20): lengths are not kept; use VARCHAR, with CHECK (length(column) <= …) if the \
         length matters",
    );
    check(
        "CREATE TABLE t (a DECIMAL)",
        "line 1, column 19: DECIMAL needs a precision and a scale, such as DECIMAL(18, 6)",
    );
    check(
        "CREATE TABLE t (a DECIMAL(40, 2))",
        "line 1, column 19: DECIMAL(40, 2): the precision is 1 to 38, the scale 0 to the precision",
    );
    check(
        "CREATE TABLE t (a TIMESTAMP(3))",
        "line 1, column 19: timestamps are kept in microseconds; leave the precision out",
    );
    check("CREATE TABLE t (a UUID)", "line 1, column 19: type UUID is not supported; use VARCHAR");
}

#[test]
fn money_is_not_floating_point() {
    let message = "holds money, which must not be floating point: use BIGINT micros or DECIMAL(p, s)";
    for (column, data_type) in
        [("price_micros", "DOUBLE"), ("cost", "FLOAT"), ("ad_spend", "REAL"), ("daily_budget", "DOUBLE")]
    {
        check(
            &format!("CREATE TABLE t ({column} {data_type})"),
            &format!("line 1, column 17: column '{column}' {message}"),
        );
        assert!(parse_statement(&format!("CREATE TABLE t ({column} DECIMAL(18, 6))")).is_ok());
    }
    check("CREATE TABLE t (price_ratio DOUBLE)", "table t reads []: (price_ratio Float64) Plain");
    check("ALTER TABLE t ADD COLUMN cost DOUBLE", &format!("line 1, column 26: column 'cost' {message}"));
}

#[test]
fn event_tables() {
    check(
        "CREATE TABLE clicks (id VARCHAR NOT NULL, at TIMESTAMP WITH TIME ZONE NOT NULL) WITH (event_time='at', \
         event_key='id', partition_by='day(at)', sort_by='id, at', lateness='7 days', clock_skew='5 minutes');",
        "table clicks reads []: (id Utf8!, at Timestamp(µs, \"UTC\")!) Event { event_time: \"at\", event_key: Some(\"id\"), \
         lateness: Some(Span(604800s)), clock_skew: Some(Span(300s)), retention: None }",
    );
    let Definition::Table(table) =
        created("CREATE TABLE t (a DATE, b TIMESTAMP, c TEXT) WITH (partition_by='month(a), hour(b), c', sort_by='c')")
            .definition
    else {
        panic!("not a table")
    };
    let transforms: Vec<_> = table.partition_by.iter().map(|part| (part.column.as_str(), part.transform)).collect();
    use crate::storage::Transform::{Hour, Identity, Month};
    assert_eq!(transforms, [("a", Month), ("b", Hour), ("c", Identity)]);
}

#[test]
fn options_are_checked_against_columns() {
    check_options("event_tme='at'", "line 2, column 7: unknown option 'event_tme'; did you mean 'event_time'?");
    check_options(
        "shards='3'",
        "line 2, column 7: unknown option 'shards'; CREATE TABLE knows event_time, event_key, \
        partition_by, sort_by, lateness, clock_skew, kind, key, mode, retention, on_error, unknown_fields, landing, \
        landing_format, landing_rate, landing_map, landing_time_format, landing_order",
    );
    check_options(
        "event_time='att'",
        "line 2, column 18: event_time names the unknown column 'att'; did you mean 'at'?",
    );
    check_options("event_time='id'", "line 2, column 18: event_time column 'id' must be TIMESTAMP WITH TIME ZONE");
    check_options(
        "event_time='at', event_key='name'",
        "line 2, column 34: event_key column 'name' must be declared NOT NULL",
    );
    check_options(
        "event_time='at', event_key='x'",
        "line 2, column 34: event_key column 'x' must be text, a whole number, a date or a timestamp",
    );
    check_options(
        "sort_by='id, nam'",
        "line 2, column 15: sort_by names the unknown column 'nam'; did you mean 'name'?",
    );
    check_options(
        "partition_by='x'",
        "line 2, column 20: partition_by cannot use column 'x' of type Float64: use a text, \
        whole number, boolean or date column, or day(column) of a timestamp",
    );
    check_options(
        "partition_by='dya(at)'",
        "line 2, column 20: partition_by has the unknown function 'dya'; did you mean 'day'?",
    );
    check_options(
        "partition_by='day(name)'",
        "line 2, column 20: partition_by cannot use column 'name' of type Utf8: \
        day() and month() need a timestamp or a date",
    );
    check_options(
        "event_time='at', lateness='7'",
        "line 2, column 33: option lateness: '7' is not a length of time; write \
        a number and a unit, such as '7 days', '5 minutes' or '30s'",
    );
    check_options("lateness='7 days'", "line 2, column 7: option 'lateness' needs event_time='column'");
    check_options("event_key='id'", "line 2, column 7: option 'event_key' needs event_time='column'");
    check_options("sort_by='id', sort_by='at'", "line 2, column 21: option 'sort_by' is given twice");
    check_options(
        "sort_by 'id'",
        "syntax error at line 2, column 15: expected '=' after option 'sort_by', found ''id''",
    );
}

#[test]
fn snapshot_tables() {
    check_options(
        "kind='snapshot', key='id'",
        "table t reads []: (id Int64!, at Timestamp(µs, \"UTC\")!, name Utf8, x Float64) \
        Snapshot { key: [\"id\"] }",
    );
    check_options("kind='snapshot'", "line 2, column 7: kind='snapshot' needs key='column, …'");
    check_options("kind='snapshot', key='name'", "line 2, column 28: key column 'name' must be declared NOT NULL");
    check_options(
        "kind='snapshot', key='id', event_time='at'",
        "line 2, column 34: a table of kind 'snapshot' has no \
        event_time; leave kind out",
    );
    check_options(
        "kind='snapshoot', key='id'",
        "line 2, column 12: option kind: unknown kind 'snapshoot'; use plain, event or \
        snapshot; did you mean 'snapshot'?",
    );
    check_options("key='id'", "line 2, column 7: option 'key' is for kind='snapshot'; event tables use event_key");
}

#[test]
fn retention_goes_with_event_time_and_covers_lateness() {
    let retention = |options: &str| match created(&format!("CREATE TABLE t (at TIMESTAMPTZ NOT NULL) WITH ({options})"))
        .definition
    {
        Definition::Table(table) => match table.kind {
            crate::catalog::TableKind::Event { retention, .. } => retention,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    assert_eq!(retention("event_time='at', retention='400 days'"), Some("400 days".parse().unwrap()));
    assert_eq!(retention("event_time='at', lateness='7 days', retention='7 days'"), Some("7 days".parse().unwrap()));
    assert_eq!(retention("event_time='at'"), None);
    check_options("retention='400 days'", "line 2, column 7: option 'retention' needs event_time='column'");
    check_options(
        "kind='snapshot', key='id', retention='1 day'",
        "line 2, column 34: option 'retention' is for event tables, not for kind='snapshot'",
    );
    check_options(
        "event_time='at', lateness='7 days', retention='6 days'",
        "line 2, column 53: retention '6 days' is shorter than lateness '7 days': events would be accepted and then removed",
    );
    check_options(
        "event_time='at', retention='5 minutes'",
        "line 2, column 34: retention '5 minutes' is too short: use at least '1 hour'",
    );
    check_options(
        "event_time='at', retention='7'",
        "line 2, column 34: option retention: '7' is not a length of time; write \
        a number and a unit, such as '7 days', '5 minutes' or '30s'",
    );
}

#[test]
fn what_is_not_enforced_is_not_accepted() {
    check_options(
        "kind='snapshot', key='id', mode='full'",
        "line 2, column 34: option 'mode' is not supported yet: a load \
        replaces the keys it brings and keeps the others",
    );
    check(
        "CREATE TABLE t (a INT DEFAULT 1)",
        "line 1, column 23: DEFAULT is not supported yet: a missing value is NULL",
    );
    check(
        "CREATE TABLE t (a INT PRIMARY KEY)",
        "line 1, column 23: PRIMARY KEY and UNIQUE are not supported: use WITH \
        (event_key='column'), or kind='snapshot', key='column'",
    );
    check(
        "CREATE TABLE t AS SELECT 1",
        "line 1, column 16: CREATE TABLE … AS is not supported yet: create the table with its \
        columns, then INSERT INTO … SELECT",
    );
    check("CREATE FEED f AS SELECT 1", "line 1, column 8: CREATE FEED is not supported yet");
    check("DROP TASK t", "line 1, column 6: DROP TASK is not supported yet");
    check(
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'x'",
        "line 1, column 8: CREATE EXTERNAL is not supported: make a \
        table and load the files with COPY INTO",
    );
    check(
        "UPDATE t SET a = 1",
        "line 1, column 1: UPDATE is not supported: rows are not changed in place: load a snapshot \
        table, or DELETE the rows and insert them anew",
    );
    use crate::base::{Classify, Kind};
    assert_eq!(parse_statement("CREATE TASK t").unwrap_err().kind(), Kind::Unimplemented);
}

#[test]
fn checks_name_their_columns() {
    let checks = |sql: &str| match created(sql).definition {
        Definition::Table(table) => table.checks,
        other => panic!("{other:?}"),
    };
    let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    assert_eq!(
        checks("CREATE TABLE t (a INT CHECK (a > 0), b INT, CONSTRAINT small CHECK (a < 10 AND b IN (1, 2)))"),
        [pair("a > 0", "a > 0"), pair("small", "a < 10 AND b IN (1, 2)")]
    );
    check(
        "CREATE TABLE t (amount INT,\n CHECK (amuont > 0))",
        "line 2, column 9: CHECK names the unknown column 'amuont'; did \
        you mean 'amount'?",
    );
    check(
        "CREATE TABLE t (a INT, CHECK (a > (SELECT 1)))",
        "line 1, column 31: CHECK sees one row at a time: it cannot \
        contain a query",
    );
    check("CREATE TABLE t (\"check\" INT, a INT)", "table t reads []: (check Int32, a Int32) Plain");
}

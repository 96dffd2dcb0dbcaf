//! Views, materialized views and endpoints.

use super::*;

#[test]
fn views_keep_their_text_and_know_what_they_read() {
    check(
        "CREATE VIEW v AS\n  SELECT a, -- why\n  b FROM clicks c JOIN public.ads USING (id) ;",
        "view v reads [\"ads\", \"clicks\"]: SELECT a, -- why\n  b FROM clicks c JOIN public.ads USING (id)",
    );
    let reads = |query: &str| created(&format!("CREATE VIEW v AS {query}")).reads.join(" ");
    assert_eq!(reads("WITH a AS (SELECT * FROM t), b AS (SELECT * FROM a) SELECT * FROM b, u"), "t u");
    assert_eq!(reads("WITH t AS (SELECT * FROM t) SELECT * FROM t"), "t");
    assert_eq!(reads("WITH RECURSIVE t AS (SELECT 1 UNION ALL SELECT * FROM t) SELECT * FROM t"), "");
    assert_eq!(reads("SELECT * FROM (WITH t AS (SELECT 1) SELECT * FROM t) x, t"), "t");
    assert_eq!(reads("SELECT (SELECT max(a) FROM s) FROM t WHERE EXISTS (SELECT 1 FROM \"U\")"), "U s t");
    assert_eq!(reads("SELECT * FROM system.tables, information_schema.columns, generate_series(1, 3)"), "");
    assert_eq!(reads("SELECT 1 UNION SELECT a FROM x EXCEPT (SELECT b FROM y)"), "x y");
}

#[test]
fn views_refuse_parameters_and_changes() {
    check(
        "CREATE VIEW v AS\n SELECT $a",
        "line 2, column 9: the query of a view cannot have parameters; only endpoints have them",
    );
    check(
        "CREATE VIEW v AS SELECT * INTO t FROM u",
        "line 1, column 18: SELECT … INTO is not supported: create the table, then \
        INSERT INTO … SELECT",
    );
    check(
        "CREATE VIEW v (a) AS SELECT 1",
        "line 1, column 15: a list of column names is not supported: name the columns in \
        the query (SELECT … AS name)",
    );
    check(
        "CREATE VIEW v WITH (a='b') AS SELECT 1",
        "line 1, column 21: unknown option 'a'; CREATE VIEW has no options",
    );
}

#[test]
fn the_kept_text_is_a_plain_create() {
    let kept = |sql: &str| created(sql).sql;
    assert_eq!(kept("-- why\nCREATE OR REPLACE VIEW v AS SELECT 1;"), "-- why\nCREATE VIEW v AS SELECT 1");
    assert_eq!(kept("CREATE TABLE IF NOT EXISTS t (a INT) ; -- end"), "CREATE TABLE t (a INT)");
    assert_eq!(
        kept("create /* x */ or replace table \"Ü1\"(a int)".replace('Ü', "u").as_str()),
        "create /* x */ table \"u1\"(a int)"
    );
}

const ENDPOINT: &str = "-- Clicks of one ad.\n-- Half-open.\nCREATE ENDPOINT e (ad VARCHAR, \"from\" TIMESTAMPTZ DEFAULT now() - \
    INTERVAL '1 hour')\nWITH (path='/v1/ads/{ad}/count', filters='country, ip') AS\nSELECT count(*) AS n FROM clicks WHERE \
    ad_id = $ad AND event_time >= $from AND adlake_filters()";

#[test]
fn endpoints() {
    let create = created(ENDPOINT);
    let Definition::Endpoint(endpoint) = &create.definition else { panic!("not an endpoint") };
    assert_eq!(endpoint.description, "Clicks of one ad.\nHalf-open.");
    let parameters: Vec<_> =
        endpoint.parameters.iter().map(|parameter| (parameter.name.as_str(), parameter.default.as_deref())).collect();
    assert_eq!(parameters, [("ad", None), ("from", Some("now() - INTERVAL '1 hour'"))]);
    assert_eq!((create.reads.join(" "), endpoint.filters.join(" ")), ("clicks".to_owned(), "country ip".to_owned()));
    assert!(endpoint.query_with_filters("country = $f1").unwrap().ends_with("event_time >= $from AND (country = $f1)"));
}

#[test]
fn filters_are_replaced_only_where_they_are_calls() {
    let replaced = |query: &str| replace_filters(query, "TRUE").unwrap();
    assert_eq!(replaced("a AND ADLAKE_FILTERS ( ) OR 'adlake_filters()'"), "a AND (TRUE) OR 'adlake_filters()'");
    assert_eq!(
        replaced("adlake_filters() -- adlake_filters()\nx adlake_filters()"),
        "(TRUE) -- adlake_filters()\nx (TRUE)"
    );
    assert_eq!(replaced("SELECT 1"), "SELECT 1");
}

#[test]
fn endpoints_are_consistent() {
    let change = |from: &str, to: &str, expected: &str| check(&ENDPOINT.replace(from, to), expected);
    change(
        ", filters='country, ip'",
        "",
        "line 5, column 80: adlake_filters() needs WITH (filters='column, …'): which columns may \
        be filtered by",
    );
    change(
        " AND adlake_filters()",
        "",
        "line 4, column 34: write adlake_filters() in the query where the filters apply, such as \
        WHERE … AND adlake_filters()",
    );
    change(
        "$from",
        "$form",
        "line 5, column 70: no parameter is called 'form'; write $name of a declared one; did you mean 'from'?",
    );
    change(
        "event_time >= $from AND ",
        "",
        "line 3, column 32: the query does not use parameter 'from'; write $from where it belongs",
    );
    change(
        "{ad}",
        "{da}",
        "line 4, column 12: path '/v1/ads/{da}/count': no parameter is called 'da'; did you mean 'ad'?",
    );
    change(
        "/v1/ads/{ad}",
        "/v1/ads/{from}",
        "line 3, column 32: parameter 'from' is in the path, so it cannot have a default",
    );
    change(
        "/v1/ads",
        "/ads",
        "line 4, column 12: path '/ads/{ad}/count' must begin with '/v1/' and go on, without '/' at its end",
    );
    change("/v1/ads", "/v1/sql", "line 4, column 12: path '/v1/sql/{ad}/count': '/v1/sql' belongs to the server");
    change(
        "/count",
        "/cou nt",
        "line 4, column 12: path '/v1/ads/{ad}/cou nt': 'cou nt' must be letters, digits, '_', '-' and '.', \
        or one {parameter}",
    );
    change("'country, ip'", "'country, ad'", "line 4, column 42: 'ad' is a parameter and a filter; keep one");
}

#[test]
fn parameters_may_have_a_range() {
    let with = |range: &str| format!("CREATE ENDPOINT e (n {range}) WITH (path='/v1/e') AS SELECT $n AS n");
    let range = |text: &str| {
        let create = created(&with(text));
        let Definition::Endpoint(endpoint) = create.definition else { panic!("not an endpoint") };
        let range = endpoint.parameters[0].range.clone();
        (range.least.unwrap_or_default(), range.most.unwrap_or_default())
    };
    let both = |least: &str, most: &str| (least.to_owned(), most.to_owned());
    assert_eq!(range("BIGINT DEFAULT 100 CHECK (n BETWEEN 1 AND 1000)"), both("1", "1000"));
    assert_eq!(range("BIGINT CHECK (\"n\" >= -5)"), both("-5", ""));
    assert_eq!(range("DECIMAL(10, 2) CHECK ((n >= 0.5) AND N <= 2)"), both("0.5", "2"));
    assert_eq!(range("BIGINT DEFAULT 1"), both("", ""));
    let wrong = |text: &str, part: &str| {
        let error = parse_statement(&with(text)).unwrap_err().to_string();
        assert!(error.contains(part), "'{error}' does not say '{part}'");
    };
    wrong("BIGINT CHECK (n > 0)", "must be a range with literal bounds, such as (n BETWEEN 1 AND 1000) or (n >= 1)");
    wrong("BIGINT CHECK (m >= 0)", "must be a range");
    wrong("BIGINT CHECK (n >= 0 AND n >= 1)", "must be a range");
    wrong("BIGINT CHECK (n >= 0.5)", "0.5 is not a whole number");
    wrong("BIGINT CHECK (n BETWEEN 2 AND 1)", "holds for no value");
    wrong("BIGINT DEFAULT 0 CHECK (n >= 1)", "the default of parameter 'n' is outside its CHECK");
    wrong("VARCHAR CHECK (n >= 1)", "is not a number");
    wrong("BIGINT CHECK n >= 1", "expected '('");
}

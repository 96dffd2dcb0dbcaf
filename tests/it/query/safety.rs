//! What SQL may not do: name files that are not for it, stand for a plan nobody could walk through, ask for more
//! parameters or larger patterns than are borne.

use adlake::base::{Classify, Kind};
use adlake::query::{Origin, Params, QueryError, Request, Session};
use datafusion::common::ScalarValue;

use crate::lab::Lab;

/// Why a statement is refused that came through a server.
async fn refused(lab: &Lab, origin: Origin, sql: &str) -> QueryError {
    let session = Session::new("remote", "somebody", origin);
    lab.engine.execute(Request::new(sql, &session)).await.map(|_| ()).unwrap_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_out_of_reach_of_who_is_not_on_this_machine() {
    let lab = Lab::with(&[("query.allowed_locations", "/data/in, s3://ads/in")]).await;
    lab.run("CREATE TABLE t (a BIGINT)").await;
    let places = [
        "/etc/passwd",
        "/data/inner/a.csv",
        "/data/in/../b.csv",
        "*.csv",
        "s3://ads/other/a.csv",
        "file:///etc/passwd",
    ];
    for place in places {
        let statements = [
            format!("COPY INTO t FROM '{place}'"),
            format!("CREATE TABLE u (a BIGINT) WITH (landing='{place}')"),
            format!("ALTER TABLE t SET (landing='{place}')"),
        ];
        for sql in statements {
            for origin in [Origin::Http, Origin::FlightSql, Origin::Endpoint] {
                let error = refused(&lab, origin, &sql).await;
                assert_eq!(error.kind(), Kind::PermissionDenied, "{sql}: {error}");
                let said = error.to_string();
                assert!(said.contains(&format!("'{place}' is in none of the places")), "{sql}: {said}");
            }
        }
    }
    // On this machine it is the operating system that decides; inside the allowed places the landing folder stands.
    lab.run("CREATE TABLE local (a BIGINT) WITH (landing='/elsewhere/in')").await;
    let remote = Session::new("remote", "somebody", Origin::Http);
    let allowed = Request::new("CREATE TABLE u (a BIGINT) WITH (landing='/data/in/clicks')", &remote);
    lab.try_request(allowed).await.unwrap();
    // What somebody else was allowed may be kept, and dropped.
    let kept = Request::new("ALTER TABLE local SET (landing_rate='10 files per minute')", &remote);
    lab.try_request(kept).await.unwrap();
    lab.try_request(Request::new("ALTER TABLE local RESET (landing, landing_rate)", &remote)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_but_copy_and_landing_names_files() {
    let lab = Lab::open().await;
    for sql in [
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM \"/etc/passwd\"",
        "SELECT * FROM 's3://ads/in/a.parquet'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_parquet('/etc/passwd')",
        "SELECT * FROM read_json('/etc/passwd')",
        "SELECT * FROM parquet_metadata('/etc/passwd')",
        "SELECT read_file('/etc/passwd')",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT load_extension('/tmp/x.so')",
        "COPY (SELECT 1) TO '/tmp/adlake-safety.csv'",
        "COPY t TO '/tmp/adlake-safety.csv'",
        "INSERT INTO '/tmp/adlake-safety.csv' SELECT 1",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE FUNCTION f() RETURNS INT LANGUAGE C AS '/tmp/x.so'",
        "LOAD '/tmp/x.so'",
        "ATTACH '/tmp/x.db'",
        "EXPLAIN COPY (SELECT 1) TO '/tmp/adlake-safety.csv'",
        "SET datafusion.runtime.temp_directory = '/tmp'",
    ] {
        let error = lab.try_run(sql).await.err().unwrap_or_else(|| panic!("{sql} was run"));
        let kinds = [Kind::InvalidArgument, Kind::NotFound, Kind::Unimplemented];
        assert!(kinds.contains(&error.kind()), "{sql}: {} {error}", error.kind());
        assert!(!error.to_string().contains("root:"), "{sql}: {error}");
    }
    assert!(!std::fs::exists("/tmp/adlake-safety.csv").unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_that_double_with_every_name_are_refused() {
    let lab = Lab::open().await;
    let doubling = |name: &str| {
        let mut sql = format!("WITH {name}0 AS (SELECT 1 AS a)");
        for level in 1..=60 {
            let below = format!("SELECT * FROM c{}", level - 1);
            sql.push_str(&format!(", {name}{level} AS ({below} UNION ALL {below})"));
        }
        sql + " SELECT count(*) FROM c60"
    };
    lab.run("CREATE TABLE counts (n BIGINT)").await;
    let [plain, upper] = ["c", "C"].map(doubling);
    for sql in [
        format!("EXPLAIN {plain}"),
        format!("EXPLAIN ANALYZE {upper}"),
        format!("CREATE VIEW doubled AS {plain}"),
        format!("CREATE MATERIALIZED VIEW doubled WITH (refresh='manual') AS {upper}"),
        format!("INSERT INTO counts {plain}"),
        plain,
        upper,
    ] {
        let error = lab.error(&sql).await;
        assert!(error.contains("the statement's plan has more than 10000 nodes"), "{sql}: {error}");
    }

    lab.run("CREATE VIEW v0 AS SELECT 1 AS a").await;
    let mut level = 0;
    let error = loop {
        let next = level + 1;
        let view = format!("CREATE VIEW v{next} AS SELECT * FROM v{level} UNION ALL SELECT * FROM v{level}");
        match lab.try_run(&view).await {
            Ok(_) => level = next,
            Err(error) => break error.to_string(),
        }
        assert!(level < 30, "v{level} is a plan of a thousand million nodes");
    };
    assert!(error.contains("more than 10000 nodes"), "{error}");
    assert!(level >= 8, "views of hundreds of scans are in order: {level}");
    assert_eq!(lab.rows("SELECT count(*) FROM v8").await, ["256"]);
}

/// Trees as deep as these would end the process when they are freed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chains_behind_an_operand_are_bounded() {
    let lab = Lab::open().await;
    for (operand, operator) in [
        ("1", " IS NULL"),
        ("1", " IS NOT TRUE"),
        ("'a'", " LIKE 'a'"),
        ("'a'", " COLLATE c"),
        ("now()", " AT TIME ZONE 'UTC'"),
        ("1", "::BIGINT"),
        ("a", "[1]"),
        ("(a)", ".a"),
        ("1, 2", " UNION ALL SELECT 1, 2"),
        ("E'\\''", " || 'a'"),
        ("q'[']'", " || 'a'"),
    ] {
        let error = lab.error(&format!("SELECT {operand}{}", operator.repeat(20_000))).await;
        assert!(
            error.starts_with("invalid_argument: more than 6000 operators in one expression"),
            "{operator}: {error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_inside_one_another_are_bounded() {
    let lab = Lab::open().await;
    lab.run("CREATE VIEW w0 AS SELECT 1 AS a").await;
    let mut level = 0;
    let error = loop {
        match lab.try_run(&format!("CREATE VIEW w{} AS SELECT a FROM w{level}", level + 1)).await {
            Ok(_) => level += 1,
            Err(error) => break error.to_string(),
        }
        assert!(level < 200, "no end");
    };
    assert!(error.contains("more than 32 views inside one another"), "{error}");
    assert_eq!(lab.rows(&format!("SELECT a FROM w{level}")).await, ["1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_are_bounded() {
    let lab = Lab::with(&[("query.max_parameters", "100")]).await;
    let many = |count: usize| vec!["?"; count].join(", ");
    let values = |count: usize| Params::Positional(vec![ScalarValue::from(1_i64); count]);
    let request = |count: usize| Request {
        params: values(count),
        ..lab.request(&format!("SELECT 1 WHERE 1 IN ({})", many(count)))
    };
    assert_eq!(lab.try_request(request(100)).await.unwrap().rows.len(), 1);
    let error = lab.try_request(request(101)).await.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("more than 100 parameters (query.max_parameters)"), "{error}");
    // One is enough to ask for two thousand million fields.
    let error = lab.engine.prepare("SELECT $2000000000", &lab.session).await.unwrap_err().to_string();
    assert!(error.contains("more than 100 parameters"), "{error}");
    let error = lab.engine.prepare("SELECT E'\\'', $4000000000", &lab.session).await.unwrap_err().to_string();
    assert!(error.contains("more than 100 parameters"), "{error}");
    let few = Request { params: values(100_000), ..lab.request("SELECT ?") };
    assert!(lab.try_request(few).await.map(|_| ()).unwrap_err().to_string().contains("100000 values were given"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patterns_that_would_take_all_memory_are_refused() {
    let lab = Lab::open().await;
    let large = "(((x{100}){100}){100})";
    let deep = format!("{}x{}", "(".repeat(3_000), ")".repeat(3_000));
    for pattern in [large, deep.as_str()] {
        for sql in [
            format!("SELECT regexp_like(a, '{pattern}') FROM (VALUES ('x')) t (a)"),
            format!("SELECT a ~ '{pattern}' FROM (VALUES ('x')) t (a)"),
            format!("SELECT regexp_replace(a, '{pattern}', 'y') FROM (VALUES ('x')) t (a)"),
            format!("SELECT regexp_match(a, '{pattern}') FROM (VALUES ('x')) t (a)"),
            format!("SELECT regexp_count(a, '{pattern}') FROM (VALUES ('x')) t (a)"),
        ] {
            let error = lab.try_run(&sql).await.map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
            assert!(error.to_string().len() < 8_000, "{} bytes", error.to_string().len());
        }
    }
    // Time is linear in the text, whatever the pattern (no backtracking).
    let text = "x".repeat(100_000);
    let slow = format!("SELECT regexp_like(a, '^(x+x+)+y$') FROM (VALUES ('{text}')) t (a)");
    assert_eq!(lab.rows(&slow).await, ["false"]);
}

//! Every cell: who, over which protocol, which statement, what comes of it.

use std::sync::Arc;

use arrow::array::Int64Array;
use arrow_flight::sql::{CommandStatementIngest, TableDefinitionOptions, TableExistsOption, TableNotExistOption};

use super::*;

/// Whose cells; the first is the token of the first start.
const WHO: [&str; 8] = ["admin", "eve", "ana", "ida", "pat", "pia", "nia", "rob"];

/// A statement and what it comes to, in the order of `WHO`: rows, or the kind of an error.
struct Line {
    sql: &'static str,
    cells: [&'static str; 8],
}

const NOT_FOUND: &str = "not_found";
const DENIED: &str = "permission_denied";

/// `sales` has a policy for partners alone: analysts and engineers without that role see none of its rows.
const READING: [Line; 18] = [
    Line { sql: "SELECT 1", cells: ["1", "1", "1", "1", "1", "1", "1", "1"] },
    Line { sql: "SELECT count(*) FROM sales", cells: ["5", "0", "0", DENIED, "2", "2", NOT_FOUND, "2"] },
    Line {
        sql: "SELECT region, count(*) FROM sales GROUP BY region ORDER BY region",
        cells: ["JP|1; KR|2; US|2", "", "", DENIED, "KR|2", "US|2", NOT_FOUND, "US|2"],
    },
    Line {
        sql: "SELECT item, count(*) FROM sales GROUP BY item ORDER BY item",
        cells: ["a|3; b|1; c|1", "", "", DENIED, "a|1; b|1", "a|2", NOT_FOUND, "a|2"],
    },
    Line {
        sql: "SELECT sum(price) FROM sales_view",
        cells: ["125", "null", "null", DENIED, NOT_FOUND, "45", NOT_FOUND, "45"],
    },
    Line {
        sql: "SELECT region, n FROM by_region ORDER BY region",
        cells: ["JP|1; KR|2; US|2", "", "", DENIED, NOT_FOUND, "US|2", NOT_FOUND, "US|2"],
    },
    Line {
        sql: "SELECT item, n FROM by_item ORDER BY item",
        cells: ["a|3; b|1; c|1", "", "", DENIED, NOT_FOUND, "a|2", NOT_FOUND, "a|2"],
    },
    Line {
        sql: "SELECT item FROM items ORDER BY item",
        cells: ["a; b; c", "", "", DENIED, NOT_FOUND, "a", NOT_FOUND, "a"],
    },
    // The id of a hidden row, and an error on a hidden row (price 5 is in the US).
    Line { sql: "SELECT id FROM sales WHERE id = 5", cells: ["5", "", "", DENIED, "", "", NOT_FOUND, ""] },
    Line {
        sql: "SELECT count(*) FROM sales WHERE 100 / (price - 5) > 0",
        cells: ["invalid_argument", "0", "0", DENIED, "2", "invalid_argument", NOT_FOUND, "invalid_argument"],
    },
    Line {
        sql: "SELECT current_user() || coalesce(current_attribute('region'), '-')",
        cells: ["admin-", "eve-", "ana-", "ida-", "patKR", "piaUS", "nia-", "robUS"],
    },
    Line {
        sql: "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1",
        cells: [ALL_OBJECTS, ALL_OBJECTS, ALL_OBJECTS, ALL_OBJECTS, "sales", ALL_OBJECTS, "", ALL_OBJECTS],
    },
    Line {
        sql: "SELECT name, \"rows\" FROM system.tables WHERE name = 'sales'",
        cells: ["sales|5", "sales|null", "sales|null", "sales|null", "sales|null", "sales|null", "", "sales|null"],
    },
    Line {
        sql: "SELECT count(*) > 0 FROM system.users",
        cells: ["true", "false", "false", "false", "false", "false", "false", "false"],
    },
    Line {
        sql: "SELECT count(*) > 0 FROM system.listeners",
        cells: ["true", "false", "false", "false", "false", "false", "false", "false"],
    },
    Line {
        sql: "SELECT count(*) > 0 FROM system.lineage WHERE reads_name = 'sales'",
        cells: ["true", "false", "false", "false", "false", "false", "false", "false"],
    },
    Line {
        sql: "SELECT s.item, sum(i.n) FROM sales AS s JOIN by_item AS i ON s.item = i.item GROUP BY s.item ORDER BY 1",
        cells: ["a|9; b|1; c|1", "", "", DENIED, NOT_FOUND, "a|4", NOT_FOUND, "a|4"],
    },
    Line {
        sql: "SELECT sum(n) FROM (SELECT region, sum(n) AS n FROM by_region GROUP BY region) AS t WHERE region <> 'JP'",
        cells: ["4", "null", "null", DENIED, NOT_FOUND, "2", NOT_FOUND, "2"],
    },
];

const ALL_OBJECTS: &str = "by_item; by_region; items; sales; sales_view; secret";

#[tokio::test]
async fn what_is_read_is_the_same_over_every_protocol() {
    let server = Guarded::with_people().await;
    for Line { sql, cells } in &READING {
        for (who, expected) in WHO.iter().zip(cells) {
            let authorization = if *who == "admin" { server.admin.clone() } else { as_user(who) };
            let found = [
                ("http", server.over_http(&authorization, sql).await),
                ("flight", server.over_flight(&authorization, sql).await),
                ("prepared", server.over_prepared(&authorization, sql).await),
            ];
            for (protocol, found) in found {
                assert_eq!(found, *expected, "{who} over {protocol}: {sql}");
            }
        }
    }
    server.stop().await;
}

/// What changes something: run for everybody in turn, so that a later cell may meet what an earlier one made. An empty cell is any
/// success, `*` anything but a refusal.
const CHANGING: [Line; 14] = [
    Line { sql: "EXPLAIN REFRESH by_region", cells: ["", DENIED, DENIED, DENIED, DENIED, DENIED, DENIED, DENIED] },
    Line {
        sql: "EXPLAIN ANALYZE SELECT count(*) FROM sales",
        cells: ["", DENIED, DENIED, DENIED, DENIED, DENIED, NOT_FOUND, DENIED],
    },
    Line {
        sql: "ADVISE MATERIALIZED VIEWS FOR 'SELECT count(*) FROM secret'",
        cells: ["", "", DENIED, DENIED, DENIED, DENIED, DENIED, DENIED],
    },
    Line {
        sql: "ADVISE MATERIALIZED VIEWS FOR 'SELECT region, count(*) FROM sales GROUP BY region'",
        cells: ["", DENIED, DENIED, DENIED, DENIED, DENIED, DENIED, DENIED],
    },
    Line {
        sql: "DELETE FROM secret WHERE x = 77",
        cells: ["", "", DENIED, DENIED, NOT_FOUND, DENIED, NOT_FOUND, DENIED],
    },
    Line {
        sql: "DELETE FROM sales WHERE id = 77",
        cells: ["", DENIED, DENIED, DENIED, DENIED, DENIED, NOT_FOUND, DENIED],
    },
    Line { sql: "INSERT INTO secret VALUES (1)", cells: ["", "", DENIED, "", NOT_FOUND, DENIED, NOT_FOUND, DENIED] },
    Line {
        sql: "INSERT INTO sales (id) SELECT x FROM secret",
        cells: ["", "", DENIED, DENIED, DENIED, DENIED, NOT_FOUND, DENIED],
    },
    Line {
        sql: "CREATE OR REPLACE VIEW made AS SELECT 1 AS one",
        cells: ["", "", DENIED, DENIED, DENIED, DENIED, DENIED, DENIED],
    },
    Line {
        sql: "COPY INTO secret FROM '/nowhere/rows.csv'",
        cells: ["*", DENIED, DENIED, DENIED, DENIED, DENIED, DENIED, DENIED],
    },
    Line {
        sql: "ALTER TABLE secret SET (landing='/nowhere')",
        cells: ["*", DENIED, DENIED, DENIED, DENIED, DENIED, DENIED, DENIED],
    },
    Line { sql: "CREATE ROLE IF NOT EXISTS made", cells: ["", DENIED, DENIED, DENIED, DENIED, DENIED, DENIED, DENIED] },
    Line { sql: "DROP ROLE IF EXISTS made", cells: ["", DENIED, DENIED, DENIED, DENIED, DENIED, DENIED, DENIED] },
    Line { sql: "DROP POLICY own ON sales", cells: ["*", DENIED, DENIED, DENIED, DENIED, DENIED, DENIED, DENIED] },
];

#[tokio::test]
async fn what_changes_something_is_for_who_may() {
    let server = Guarded::with_people().await;
    for Line { sql, cells } in &CHANGING {
        // The admin last: what it drops is gone.
        for (who, expected) in WHO.iter().zip(cells).rev() {
            let authorization = if *who == "admin" { server.admin.clone() } else { as_user(who) };
            for (protocol, found) in [
                ("http", server.try_http(&authorization, sql).await),
                ("flight", server.try_flight(&authorization, sql).await),
            ] {
                match *expected {
                    "*" => assert_ne!(found, Err(DENIED.to_owned()), "{who} over {protocol}: {sql}"),
                    "" => assert!(found.is_ok(), "{who} over {protocol}: {sql}: {found:?}"),
                    kind => assert_eq!(found, Err(kind.to_owned()), "{who} over {protocol}: {sql}"),
                }
            }
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn nobody_without_a_credential_gets_past_the_door() {
    let server = Guarded::with_people().await;
    let wrong = [
        "",
        "Basic !",
        "Basic cGF0Ondyb25n",
        "Bearer adlake_000000000000_0",
        "Bearer eyJhbGciOiJub25lIn0.e30.",
        "Digest x",
    ];
    for authorization in wrong {
        assert_eq!(server.over_http(authorization, "SELECT 1").await, "unauthenticated", "{authorization}");
        assert_eq!(server.over_flight(authorization, "SELECT 1").await, "unauthenticated", "{authorization}");
        for path in ["/", "/metrics", "/openapi.json", "/v1/totals/a", "/nothing"] {
            let reply = server.request(Method::GET, path, authorization).send().await.unwrap();
            assert_eq!(reply.status(), 401, "{path} {authorization}");
            assert!(reply.headers()["www-authenticate"].to_str().unwrap().contains("Bearer"));
            let text = reply.text().await.unwrap();
            assert!(!text.contains("sales") && !text.contains("totals"), "{text}");
        }
        let rows = server.request(Method::POST, "/v1/tables/sales/rows", authorization).json(&json!([{"id": 9}]));
        assert_eq!(rows.send().await.unwrap().status(), 401);
    }
    for open in ["/healthz", "/readyz"] {
        assert_eq!(server.request(Method::GET, open, "").send().await.unwrap().status(), 200);
    }
    server.stop().await;
}

#[tokio::test]
async fn endpoints_are_called_by_grant_and_answer_by_policy() {
    let server = Guarded::with_people().await;
    let mut found = Vec::new();
    for who in WHO {
        let authorization = if who == "admin" { server.admin.clone() } else { as_user(who) };
        let reply = server.request(Method::GET, "/v1/totals/a", &authorization).send().await.unwrap();
        let status = reply.status().as_u16();
        let body: Value = reply.json().await.unwrap();
        found.push(if status == 200 { body["n"].to_string() } else { status.to_string() });
    }
    assert_eq!(found, ["3", "0", "0", "404", "1", "2", "404", "2"]);
    for (who, sees) in [("pat", true), ("nia", false)] {
        for path in ["/", "/openapi.json"] {
            let text = server.request(Method::GET, path, &as_user(who)).send().await.unwrap().text().await.unwrap();
            assert_eq!(text.contains("totals"), sees, "{who} {path}");
        }
    }
    let tag = |authorization: String| {
        let request = server.request(Method::GET, "/v1/totals/a", &authorization);
        async move { request.send().await.unwrap().headers()["etag"].clone() }
    };
    let first = tag(as_user("pat")).await;
    assert_ne!(first, tag(as_user("pia")).await, "an answer is its principal's");
    let directory = server.running.app.authenticator.directory();
    let version = directory.snapshot().version;
    directory.store_uses().await.unwrap();
    assert_ne!(directory.snapshot().version, version, "the admin's token was used");
    assert_eq!(tag(as_user("pat")).await, first, "which changes nobody's answer");
    server.run("DROP POLICY own ON sales").await;
    server.run("CREATE POLICY own ON sales TO ROLE partner USING (price < 10)").await;
    assert_ne!(tag(as_user("pat")).await, first);
    server.stop().await;
}

#[tokio::test]
async fn rows_go_in_by_insert_over_http_and_flight() {
    let server = Guarded::with_people().await;
    for (who, status) in [("ida", 200), ("eve", 200), ("ana", 403), ("pat", 403), ("nia", 404)] {
        let rows = server.request(Method::POST, "/v1/tables/sales/rows", &as_user(who)).json(&json!([{"id": 9}]));
        assert_eq!(rows.send().await.unwrap().status(), status, "{who}");
    }
    server.stop().await;
}

#[tokio::test]
async fn rows_of_a_driver_go_in_by_the_same_rights() {
    let server = Guarded::with_people().await;
    let rows = || RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from(vec![7, 8])) as _)]).unwrap();
    let kind = |outcome: Result<i64, FlightError>| cell(outcome.map(|count| vec![count.to_string()]));
    for (who, appended, made) in [
        ("ida", "2", DENIED),
        ("ana", DENIED, DENIED),
        ("pia", DENIED, DENIED),
        ("pat", NOT_FOUND, DENIED),
        ("eve", "2", "2"),
    ] {
        let mut client = server.flight(&as_user(who)).await;
        let into = |table: &str| CommandStatementIngest {
            table: table.to_owned(),
            table_definition_options: Some(TableDefinitionOptions {
                if_exists: TableExistsOption::Append.into(),
                if_not_exist: if table == "secret" { TableNotExistOption::Fail } else { TableNotExistOption::Create }
                    .into(),
            }),
            ..CommandStatementIngest::default()
        };
        for (table, expected) in [("secret", appended), ("made", made)] {
            let found = client.execute_ingest(into(table), futures::stream::iter([Ok(rows())])).await;
            assert_eq!(kind(found), expected, "{who} into {table}");
        }
        // Many rows of one prepared INSERT are such an append, too.
        let bound = async {
            let mut insert = client.prepare("INSERT INTO secret (x) VALUES ($1)".to_owned(), None).await?;
            insert.set_parameters(rows())?;
            insert.execute_update().await
        };
        assert_eq!(kind(bound.await), appended, "{who} by a prepared statement");
    }
    assert_eq!(server.over_http(&server.admin, "SELECT count(*) FROM secret").await, "8");
    server.stop().await;
}

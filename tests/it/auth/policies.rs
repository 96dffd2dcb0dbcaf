//! Row policies, masks, granted columns and what errors and lists tell.

use std::path::Path;

use adlake::catalog::{CatalogSnapshot, Definition, Edit, Object, ViewDefinition};

use super::*;

#[tokio::test]
async fn a_masked_column_is_a_hash_for_all_but_the_excepted() {
    let server = Guarded::with_people().await;
    let of =
        async |who: &str| server.over_http(&as_user(who), "SELECT ip FROM sales WHERE region = 'US' ORDER BY id").await;
    assert_eq!(of("rob").await, "10.0.0.3; 10.0.0.4", "an analyst is excepted");
    let masked = of("pia").await;
    let hashes: Vec<&str> = masked.split("; ").collect();
    assert!(hashes.len() == 2 && hashes.iter().all(|hash| hash.len() == 32 && !hash.contains('.')), "{masked}");
    assert_eq!(server.over_http(&as_user("pia"), "SELECT id FROM sales WHERE ip = '10.0.0.3'").await, "");
    assert_eq!(of("pia").await, masked, "equal values stay equal");
    server.run("ALTER TABLE sales ALTER COLUMN price SET MASK NULL").await;
    assert_eq!(server.over_http(&as_user("pia"), "SELECT sum(price), count(*) FROM sales").await, "null|2");
    assert_eq!(server.over_http(&as_user("pia"), "SELECT sum(price) FROM sales_view").await, "null", "below views too");
    server.stop().await;
}

#[tokio::test]
async fn columns_that_are_not_granted_are_not_there() {
    let server = Guarded::with_people().await;
    server.run("GRANT SELECT (item, region) ON TABLE sales TO USER nia").await;
    server.run("GRANT ROLE partner TO USER nia").await;
    server.run("REVOKE SELECT ON TABLE sales FROM ROLE partner").await;
    server.run("GRANT SELECT (item, region) ON TABLE sales TO USER nia").await;
    server.run("ALTER USER nia ATTRIBUTE region = 'JP'").await;
    assert_eq!(server.over_http(&as_user("nia"), "SELECT * FROM sales").await, "JP|c");
    let (status, problem) = server.http(&as_user("nia"), "SELECT price FROM sales").await;
    let detail = problem["detail"].as_str().unwrap();
    assert_eq!(status, 400, "{detail}");
    assert!(detail.contains("'price' not found") && !detail.contains("ip"), "{detail}");
    let columns = "SELECT column_name FROM information_schema.columns WHERE table_name = 'sales' ORDER BY 1";
    assert_eq!(server.over_http(&as_user("nia"), columns).await, "item; region");
    assert_eq!(server.over_http(&as_user("nia"), "DESCRIBE sales").await.matches("VARCHAR").count(), 2);
    server.stop().await;
}

#[tokio::test]
async fn errors_and_suggestions_name_nothing_hidden() {
    let server = Guarded::with_people().await;
    let detail = async |who: &str, sql: &str| {
        let (_, problem) = server.http(&as_user(who), sql).await;
        problem["detail"].as_str().unwrap_or_default().to_owned()
    };
    assert!(detail("eve", "SELECT * FROM secrets").await.contains("did you mean 'secret'?"));
    for sql in ["SELECT * FROM secrets", "SELECT * FROM secret", "DESCRIBE secret", "INSERT INTO secret VALUES (1)"] {
        let hidden = detail("pat", sql).await;
        assert!(hidden.contains("not found") && !hidden.contains("did you mean"), "{sql}: {hidden}");
    }
    // A view over what is hidden works, and when it breaks it does not say on what.
    server.run("CREATE VIEW peek AS SELECT x FROM secret").await;
    server.run("GRANT SELECT ON VIEW peek TO ROLE partner").await;
    assert_eq!(server.over_http(&as_user("pat"), "SELECT count(*) FROM peek").await, "0");
    let plan = detail("pat", "EXPLAIN SELECT * FROM peek").await;
    assert!(plan.contains("EXPLAIN shows") && !plan.contains("secret"), "{plan}");
    server.stop().await;
}

#[tokio::test]
async fn a_policy_that_could_fail_or_does_not_fit_is_refused() {
    let server = Guarded::with_people().await;
    for (predicate, says) in [
        ("100 / price > 1", "could fail on rows it hides"),
        ("CAST(item AS BIGINT) = 1", "could fail on rows it hides"),
        ("price", "not true or false"),
        ("regio = 'KR'", "did you mean 'region'?"),
        ("region IN (SELECT item FROM sales)", "sales"),
    ] {
        let sql = format!("CREATE POLICY wrong ON sales TO ROLE partner USING ({predicate})");
        let (status, problem) = server.http(&server.admin, &sql).await;
        assert_ne!(status, 200, "{predicate}");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{predicate}: {problem}");
    }
    // Two policies of a caller add up.
    server.run("CREATE POLICY cheap ON sales TO ROLE partner USING (price < 10 OR price BETWEEN 45 AND 55)").await;
    assert_eq!(server.over_http(&as_user("pat"), "SELECT id FROM sales ORDER BY id").await, "1; 2; 3; 5");
    server.stop().await;
}

/// What README.md shows of users and rights runs as it stands, over the shipped tables.
#[tokio::test]
async fn the_readme_can_be_followed() {
    let (server, root) = (Guarded::start().await, Path::new(env!("CARGO_MANIFEST_DIR")));
    server.running.app.apply_project(&root.join("sql")).await.unwrap();
    let statements = crate::shipped_sql::shown_in_readme("## Users, roles and policies");
    assert_eq!(statements.len(), 8);
    for sql in statements {
        server.run(&sql).await;
    }
    server
        .run(
            "INSERT INTO clicks (event_id, event_time, ad_id, campaign_id) VALUES \
        ('1', TIMESTAMPTZ '2017-11-07T11:00:00Z', 'a', 'c1'), ('2', TIMESTAMPTZ '2017-11-07T11:00:00Z', 'b', 'c2'), \
        ('3', TIMESTAMPTZ '2017-11-07T11:00:00Z', 'c', NULL)",
        )
        .await;
    let kim = basic("kim", "staple battery horse");
    assert_eq!(server.over_http(&kim, "SELECT ad_id FROM clicks").await, "a");
    server.stop().await;
}

#[tokio::test]
async fn rights_end_at_once() {
    let server = Guarded::with_people().await;
    let mut client = server.flight(&as_user("pat")).await;
    assert_eq!(cell(fetch(&mut client, "SELECT count(*) FROM sales").await), "2");
    server.run("REVOKE SELECT ON TABLE sales FROM ROLE partner").await;
    assert_eq!(cell(fetch(&mut client, "SELECT count(*) FROM sales").await), "not_found");
    server.run("ALTER USER pat DISABLE").await;
    assert_eq!(cell(fetch(&mut client, "SELECT 1").await), "unauthenticated");
    server.stop().await;
}

#[tokio::test]
async fn statements_of_others_and_settings_are_not_listed() {
    let server = Guarded::with_people().await;
    server.over_http(&as_user("pat"), "SELECT 42").await;
    let list = "SELECT DISTINCT user_name FROM system.queries";
    assert_eq!(server.over_http(&as_user("pat"), list).await, "pat");
    for who in ["pat", "ana", "eve"] {
        assert_eq!(server.over_http(&as_user(who), "SELECT count(*) FROM system.settings").await, "0", "{who}");
        assert_eq!(server.over_http(&as_user(who), "SHOW ALL").await, "", "{who}");
    }
    assert_ne!(server.over_http(&server.admin, "SHOW ALL").await, "");
    let all = server.over_http(&server.admin, "SELECT sql FROM system.queries WHERE sql LIKE '%PASSWORD%'").await;
    assert!(all.contains("'***'") && !all.contains("-password"), "{all}");
    server.stop().await;
}

/// Rows of a view kept by the full strategy are those of the names they were made through, not of today's.
#[tokio::test]
async fn stored_rows_do_not_outlive_the_policies_they_came_through() {
    let server = Guarded::with_people().await;
    let eve = as_user("eve");
    let run = async |sql: &str| {
        let (status, body) = server.http(&eve, sql).await;
        assert_eq!(status, 200, "{sql}: {body}");
    };
    let full = "WITH (refresh='manual', strategy='full') AS SELECT * FROM";
    for sql in [
        "CREATE TABLE empty_twin (id BIGINT NOT NULL, region VARCHAR, item VARCHAR, ip VARCHAR, price BIGINT)",
        "CREATE VIEW w AS SELECT * FROM sales",
        &format!("CREATE MATERIALIZED VIEW m {full} w"),
        &format!("CREATE MATERIALIZED VIEW above {full} m"),
        "REFRESH MATERIALIZED VIEW m",
        "REFRESH MATERIALIZED VIEW above",
    ] {
        run(sql).await;
    }
    let counts = async |authorization: &str| {
        let of_m = server.over_http(authorization, "SELECT count(*) FROM m").await;
        assert_eq!(server.over_http(authorization, "SELECT count(*) FROM above").await, of_m);
        of_m
    };
    assert_eq!(counts(&server.admin).await, "5");
    assert_eq!(counts(&eve).await, "0", "she sees no row of sales");
    run("CREATE OR REPLACE VIEW w AS SELECT * FROM empty_twin").await;
    assert_eq!(counts(&eve).await, "0", "no policy is on the twin, but the rows came from sales");
    assert_eq!(counts(&as_user("ana")).await, "0");
    assert_eq!(counts(&server.admin).await, "0", "until the next refresh, as before the first");
    let as_of = "SELECT count(data_as_of) FROM system.views WHERE view_name = 'm'";
    assert_eq!(server.over_http(&server.admin, as_of).await, "0");
    run("INSERT INTO empty_twin (id) VALUES (7)").await;
    run("REFRESH MATERIALIZED VIEW m").await;
    run("REFRESH MATERIALIZED VIEW above").await;
    assert_eq!(counts(&eve).await, "1");
    run("CREATE OR REPLACE VIEW w AS SELECT * FROM sales").await;
    assert_eq!(counts(&server.admin).await, "0", "the rows of the twin are not those of sales either");
    run("REFRESH MATERIALIZED VIEW m").await;
    run("REFRESH MATERIALIZED VIEW above").await;
    assert_eq!(counts(&server.admin).await, "5");
    server.stop().await;
}

/// Whatever a caller computes is computed on rows that its policies let through: an error would tell of another.
#[tokio::test]
async fn nothing_of_a_caller_is_evaluated_on_hidden_rows() {
    let server = Guarded::with_people().await;
    // A tenant is long and a number short: a filter of numbers alone is the cheaper one to begin with.
    for sql in [
        "CREATE TABLE t (k VARCHAR, tenant VARCHAR, x BIGINT, a BIGINT) WITH (sort_by='k')",
        "INSERT INTO t SELECT 'k', CASE WHEN value % 100 = 0 THEN 'KR' ELSE 'tenant ' || (value * 2654435761 % 1000003) || \
         '-' || (value * 40503 % 999983) END, CASE WHEN value = 7 THEN 5 ELSE value % 3 END, value \
         FROM generate_series(0, 4999)",
        "CREATE POLICY own ON t TO ROLE partner USING (tenant = current_attribute('region'))",
        "GRANT SELECT ON TABLE t TO ROLE partner",
    ] {
        server.run(sql).await;
    }
    for (sql, expected) in [
        ("SELECT count(*) FROM (VALUES (1)) AS u(y) JOIN t ON u.y = 100 / (t.x - 5) WHERE t.k IN ('k')", "0"),
        ("SELECT count(*) FROM (VALUES (-20)) AS u(y) JOIN t ON u.y < 100 / (t.x - 5) + t.a * 0 WHERE t.k = 'k'", "0"),
        ("SELECT k FROM t WHERE k = 'k' ORDER BY 100 / (x - 5) LIMIT 1", "k"),
        ("SELECT DISTINCT k FROM t WHERE k = 'k' AND 100 / (x - 5) < 0 AND 100 / (x - 5) > -50", "k"),
        ("SELECT DISTINCT k FROM t WHERE 100 / (x - 5) < 0 OR 100 / (x - 5) > 50", "k"),
        ("SELECT DISTINCT tenant, a / (x - 5) < 0 FROM t WHERE k = 'k' AND a > 0", "KR|true"),
        ("SELECT tenant, min(a / (x - 5)) < 0 FROM t GROUP BY tenant", "KR|true"),
        (
            "SELECT DISTINCT tenant, y < 0 FROM (SELECT tenant, a / (x - 5) AS y, k FROM t) AS s WHERE k = 'k' AND y < 0",
            "KR|true",
        ),
        ("SELECT DISTINCT tenant FROM t WHERE a IN (SELECT a FROM t WHERE 100 / (x - 5) < 0)", "KR"),
        (
            "SELECT count(*) FROM (SELECT row_number() OVER (PARTITION BY 100 / (x - 5) ORDER BY a) AS n FROM t) AS s WHERE n < 2",
            "3",
        ),
    ] {
        let (status, body) = server.http(&as_user("pat"), sql).await;
        assert_eq!(status, 200, "{sql}: {body}");
        assert_eq!(server.over_http(&as_user("pat"), sql).await, expected, "{sql}");
    }
    assert_eq!(
        server.over_http(&server.admin, "SELECT count(*) FROM t WHERE 100 / (x - 5) < 0").await,
        "invalid_argument",
        "there is such a row"
    );
    server.stop().await;
}

#[tokio::test]
async fn plans_count_no_rows_of_rejects_that_are_hidden() {
    let server = Guarded::with_people().await;
    let bad = server.request(Method::POST, "/v1/tables/sales/rows", &as_user("ida")).json(&json!([{"id": "x"}]));
    bad.send().await.unwrap();
    let count = "SELECT count(*) FROM system.rejects";
    assert_eq!(server.over_http(&server.admin, count).await, "1");
    assert_eq!(server.over_http(&as_user("eve"), count).await, "0");
    for who in ["eve", "ana"] {
        let explained = server.over_http(&as_user(who), &format!("EXPLAIN ANALYZE {count}")).await;
        assert_eq!(explained, "permission_denied", "{who}");
    }
    assert!(server.over_http(&server.admin, &format!("EXPLAIN ANALYZE {count}")).await.contains("output_rows"));
    server.stop().await;
}

#[tokio::test]
async fn the_text_of_an_endpoint_is_for_engineers_who_see_all_it_reads() {
    let server = Guarded::with_people().await;
    server.run("CREATE ENDPOINT secrets () WITH (path='/v1/secrets') AS SELECT x FROM secret").await;
    server.run("GRANT EXECUTE ON ENDPOINT secrets TO ROLE partner").await;
    let texts =
        "SELECT name, sql IS NOT NULL, reads IS NOT NULL FROM system.objects WHERE kind = 'endpoint' ORDER BY 1";
    let shown = "SHOW ENDPOINTS";
    for (who, expected) in [
        ("admin", "secrets|true|true; totals|true|true"),
        ("eve", "secrets|true|true; totals|false|false"),
        ("ana", "secrets|false|false; totals|false|false"),
        ("pat", "secrets|false|false; totals|false|false"),
        ("nia", ""),
    ] {
        let authorization = if who == "admin" { server.admin.clone() } else { as_user(who) };
        assert_eq!(server.over_http(&authorization, texts).await, expected, "{who}");
        let lists = server.over_http(&authorization, shown).await;
        assert_eq!(lists.contains("FROM secret"), ["admin", "eve"].contains(&who), "{who}: {lists}");
        assert_eq!(lists.contains("FROM sales"), who == "admin", "{who}: {lists}");
    }
    server.stop().await;
}

/// As one that was made by an earlier version of the program.
#[tokio::test]
async fn a_view_that_no_longer_works_does_not_say_what_it_is_made_of() {
    let server = Guarded::with_people().await;
    server.run("CREATE VIEW peek AS SELECT x FROM secret").await;
    server.run("GRANT SELECT ON VIEW peek TO ROLE partner").await;
    let catalog = &server.running.app.catalog;
    let broken = |base: &CatalogSnapshot| {
        let mut view = Object::clone(base.relation("peek")?);
        let query = "SELECT hidden_column FROM secret".to_owned();
        view.sql = format!("CREATE VIEW peek AS {query}");
        view.definition = Definition::View(ViewDefinition { query });
        Ok(vec![Edit::Put(view)])
    };
    catalog.edit(broken).await.unwrap();
    for sql in ["DESCRIBE peek", "SELECT * FROM peek"] {
        let (status, problem) = server.http(&as_user("pat"), sql).await;
        let detail = problem["detail"].as_str().unwrap();
        assert_eq!(status, 400, "{sql}: {detail}");
        assert_eq!(detail, "view 'peek' cannot be read at present; tell those who made it", "{sql}");
        let (_, problem) = server.http(&as_user("eve"), sql).await;
        assert!(problem["detail"].as_str().unwrap().contains("hidden_column"), "{sql}: {problem}");
    }
    server.stop().await;
}

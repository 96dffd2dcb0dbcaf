//! What is made of tables and told about them: rows that go, late changes, checked answers, lineage, advice.

use super::credentials::token;
use super::*;

const CLICKS: [&str; 6] = [
    "CREATE TABLE clicks (ts TIMESTAMP WITH TIME ZONE NOT NULL, ad VARCHAR, price BIGINT) \
     WITH (event_time='ts', lateness='1000 days')",
    "CREATE MATERIALIZED VIEW v WITH (refresh='manual', restate_after='1 hour', verify='100%') AS \
     SELECT date_trunc('minute', ts) AS minute, ad, count(*) AS clicks, sum(price) AS spend FROM clicks GROUP BY 1, 2",
    "INSERT INTO clicks VALUES (TIMESTAMPTZ '2017-11-07T10:30:00Z', 'a', 7), (TIMESTAMPTZ '2017-11-07T10:40:00Z', 'b', 7), \
     (TIMESTAMPTZ '2017-11-07T10:40:00Z', 'b', 7), (TIMESTAMPTZ '2017-11-07T10:40:00Z', 'b', 7)",
    "REFRESH MATERIALIZED VIEW v",
    "INSERT INTO clicks VALUES (TIMESTAMPTZ '2017-11-07T10:30:20Z', 'a', 10)",
    "REFRESH MATERIALIZED VIEW v",
];

async fn message(server: &Guarded, authorization: &str, sql: &str) -> (u16, String) {
    let (status, body) = server.http(authorization, sql).await;
    let text = if status == 200 { &body["message"] } else { &body["detail"] };
    (status, text.as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_caller_deletes_what_it_sees() {
    let server = Guarded::with_people().await;
    server.run("GRANT DELETE ON TABLE sales TO ROLE partner").await;
    let of = async |who: &str, sql: &str| message(&server, &as_user(who), sql).await;
    let (status, masked) = of("pat", "DELETE FROM sales WHERE price > 0").await;
    assert!(status == 403 && masked.contains("masks hold for you"), "{status} {masked}");
    server.run("ALTER TABLE sales ALTER COLUMN ip DROP MASK").await;
    // An error would tell of a hidden row: 40 is a price of the US.
    for sql in [
        "DELETE FROM sales WHERE 100 / (price - 40) > 0",
        "DELETE FROM sales WHERE CAST(item AS BIGINT) = 1",
        "DELETE FROM sales WHERE id IN (SELECT id FROM sales WHERE 100 / (price - 40) > 0 AND item = 'a')",
    ] {
        let (status, detail) = of("pat", sql).await;
        assert!(status == 200 || status == 403, "{sql}: {status} {detail}");
        assert!(!detail.contains("zero"), "{sql}: {detail}");
    }
    let (status, refused) = of("pat", "DELETE FROM sales WHERE 100 / (price - 40) > 0").await;
    assert!(status == 403 && refused.contains("a row policy holds here"), "{status} {refused}");
    server.run("INSERT INTO sales VALUES (7, 'KR', 'a', '10.0.0.7', 70)").await;
    let before = server.over_http(&server.admin, "SELECT count(*) FROM sales WHERE region <> 'KR'").await;
    let (status, done) = of("pat", "DELETE FROM sales WHERE price >= 5").await;
    assert_eq!(status, 200, "{done}");
    assert!(done.contains("rows deleted from sales") && !done.contains("files"), "{done}");
    assert_eq!(server.over_http(&as_user("pat"), "SELECT count(*) FROM sales").await, "0");
    assert_eq!(server.over_http(&server.admin, "SELECT count(*) FROM sales WHERE region <> 'KR'").await, before);
    // Rows that subqueries tell of are those the caller sees, too.
    let (status, done) = of("pia", "DELETE FROM sales WHERE id IN (SELECT id FROM sales)").await;
    assert_eq!((status, done.as_str()), (200, "2 rows deleted from sales"));
    assert_eq!(server.over_http(&server.admin, "SELECT region FROM sales").await, "JP");
    // Policies hide all of it from an engineer without a role that they name.
    let (status, done) = of("eve", "DELETE FROM sales WHERE TRUE").await;
    assert_eq!((status, done.as_str()), (200, "0 rows deleted from sales"));
    server.stop().await;
}

#[tokio::test]
async fn a_delete_is_for_those_who_may_read_and_delete() {
    let server = Guarded::with_people().await;
    let kind = async |authorization: &str, sql: &str| server.over_http(authorization, sql).await;
    server.run("GRANT DELETE ON TABLE secret TO USER nia").await;
    server.run("INSERT INTO secret VALUES (1), (2)").await;
    assert_eq!(
        kind(&as_user("nia"), "DELETE FROM secret WHERE x = 1").await,
        "permission_denied",
        "it may not read it"
    );
    server.run("GRANT SELECT ON TABLE secret TO USER nia").await;
    for (scope, expected) in
        [("READ", "permission_denied"), ("INGEST", "not_found"), ("READ ON secret", "permission_denied")]
    {
        let token = token(&server, &server.admin, &format!("CREATE TOKEN FOR nia SCOPE {scope}")).await;
        assert_eq!(kind(&token, "DELETE FROM secret WHERE x = 1").await, expected, "{scope}");
    }
    let prepared = server.over_prepared(&as_user("nia"), "SELECT count(*) FROM secret").await;
    assert_eq!(prepared, "2");
    assert_eq!(kind(&as_user("nia"), "DELETE FROM secret WHERE x = 1").await, "done");
    assert_eq!(kind(&as_user("nia"), "SELECT x FROM secret").await, "2");
    // What a view reads is not told by refusing to delete from it.
    server.run("CREATE VIEW peek AS SELECT x FROM secret").await;
    server.run("GRANT ALL ON VIEW peek TO ROLE partner").await;
    let (_, detail) = message(&server, &as_user("pat"), "DELETE FROM peek WHERE x = 1").await;
    assert!(detail.contains("nothing is deleted from 'peek'") && !detail.contains("secret"), "{detail}");
    server.stop().await;
}

#[tokio::test]
async fn late_changes_and_checks_are_told_of_what_is_seen_whole() {
    let server = Guarded::with_people().await;
    for sql in CLICKS {
        server.run(sql).await;
    }
    server.run("SELECT ad, sum(price) FROM clicks GROUP BY ad").await;
    server.running.app.engine.verified().await;
    let late = "SELECT view_name, new_value FROM system.restatements";
    let checked = "SELECT outcome, sql IS NULL, sample IS NULL FROM system.verifications";
    let lines = "SELECT DISTINCT reads_name FROM system.lineage WHERE object_name = 'v'";
    let of = async |who: &str, sql: &str| {
        let authorization = if who == "admin" { server.admin.clone() } else { as_user(who) };
        let found = server.over_http(&authorization, sql).await;
        assert_eq!(server.over_flight(&authorization, sql).await, found, "{who}: {sql}");
        found
    };
    let value = r#"v|{"clicks":2,"spend":17}"#;
    for (who, of_late, of_checks, of_lines) in [
        ("admin", value, "equal|false|true", "clicks"),
        ("eve", value, "equal|true|true", "clicks"),
        ("ana", value, "", "clicks"),
        ("pia", value, "", "clicks"),
        ("pat", "", "", ""),
        ("nia", "", "", ""),
    ] {
        assert_eq!(of(who, late).await, of_late, "{who}");
        assert_eq!(of(who, checked).await, of_checks, "{who}");
        assert_eq!(of(who, lines).await, of_lines, "{who}");
    }
    // What fails for a hidden row tells of it; there may be one.
    assert_eq!(
        of("ana", "SELECT count(*) FROM system.restatements WHERE CAST(new_value AS BIGINT) = 1").await,
        "permission_denied"
    );
    assert_eq!(of("ana", "SELECT count(*) FROM system.restatements WHERE view_name = 'v'").await, "1");
    for protected in [
        "CREATE POLICY some ON clicks TO ROLE partner USING (ad = 'b')",
        "CREATE POLICY some ON v TO ROLE partner USING (ad = 'b')",
    ] {
        server.run(protected).await;
        for who in ["eve", "ana", "pia", "rob"] {
            for sql in [late, checked, lines] {
                assert_eq!(of(who, sql).await, "", "{who}: {sql}: {protected}");
            }
        }
        assert_eq!(of("admin", late).await, value);
        server
            .run(if protected.contains("ON v") { "DROP POLICY some ON v" } else { "DROP POLICY some ON clicks" })
            .await;
    }
    server.run("ALTER TABLE clicks ALTER COLUMN price SET MASK NULL").await;
    assert_eq!(of("eve", late).await, "", "a masked column is in the values");
    server.stop().await;
}

#[tokio::test]
async fn describe_says_what_a_view_is_made_of_to_those_who_see_it_whole() {
    let server = Guarded::with_people().await;
    let of = async |authorization: &str| server.over_http(authorization, "DESCRIBE by_region").await;
    let whole = of(&server.admin).await;
    assert!(whole.contains("sales.region") && whole.contains("incremental"), "{whole}");
    for who in ["eve", "ana", "pia", "rob"] {
        let shown = of(&as_user(who)).await;
        assert!(
            shown.contains("region") && !shown.contains("sales") && !shown.contains("incremental"),
            "{who}: {shown}"
        );
    }
    for who in ["pat", "nia"] {
        assert_eq!(of(&as_user(who)).await, "not_found", "{who}");
    }
    server.stop().await;
}

#[tokio::test]
async fn advice_is_for_what_one_ran_and_sees_whole() {
    let server = Guarded::with_people().await;
    for sql in CLICKS {
        server.run(sql).await;
    }
    server.run("SELECT price, count(*) FROM clicks GROUP BY price ORDER BY price").await;
    let advice = async |authorization: &str, query: &str| {
        let (status, body) = server.http(authorization, &format!("ADVISE MATERIALIZED VIEWS{query}")).await;
        (status, body.to_string())
    };
    let (status, of_admin) = advice(&server.admin, "").await;
    assert!(status == 200 && of_admin.contains("clicks"), "{of_admin}");
    let (status, of_eve) = advice(&as_user("eve"), "").await;
    assert!(status == 200 && !of_eve.contains("clicks"), "what others ran: {of_eve}");
    assert_eq!(
        server.over_http(&as_user("eve"), "SELECT price, count(*) FROM clicks GROUP BY price ORDER BY price").await,
        "7|4; 10|1"
    );
    let (_, of_eve) = advice(&as_user("eve"), "").await;
    assert!(of_eve.contains("clicks"), "{of_eve}");
    server.over_http(&as_user("eve"), "SELECT region, count(*) FROM sales GROUP BY region").await;
    let (status, of_eve) = advice(&as_user("eve"), "").await;
    assert!(status == 200 && !of_eve.contains("sales"), "policies hold there: {of_eve}");
    let (status, refused) =
        advice(&as_user("eve"), " FOR 'SELECT region, count(*) FROM sales_view GROUP BY region'").await;
    assert!(status == 403 && refused.contains("sales_view"), "{refused}");
    for who in ["ana", "pat", "nia"] {
        assert_eq!(advice(&as_user(who), "").await.0, 403, "{who}");
    }
    server.stop().await;
}

/// Whoever tries one name after another from one address has to wait, over every protocol; callers with a good token do not.
#[tokio::test]
async fn guessing_under_many_names_from_one_address_is_slowed_down() {
    let server = Guarded::with_people_and(&[("auth.attempts_per_address", "4")]).await;
    for (attempt, name) in ["a", "b", "c", "d"].iter().enumerate() {
        let found = match attempt % 2 {
            0 => server.over_http(&as_user(name), "SELECT 1").await,
            _ => server.over_flight(&as_user(name), "SELECT 1").await,
        };
        assert_eq!(found, "unauthenticated", "{name}");
    }
    let throttled = server.request(Method::GET, "/", &as_user("e")).send().await.unwrap();
    assert_eq!((throttled.status().as_u16(), &throttled.headers()["retry-after"]), (429, &"1".parse().unwrap()));
    assert_eq!(server.over_flight(&as_user("f"), "SELECT 1").await, server.over_http(&as_user("e"), "SELECT 1").await);
    let mut client = server.flight("").await;
    let handshake = client.handshake("g", "wrong").await.unwrap_err();
    assert!(handshake.to_string().contains("too many"), "{handshake}");
    assert_eq!(server.over_http(&server.admin, "SELECT 1").await, "1", "a good token");
    server.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(server.over_http(&as_user("ana"), "SELECT 1").await, "1");
    server.stop().await;
}

/// Who refreshes or optimizes what policies hide rows of is told that it is done, and no number.
#[tokio::test]
async fn work_on_all_rows_tells_how_many_to_those_who_see_them() {
    let server = Guarded::with_people().await;
    let of = async |authorization: &str, sql: &str| {
        let (status, body) = server.http(authorization, sql).await;
        assert_eq!(status, 200, "{sql}: {body}");
        body.to_string()
    };
    for sql in
        ["REFRESH MATERIALIZED VIEW items FULL", "OPTIMIZE TABLE items", "OPTIMIZE TABLE sales", "VACUUM TABLE sales"]
    {
        let told = of(&as_user("eve"), sql).await;
        let message = serde_json::from_str::<Value>(&told).unwrap()["message"].as_str().unwrap().to_owned();
        assert!(!message.chars().any(|character| character.is_ascii_digit()), "{sql}: {told}");
        assert!(!told.contains("files") && !told.contains("\"rows_affected\":3"), "{sql}: {told}");
    }
    assert!(of(&server.admin, "REFRESH MATERIALIZED VIEW items FULL").await.contains("refreshed: 3 rows"));
    assert!(of(&server.admin, "OPTIMIZE TABLE sales").await.contains("files before"));
    // Nothing holds there.
    assert!(of(&as_user("eve"), "OPTIMIZE TABLE secret").await.contains("files before"));
    let listed = "SELECT count(*) FROM system.queries WHERE user_name = 'eve' AND \"rows\" = 3";
    assert_eq!(server.over_http(&server.admin, listed).await, "0");
    server.stop().await;
}

//! How much one caller may ask for, over every protocol (`[auth.limits]`).

use std::time::Duration;

use super::credentials::token;
use super::*;

const EXHAUSTED: &str = "resource_exhausted";

#[tokio::test]
async fn a_token_has_so_many_requests_in_a_second() {
    let server = Guarded::with_people_and(&[("auth.limits.requests_per_second", "partner=3, *=500")]).await;
    let mut own = Vec::new();
    for _ in 0..2 {
        own.push(token(&server, &server.admin, "CREATE TOKEN FOR pat").await);
    }
    // Each statement over Flight SQL is two calls.
    assert_eq!(server.over_flight(&own[0], "SELECT 1").await, "1");
    assert_eq!(server.over_http(&own[0], "SELECT 1").await, "1");
    let refused = server.request(Method::GET, "/openapi.json", &own[0]).send().await.unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"1".parse().unwrap()));
    let problem = refused.text().await.unwrap();
    assert!(problem.contains("more than 3 requests in a second"), "{problem}");
    let mut client = server.flight(&own[0]).await;
    let status = fetch(&mut client, "SELECT 1").await.unwrap_err();
    assert_eq!(status_of(&status).code(), tonic::Code::ResourceExhausted);
    let rows = server.request(Method::POST, "/v1/tables/secret/rows", &own[0]).json(&json!([{"x": 1}]));
    assert_eq!(rows.send().await.unwrap().status(), 429, "rows in, too");
    assert_eq!(server.over_http(&own[1], "SELECT 1").await, "1", "another token of the same user");
    assert_eq!(server.over_http(&as_user("pia"), "SELECT 1").await, "1", "another user");
    assert_eq!(server.request(Method::GET, "/healthz", &own[0]).send().await.unwrap().status(), 200);
    // A session has the limit of who opened it.
    let mut session = server.flight("").await;
    session.handshake("pat", "pat-password").await.unwrap();
    assert_eq!(cell(fetch(&mut session, "SELECT 1").await), "1");
    assert_eq!(cell(fetch(&mut session, "SELECT 1").await), EXHAUSTED);
    server.clock.advance(Duration::from_secs(1));
    assert_eq!(server.over_flight(&own[0], "SELECT 1").await, "1");
    server.stop().await;
}

#[tokio::test]
async fn a_user_has_so_many_statements_at_once() {
    let server = Guarded::with_people_and(&[("auth.limits.concurrent_statements", "partner=1")]).await;
    let mut client = server.flight(&as_user("pat")).await;
    let info = client.execute(ENDLESS.to_owned(), None).await.unwrap();
    let mut open = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    open.try_next().await.unwrap().unwrap();
    for sql in ["SELECT 1", "SELECT count(*) FROM sales"] {
        assert_eq!(server.over_http(&as_user("pat"), sql).await, EXHAUSTED, "{sql}");
        assert_eq!(server.over_flight(&as_user("pat"), sql).await, EXHAUSTED, "{sql}");
        assert_ne!(server.over_http(&as_user("pia"), sql).await, EXHAUSTED, "{sql}");
    }
    let called = server.request(Method::GET, "/v1/totals/a", &as_user("pat")).send().await.unwrap();
    assert_eq!(called.status(), 429);
    assert!(called.headers().contains_key("retry-after"));
    let listed = "SELECT concurrent_statements, running FROM system.limits WHERE user_name = 'pat'";
    assert_eq!(server.over_http(&server.admin, listed).await, "1|1");
    drop(open);
    let mut looks = 0;
    while server.over_http(&server.admin, listed).await != "1|0" {
        looks += 1;
        assert!(looks < 10_000, "the statement of a client that left still runs");
    }
    assert_eq!(server.over_http(&as_user("pat"), "SELECT 1").await, "1");
    server.stop().await;
}

#[tokio::test]
async fn an_answer_has_so_many_rows_and_bytes() {
    let settings = [("auth.limits.result_rows", "partner=1"), ("auth.limits.result_bytes", "analyst=1 KiB")];
    let server = Guarded::with_people_and(&settings).await;
    for found in [
        server.over_http(&as_user("pat"), "SELECT id FROM sales").await,
        server.over_flight(&as_user("pat"), "SELECT id FROM sales").await,
        server.over_prepared(&as_user("pat"), "SELECT id FROM sales").await,
    ] {
        assert_eq!(found, EXHAUSTED);
    }
    assert_eq!(server.over_http(&as_user("pat"), "SELECT count(*) FROM sales").await, "2");
    assert_eq!(server.over_flight(&as_user("ana"), "SELECT repeat('x', 2000)").await, EXHAUSTED);
    assert_eq!(server.over_flight(&as_user("ana"), "SELECT length(repeat('x', 2000))").await, "2000");
    assert_eq!(server.over_flight(&as_user("rob"), "SELECT id FROM sales").await, EXHAUSTED, "he is a partner too");
    assert_eq!(server.over_http(&server.admin, "SELECT count(*) FROM (SELECT id FROM sales)").await, "5");
    let own = "SELECT user_name, result_rows, result_bytes FROM system.limits ORDER BY 1";
    assert_eq!(server.over_http(&as_user("rob"), own).await, "rob|1|1024");
    assert_eq!(server.over_http(&server.admin, own).await.split("; ").count(), 8);
    server.stop().await;
}

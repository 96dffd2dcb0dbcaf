//! How old a reply is, and how old a request lets it be.

use std::time::Duration;

use super::*;

const EXACT: [(&str, &str); 1] = [("storage.poll_interval", "0 s")];

/// A view that has absorbed all but the last minute's event.
async fn server() -> Server {
    let server = Server::with(&EXACT).await;
    server.run("CREATE TABLE t (ts TIMESTAMP WITH TIME ZONE NOT NULL, k VARCHAR) WITH (event_time='ts')").await;
    server.run("INSERT INTO t VALUES (now(), 'a')").await;
    server.run("CREATE MATERIALIZED VIEW v WITH (refresh='manual') AS SELECT k, count(*) AS n FROM t GROUP BY k").await;
    server.run("REFRESH MATERIALIZED VIEW v").await;
    server.clock.advance(Duration::from_secs(60));
    server.run("INSERT INTO t VALUES (now(), 'a')").await;
    server.clock.advance(Duration::from_secs(60));
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_may_ask_for_less_than_the_newest_rows() {
    let server = server().await;
    let (fresh, stale) = ("2017-11-07T12:02:00.000000Z", "2017-11-07T12:01:00.000000Z");
    for (allowed, rows, as_of) in
        [(None, json!([[2]]), fresh), (Some("90s"), json!([[1]]), stale), (Some("30s"), json!([[2]]), fresh)]
    {
        let request = server.sql("SELECT n FROM v");
        let request = match allowed {
            Some(allowed) => request.header("adlake-max-staleness", allowed),
            None => request,
        };
        let reply = request.send().await.unwrap();
        assert_eq!(header(&reply, "adlake-data-as-of"), as_of, "{allowed:?}");
        let reply: Value = reply.json().await.unwrap();
        assert_eq!((&reply["rows"], &reply["data_as_of"]), (&rows, &json!(as_of)), "{allowed:?}");
    }
    for wrong in ["5", "soon", "-1 s"] {
        let problem = problem_of(server.sql("SELECT n FROM v").header("adlake-max-staleness", wrong), 400).await;
        assert_eq!(problem["parameter"], "adlake-max-staleness", "{problem}");
        says(&problem, "adlake.max_staleness");
    }
    let document = json_of(server.get("/openapi.json")).await;
    let parameters = document["paths"]["/v1/sql"]["post"]["parameters"].as_array().unwrap();
    assert!(parameters.iter().any(|parameter| parameter["name"] == "adlake-max-staleness"), "{parameters:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_may_be_asked_the_same_and_then_has_no_tag() {
    let server = server().await;
    server.run("CREATE ENDPOINT counts () WITH (path='/v1/counts') AS SELECT k, n FROM v").await;
    let fresh = server.get("/v1/counts").send().await.unwrap();
    assert!(!header(&fresh, "etag").is_empty());
    assert_eq!(fresh.json::<Value>().await.unwrap(), json!({"rows": [{"k": "a", "n": 2}]}));
    let stale = server.get("/v1/counts").header("adlake-max-staleness", "1 hour").send().await.unwrap();
    assert_eq!(header(&stale, "etag"), "", "its rows depend on more than the versions of tables");
    assert_eq!(header(&stale, "adlake-data-as-of"), "2017-11-07T12:01:00.000000Z");
    assert_eq!(stale.json::<Value>().await.unwrap(), json!({"rows": [{"k": "a", "n": 1}]}));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_says_when_it_was_made() {
    let server = server().await;
    let done = server.run("INSERT INTO t VALUES (now(), 'b')").await;
    assert_eq!((&done["rows"], &done["data_as_of"]), (&json!(1), &json!("2017-11-07T12:02:00.000000Z")));
    server.stop().await;
}

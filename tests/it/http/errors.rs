//! Bad input: the right status, a problem that says what to do, and a server that lives on.

use std::io::Write;

use super::*;

async fn bad_sql(server: &Server, sql: &str, status: u16, part: &str) -> Value {
    let problem = problem_of(server.sql(sql), status).await;
    says(&problem, part);
    problem
}

#[tokio::test]
async fn bad_statements() {
    let server = Server::with_clicks().await;
    let problem = bad_sql(&server, "SELECT *\nFORM clicks", 400, "syntax error").await;
    assert_eq!(problem["position"]["line"], 2, "{problem}");
    bad_sql(&server, "SELECT * FROM click", 404, "did you mean 'clicks'?").await;
    bad_sql(&server, "SELECT contry FROM clicks", 400, "did you mean 'country'?").await;
    bad_sql(&server, "", 400, "").await;
    bad_sql(&server, "SELECT 1; SELECT 2", 400, "").await;
    bad_sql(&server, "INSERT INTO clicks (event_id, event_time, user_id) VALUES ('9', now(), 'seven')", 400, "").await;
    bad_sql(
        &server,
        "INSERT INTO clicks (event_id, event_time, user_id) VALUES ('9', now(), 9223372036854775808)",
        400,
        "",
    )
    .await;
    bad_sql(&server, "SELECT CAST('x' AS BIGINT)", 400, "").await;
    bad_sql(&server, "SELECT 9223372036854775807 + value FROM generate_series(1, 2)", 400, "").await;
    bad_sql(&server, "CREATE TABLE clicks (a BIGINT)", 409, "exists already").await;
    bad_sql(&server, "DROP TABLE nothing", 404, "not found").await;
    bad_sql(&server, "SET adlake.x = 1", 501, "no session").await;
    assert_eq!(server.rows("SELECT count(*) FROM clicks").await, json!([[4]]), "nothing was lost or added");
    server.stop().await;
}

#[tokio::test]
async fn bad_parameters() {
    let server = Server::with_clicks().await;
    let ask = |params: Value| {
        let body =
            json!({ "sql": "SELECT count(*) FROM clicks WHERE user_id = $1 AND event_time > $2", "params": params });
        server.request(Method::POST, "/v1/sql").json(&body)
    };
    says(&problem_of(ask(json!([1])), 400).await, "");
    says(&problem_of(ask(json!(["one", "2017-11-07T00:00:00Z"])), 400).await, "$1");
    says(&problem_of(ask(json!([1, "yesterday"])), 400).await, "$2");
    says(&problem_of(ask(json!([[1], "2017-11-07T00:00:00Z"])), 400).await, "$1");
    says(&problem_of(ask(json!("x")), 400).await, "neither an array");
    server.stop().await;
}

#[tokio::test]
async fn bad_requests() {
    let server = Server::start().await;
    let post = |content_type: &str, body: &'static [u8]| {
        server.request(Method::POST, "/v1/sql").header("content-type", content_type).body(body)
    };
    says(&problem_of(post("application/json", b"{\"sql\":"), 400).await, "the body is not");
    says(&problem_of(post("application/json", b"{\"sql\":\"SELECT '\xff'\"}"), 400).await, "the body is not");
    says(&problem_of(post("application/json", b"{\"query\":\"SELECT 1\"}"), 400).await, "`query`");
    says(&problem_of(post("application/json", b"[]"), 400).await, "the body is not");
    says(&problem_of(post("text/plain", b"SELECT 1"), 415).await, "application/json");
    says(&problem_of(server.sql("SELECT 1").header("accept", "image/png"), 406).await, "text/csv");
    let nested = server.sql("SELECT [1, 2] AS list").header("accept", "text/csv");
    says(&problem_of(nested, 400).await, "column 'list'");
    let extra = server.request(Method::POST, "/v1/sql?format=csv").json(&json!({ "sql": "SELECT 1" }));
    assert_eq!(problem_of(extra, 400).await["parameter"], "format");
    server.stop().await;
}

#[tokio::test]
async fn unknown_paths_and_methods() {
    let server = Server::start().await;
    says(&problem_of(server.get("/v1/nothing"), 404).await, "/v1/nothing");
    let reply = server.get("/v1/sql").send().await.unwrap();
    assert_eq!(header(&reply, "allow"), "POST");
    check_problem(reply, 405).await;
    let reply = server.request(Method::DELETE, "/healthz").send().await.unwrap();
    assert_eq!(header(&reply, "allow"), "GET, HEAD");
    check_problem(reply, 405).await;
    server.stop().await;
}

#[tokio::test]
async fn bodies_over_the_limit() {
    let server = Server::with(&[("http.max_body_size", "64 KiB")]).await;
    server.run("CREATE TABLE t (a VARCHAR)").await;
    let long = format!("{{\"sql\":\"SELECT '{}'\"}}", "x".repeat(70_000));
    let post = server.request(Method::POST, "/v1/sql").header("content-type", "application/json").body(long);
    says(&problem_of(post, 413).await, "http.max_body_size");

    let gzip = |plain: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    };
    let bomb = gzip(&vec![b' '; 10 << 20]);
    assert!(bomb.len() < 64 << 10);
    let rows = |body: Vec<u8>, coding: &'static str| {
        let request = server.request(Method::POST, "/v1/tables/t/rows").header("content-type", "application/x-ndjson");
        request.header("content-encoding", coding).body(body)
    };
    problem_of(rows(bomb, "gzip"), 413).await;
    says(&problem_of(rows(gzip(b"{}")[..15].to_vec(), "gzip"), 400).await, "gzip");
    says(&problem_of(rows(b"{}".to_vec(), "br"), 415).await, "zstd");
    assert_eq!(server.rows("SELECT count(*) FROM t").await, json!([[0]]));
    server.stop().await;
}

#[tokio::test]
async fn health_readiness_metrics_and_ids() {
    let server = Server::start().await;
    assert_eq!(json_of(server.get("/healthz")).await["status"], "ok");
    assert_eq!(json_of(server.get("/readyz")).await["status"], "ready");
    let reply = server.get("/v1/nothing").header("x-request-id", "order-17").send().await.unwrap();
    assert_eq!(header(&reply, "x-request-id"), "order-17");
    assert_eq!(check_problem(reply, 404).await["request_id"], "order-17");

    server.run("SELECT 1").await;
    let metrics = server.get("/metrics").send().await.unwrap();
    assert!(header(&metrics, "content-type").starts_with("application/openmetrics-text"));
    let text = metrics.text().await.unwrap();
    assert!(text.contains(r#"adlake_http_requests_total{route="/readyz",method="GET",status="200"}"#), "{text}");
    assert!(text.contains(r#"route="unmatched",method="GET",status="404""#), "{text}");
    assert!(text.ends_with("# EOF\n"));
    // One prefix, once: registered names leave it out.
    let mut samples = text.lines().filter(|line| !line.starts_with('#'));
    let prefixed = |sample: &str| sample.starts_with("adlake_") && !sample.starts_with("adlake_adlake_");
    assert!(samples.all(prefixed), "{text}");
    server.stop().await;
}

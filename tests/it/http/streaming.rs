//! Results that flow: first rows before the last, errors half-way, clients that leave, servers that stop.

use super::*;

/// Divides by zero at the row `at` of many.
fn failing(at: u64) -> String {
    format!("SELECT value, 1000 / (value - {at}) AS quotient FROM generate_series(1, 3000000)")
}

#[tokio::test]
async fn large_results_arrive_whole_and_piece_by_piece() {
    let server = Server::start().await;
    let query = "SELECT value, value * 2 AS double FROM generate_series(1, 1000000)";
    let mut reply = server.sql(query).header("accept", "application/x-ndjson").send().await.unwrap();
    let (mut lines, mut pieces) = (0, 0);
    while let Some(piece) = reply.chunk().await.unwrap() {
        lines += piece.iter().filter(|byte| **byte == b'\n').count();
        pieces += 1;
    }
    assert_eq!(lines, 1_000_000);
    assert!(pieces > 100, "{pieces} pieces");
    let table = server.run(query).await;
    assert_eq!(table["rows"].as_array().unwrap().len(), 1_000_000);
    // Two partitions make the series, so the last value need not come last.
    assert!(table["rows"].as_array().unwrap().contains(&json!([1_000_000, 2_000_000])));
    server.stop().await;
}

#[tokio::test]
async fn an_error_before_the_first_row_has_its_own_status() {
    let server = Server::start().await;
    // Few rows, so that no partition has given any before the division fails.
    let query = "SELECT 1000 / (value - 1) AS quotient FROM generate_series(1, 10)";
    says(&problem_of(server.sql(query), 400).await, "division by zero");
    server.stop().await;
}

#[tokio::test]
async fn an_error_half_way_is_seen() {
    let server = Server::start().await;
    let late = failing(2_500_000);
    let lines = server.sql(&late).header("accept", "application/x-ndjson").send().await.unwrap();
    assert_eq!(lines.status(), 200);
    let text = lines.text().await.unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["error"]["kind"], "invalid_argument", "{last}");
    assert!(text.lines().count() < 3_000_000);
    for form in ["application/json", "text/csv", "application/vnd.apache.arrow.stream"] {
        let reply = server.sql(&late).header("accept", form).send().await.unwrap();
        assert_eq!(reply.status(), 200, "{form}");
        assert!(reply.bytes().await.is_err(), "{form}: the transfer must break off");
    }
    assert_eq!(server.rows("SELECT 1").await, json!([[1]]), "the server lives on");
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_query() {
    let server = Server::start().await;
    let endless = "SELECT a.value, b.value FROM generate_series(1, 100000000) a, generate_series(1, 100000) b";
    let mut reply = server.sql(endless).header("accept", "text/csv").send().await.unwrap();
    let id = header(&reply, "adlake-query-id");
    assert!(reply.chunk().await.unwrap().is_some());
    let state = format!("SELECT state FROM system.queries WHERE query_id = '{id}'");
    assert_eq!(server.rows(&state).await, json!([["running"]]));
    drop(reply);
    // Ends by the statement's end, not by the clock: each look is a statement of its own.
    while server.rows(&state).await == json!([["running"]]) {}
    assert_eq!(server.rows(&state).await, json!([["cancelled"]]));
    server.stop().await;
}

#[tokio::test]
async fn stopping_lets_a_running_reply_end() {
    let server = Server::start().await;
    let query = "SELECT value FROM generate_series(1, 2000000)";
    let mut reply = server.sql(query).header("accept", "application/x-ndjson").send().await.unwrap();
    let first = reply.chunk().await.unwrap().unwrap();
    let (client, url) = (server.client.clone(), server.url("/healthz"));
    let stopping = server.stop();
    let reading = async {
        let mut lines = first.iter().filter(|byte| **byte == b'\n').count();
        while let Some(piece) = reply.chunk().await.unwrap() {
            lines += piece.iter().filter(|byte| **byte == b'\n').count();
        }
        lines
    };
    let (lines, ()) = tokio::join!(reading, stopping);
    assert_eq!(lines, 2_000_000);
    assert!(client.get(url).send().await.unwrap_err().is_connect());
}

//! `POST /v1/tables/{table}/rows`.

use std::io::Write;

use super::*;

const NDJSON: &str = "application/x-ndjson";

fn post(server: &Server, content_type: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
    server.request(Method::POST, "/v1/tables/clicks/rows").header("content-type", content_type).body(body)
}

fn line(id: &str, time: &str) -> String {
    format!("{}\n", json!({ "event_id": id, "event_time": time, "ad_id": "c", "country": "DE", "user_id": 1 }))
}

#[tokio::test]
async fn accepted_duplicates_and_rejected_are_told_apart() {
    let server = Server::with_clicks().await;
    let body = [
        line("10", "2017-11-07T11:00:00Z"),
        line("10", "2017-11-07T11:00:00Z"),
        line("1", "2017-11-07T10:30:00Z"),
        line("11", "noon"),
        "{\"event_id\": 12\n".to_owned(),
    ];
    let report = json_of(post(&server, NDJSON, body.concat())).await;
    assert_eq!((&report["accepted"], &report["duplicates"]), (&json!(1), &json!(2)), "{report}");
    let rejected = report["rejected"].as_array().unwrap();
    assert_eq!(rejected.len(), 2, "{report}");
    assert_eq!((&rejected[0]["line"], &rejected[0]["field"]), (&json!(4), &json!("event_time")), "{report}");
    assert_eq!(rejected[1]["line"], 5, "{report}");
    assert!(report["version"].is_u64(), "{report}");
    // Committed before the reply: the next statement sees them.
    assert_eq!(server.rows("SELECT count(*) FROM clicks").await, json!([[5]]));

    let again = json_of(post(&server, NDJSON, body[0].clone())).await;
    assert_eq!((&again["accepted"], &again["duplicates"]), (&json!(0), &json!(1)), "{again}");
    server.stop().await;
}

#[tokio::test]
async fn arrays_and_compressed_bodies() {
    let server = Server::with_clicks().await;
    let array = json!([{ "event_id": "20", "event_time": "2017-11-07T11:00:00Z" }]).to_string();
    assert_eq!(json_of(post(&server, "application/json", array)).await["accepted"], 1);

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(line("21", "2017-11-07T11:00:00Z").as_bytes()).unwrap();
    let gzip = post(&server, NDJSON, gzip.finish().unwrap()).header("content-encoding", "gzip");
    assert_eq!(json_of(gzip).await["accepted"], 1);

    let zstd = zstd::encode_all(line("22", "2017-11-07T11:00:00Z").as_bytes(), 1).unwrap();
    assert_eq!(json_of(post(&server, NDJSON, zstd).header("content-encoding", "zstd")).await["accepted"], 1);
    assert_eq!(server.rows("SELECT count(*) FROM clicks").await, json!([[7]]));
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused() {
    let server = Server::with_clicks().await;
    let misspelt = server.request(Method::POST, "/v1/tables/click/rows").header("content-type", NDJSON).body("{}");
    says(&problem_of(misspelt, 404).await, "did you mean 'clicks'?");
    let typed = problem_of(post(&server, "text/csv", "a,b"), 415).await;
    says(&typed, NDJSON);
    says(&typed, "application/json");
    problem_of(post(&server, "application/json", "\"neither object nor array\""), 400).await;
    let unknown = server.request(Method::POST, "/v1/tables/clicks/rows?sync=1").header("content-type", NDJSON).body("");
    assert_eq!(problem_of(unknown, 400).await["parameter"], "sync");

    let invalid =
        json_of(post(&server, NDJSON, &b"{\"event_id\":\"\xff\",\"event_time\":\"2017-11-07T11:00:00Z\"}\n"[..])).await;
    assert_eq!((&invalid["accepted"], invalid["rejected"].as_array().unwrap().len()), (&json!(0), 1), "{invalid}");
    let no_key = json_of(post(&server, NDJSON, "{\"event_time\":\"2017-11-07T11:00:00Z\"}\n")).await;
    assert_eq!(no_key["rejected"][0]["field"], "event_id", "{no_key}");
    assert_eq!(server.rows("SELECT count(*) FROM clicks").await, json!([[4]]));
    server.stop().await;
}

#[tokio::test]
async fn one_object_is_one_event() {
    let server = Server::with_clicks().await;
    let pretty = "{\n  \"event_id\": \"30\",\n  \"event_time\": \"2017-11-07T11:00:00Z\"\n}\n";
    let report = json_of(post(&server, "application/json", pretty)).await;
    assert_eq!((&report["accepted"], &report["replayed"]), (&json!(1), &json!(false)), "{report}");
    problem_of(post(&server, "application/json", format!("{pretty},{pretty}")), 400).await;
    server.stop().await;
}

#[tokio::test]
async fn a_numbered_request_is_carried_out_once() {
    let server = Server::with_clicks().await;
    let send = |sequence: &'static str, id: &str| {
        let request = post(&server, NDJSON, line(id, "2017-11-07T11:00:00Z"));
        request.header("Adlake-Producer-Id", "edge-1").header("Adlake-Sequence", sequence)
    };
    let first = json_of(send("3", "40")).await;
    let again = json_of(send("3", "41")).await;
    assert_eq!((&first["accepted"], &first["replayed"]), (&json!(1), &json!(false)), "{first}");
    assert_eq!((&again["accepted"], &again["replayed"]), (&json!(1), &json!(true)), "{again}");
    assert_eq!(again["version"], first["version"]);
    says(&problem_of(send("9", "42"), 409).await, "send 4 first");
    assert_eq!(problem_of(send("-1", "42"), 400).await["kind"], "invalid_argument");
    let alone = post(&server, NDJSON, line("42", "2017-11-07T11:00:00Z")).header("Adlake-Sequence", "1");
    says(&problem_of(alone, 400).await, "adlake-producer-id");
    assert_eq!(server.rows("SELECT count(*) FROM clicks").await, json!([[5]]));
    server.stop().await;
}

#[tokio::test]
async fn a_bad_row_can_refuse_the_request() {
    let server = Server::with_clicks().await;
    let body = line("50", "2017-11-07T11:00:00Z") + &line("51", "noon");
    let send = |query: &str| {
        let path = format!("/v1/tables/clicks/rows{query}");
        server.request(Method::POST, &path).header("content-type", NDJSON).body(body.clone())
    };
    says(&problem_of(send("?on_bad_row=fail"), 400).await, "line 2");
    assert_eq!(server.rows("SELECT count(*) FROM clicks").await, json!([[4]]));
    assert_eq!(json_of(send("?on_bad_row=reject")).await["accepted"], 1);
    problem_of(send("?on_bad_row=drop"), 400).await;
    server.stop().await;
}

#[tokio::test]
async fn many_senders_at_once_lose_and_double_nothing() {
    let server = Server::with_clicks().await;
    // Each of 20 senders sends 50 rows, every row also sent by its neighbour.
    let sends = (0..20).map(|sender| {
        let body: String =
            (0..50).map(|row| line(&format!("m{}", sender * 25 + row), "2017-11-07T11:00:00Z")).collect();
        json_of(post(&server, NDJSON, body))
    });
    let reports = futures::future::join_all(sends).await;
    let accepted: u64 = reports.iter().map(|report| report["accepted"].as_u64().unwrap()).sum();
    let duplicates: u64 = reports.iter().map(|report| report["duplicates"].as_u64().unwrap()).sum();
    assert_eq!((accepted, duplicates), (525, 475));
    let counted = "SELECT count(*), count(DISTINCT event_id) FROM clicks WHERE ad_id = 'c'";
    assert_eq!(server.rows(counted).await, json!([[525, 525]]));
    server.stop().await;
}

//! `POST /v1/sql`: forms of replies, parameters, statements that change something.

use std::io::Read;

use super::*;

#[tokio::test]
async fn one_result_in_every_form() {
    let server = Server::with_clicks().await;
    let query = "SELECT ad_id, count(*) AS clicks, sum(price) AS spend, max(event_time) AS last FROM clicks GROUP BY ad_id ORDER BY ad_id";

    let table = server.run(query).await;
    let columns = json!([
        {"name":"ad_id","type":"VARCHAR"}, {"name":"clicks","type":"BIGINT"},
        {"name":"spend","type":"DECIMAL(28, 6)"}, {"name":"last","type":"TIMESTAMP WITH TIME ZONE"}
    ]);
    assert_eq!(table["columns"], columns);
    assert_eq!(table["rows"][1], json!(["b", 1, 2.0, "2017-11-07T11:45:00Z"]));
    assert_eq!(table["rows"][0][2].to_string(), "1.75");

    let reply = server.sql(query).header("accept", "application/x-ndjson").send().await.unwrap();
    assert_eq!(header(&reply, "content-type"), "application/x-ndjson");
    assert!(!header(&reply, "adlake-query-id").is_empty());
    let lines = reply.text().await.unwrap();
    assert_eq!(
        lines.lines().next(),
        Some(r#"{"ad_id":"a","clicks":3,"spend":1.750000,"last":"2017-11-07T11:30:00Z"}"#)
    );
    assert_eq!(lines.lines().count(), 2);

    let csv = server.sql(query).header("accept", "text/csv").send().await.unwrap().text().await.unwrap();
    assert_eq!(csv, "ad_id,clicks,spend,last\na,3,1.750000,2017-11-07T11:30:00Z\nb,1,2.000000,2017-11-07T11:45:00Z\n");

    let arrow = server.sql(query).header("accept", "application/vnd.apache.arrow.stream").send().await.unwrap();
    let bytes = arrow.bytes().await.unwrap();
    let reader = arrow::ipc::reader::StreamReader::try_new(&bytes[..], None).unwrap();
    let names: Vec<String> = reader.schema().fields().iter().map(|field| format!("{}", field.data_type())).collect();
    assert_eq!(names[..2], ["Utf8", "Int64"], "no view types on the wire");
    assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 2);
    server.stop().await;
}

#[tokio::test]
async fn no_rows_are_an_answer_in_every_form() {
    let server = Server::start().await;
    let query = "SELECT 1 AS a WHERE false";
    assert_eq!(server.rows(query).await, json!([]));
    for (accept, expected) in [("text/csv", "a\n"), ("application/x-ndjson", "")] {
        let reply = server.sql(query).header("accept", accept).send().await.unwrap();
        assert_eq!(reply.text().await.unwrap(), expected, "{accept}");
    }
    let arrow = server.sql(query).header("accept", "application/vnd.apache.arrow.stream").send().await.unwrap();
    let bytes = arrow.bytes().await.unwrap();
    assert_eq!(arrow::ipc::reader::StreamReader::try_new(&bytes[..], None).unwrap().schema().field(0).name(), "a");
    server.stop().await;
}

#[tokio::test]
async fn parameters_by_position_and_by_name() {
    let server = Server::with_clicks().await;
    let ask = |sql: &str, params: Value| {
        json_of(server.request(Method::POST, "/v1/sql").json(&json!({ "sql": sql, "params": params })))
    };
    let by_position = "SELECT count(*) FROM clicks WHERE ad_id = $1 AND event_time >= $2 AND user_id < $3";
    assert_eq!(ask(by_position, json!(["a", "2017-11-07T11:00:00Z", 3])).await["rows"], json!([[1]]));
    let by_name = "SELECT count(*) FROM clicks WHERE country = $country AND price > $price";
    assert_eq!(ask(by_name, json!({ "country": "KR", "price": 0.4 })).await["rows"], json!([[2]]));
    assert_eq!(ask("SELECT 1", json!(null)).await["rows"], json!([[1]]));
    server.stop().await;
}

#[tokio::test]
async fn numbers_are_exact_both_ways() {
    let server = Server::start().await;
    server.run("CREATE TABLE amounts (i BIGINT, d DECIMAL(38, 10))").await;
    let body = r#"{"sql":"INSERT INTO amounts VALUES ($1, $2)","params":[9007199254740993,1234567890123456789012345678.0123456789]}"#;
    let insert = server.request(Method::POST, "/v1/sql").header("content-type", "application/json").body(body);
    assert_eq!(json_of(insert).await["rows"], 1);
    let reply = server.sql("SELECT i, d FROM amounts").send().await.unwrap().text().await.unwrap();
    assert!(reply.contains("[9007199254740993,1234567890123456789012345678.0123456789]"), "{reply}");
    server.stop().await;
}

#[tokio::test]
async fn changes_tell_how_many_rows() {
    let server = Server::start().await;
    let created = server.run("CREATE TABLE t (a BIGINT, b VARCHAR)").await;
    assert_eq!(created["rows"], Value::Null, "{created}");
    assert!(created["message"].is_string(), "{created}");
    assert_eq!(server.run("INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, NULL)").await["rows"], 3);
    // Whatever the form asked for, there are no rows to put into it.
    let csv = json_of(server.sql("INSERT INTO t VALUES (4, 'z')").header("accept", "text/csv")).await;
    assert_eq!(csv["rows"], 1);
    assert_eq!(server.rows("SELECT count(*), count(b) FROM t").await, json!([[4, 3]]));
    server.stop().await;
}

#[tokio::test]
async fn replies_are_compressed_when_asked() {
    let server = Server::start().await;
    let query = "SELECT value FROM generate_series(1, 5000)";
    let reply = server.sql(query).header("accept-encoding", "gzip").header("accept", "text/csv").send().await.unwrap();
    assert_eq!(header(&reply, "content-encoding"), "gzip");
    let packed = reply.bytes().await.unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text.lines().count(), 5001);
    assert!(packed.len() < text.len() / 2);
    server.stop().await;
}

#[tokio::test]
async fn the_clock_is_the_servers() {
    let server = Server::start().await;
    assert_eq!(server.rows("SELECT CAST(now() AS VARCHAR) LIKE '2017-11-07%12:00:00%'").await, json!([[true]]));
    server.clock.advance(Duration::from_secs(3600));
    assert_eq!(server.rows("SELECT CAST(now() AS VARCHAR) LIKE '2017-11-07%13:00:00%'").await, json!([[true]]));
    server.stop().await;
}

#[tokio::test]
async fn files_are_loaded_from_allowed_places_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path).display().to_string();
    std::fs::create_dir(at("in")).unwrap();
    std::fs::write(at("in/a.ndjson"), "{\"a\":1}\n").unwrap();
    std::fs::write(at("secret.ndjson"), "{\"a\":2}\n").unwrap();
    std::os::unix::fs::symlink(at("secret.ndjson"), at("in/link.ndjson")).unwrap();
    let server = Server::with(&[("query.allowed_locations", &at("in"))]).await;
    server.run("CREATE TABLE t (a BIGINT)").await;
    server.run(&format!("COPY INTO t FROM '{}'", at("in/a.ndjson"))).await;
    for place in ["secret.ndjson", "in/link.ndjson", "in/*.ndjson", "nowhere.ndjson", "in/../secret.ndjson"] {
        let problem = problem_of(server.sql(&format!("COPY INTO t FROM '{}'", at(place))), 403).await;
        says(&problem, "query.allowed_locations");
    }
    assert_eq!(server.rows("SELECT a FROM t").await, json!([[1]]));
    server.stop().await;
    let server = Server::start().await;
    server.run("CREATE TABLE t (a BIGINT)").await;
    problem_of(server.sql(&format!("COPY INTO t FROM '{}'", at("in/a.ndjson"))), 403).await;
    server.stop().await;
}

//! What a row must be to be taken, what becomes of unknown fields, and columns added while rows come in.

use std::sync::Arc;

use adlake::ingest::{AppendRequest, OnBadRow, Payload};
use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;

use super::{Process, counts};

const DEVICES: &str = "CREATE TABLE d (id BIGINT NOT NULL, device VARCHAR, price_micros BIGINT, at TIMESTAMPTZ, \
     CONSTRAINT known_device CHECK (device IN ('ios', 'android')), \
     CONSTRAINT sane_price CHECK (price_micros BETWEEN 0 AND 1000000000), \
     CONSTRAINT both CHECK (device IS NOT NULL OR price_micros IS NULL))";

#[tokio::test]
async fn each_bad_row_is_rejected_alone_with_its_field_and_reason() {
    let process = Process::start().await;
    process.sql(DEVICES).await;
    let mut body = Vec::new();
    for row in [
        r#"{"id":1,"device":"ios","price_micros":5}"#.as_bytes(),
        br#"{"id":"x"}"#,
        br#"{"device":"ios"}"#,
        br#"{"id":2,"device":"tv"}"#,
        br#"{"id":3,"device":"ios","price_micros":-1}"#,
        br#"{"id":4,"price_micros":1}"#,
        b"{\"id\":5,\"device\":\"\xff\"}",
        br#"{"id":6,"at":"yesterday"}"#,
        br#"{"id":7,"device":"ios","divice":"ios"}"#,
        br#"{"id":8,"device":null}"#,
    ] {
        body.extend_from_slice(row);
        body.push(b'\n');
    }
    let report = process.request("d", Payload::Ndjson(body.into())).await.unwrap();
    assert_eq!(report.accepted, 2);
    let rejected: Vec<String> = report.rejected.iter().map(adlake::ingest::Rejection::sentence).collect();
    let wanted = [
        "line 2, field 'id': 'x' is not an integer",
        "line 3, field 'id': is NULL, the column is NOT NULL",
        "line 4, field 'device': violates CHECK known_device",
        "line 5, field 'price_micros': violates CHECK sane_price",
        "line 6: violates CHECK both",
        "line 7: is not valid UTF-8 (byte 19)",
        "line 8, field 'at': 'yesterday' is not a time",
        "line 9, field 'divice': is not a column of the table; did you mean 'device'?",
    ];
    for (found, wanted) in rejected.iter().zip(wanted) {
        assert!(found.starts_with(wanted), "{found}\n{wanted}");
    }
    assert_eq!(rejected.len(), wanted.len());
    let rows = process.sql("SELECT line, field FROM system.rejects WHERE status = 'open' ORDER BY line LIMIT 2").await;
    assert_eq!(rows, ["2 id", "3 id"]);
}

#[tokio::test]
async fn the_table_or_the_request_says_what_a_bad_row_does() {
    let process = Process::start().await;
    process.sql(&format!("{DEVICES} WITH (on_error='fail')")).await;
    let body = "{\"id\":1}\n{\"id\":null}\n{\"id\":\"x\"}\n";
    let error = process.try_append("d", body).await.unwrap_err().to_string();
    let wanted = "line 2, field 'id': is NULL, the column is NOT NULL; and 1 more bad row; nothing was accepted";
    assert_eq!(error, wanted);
    assert_eq!((process.count("d").await, process.count("system.rejects").await), (0, 0));
    let request = |on_bad_row| AppendRequest {
        table: "d".to_owned(),
        payload: Payload::Ndjson(body.into()),
        producer: None,
        on_bad_row,
        source: "http",
    };
    let report = process.app.ingestor.append(request(Some(OnBadRow::Reject))).await.unwrap();
    assert_eq!((report.accepted, report.rejected.len()), (1, 2));
    process.sql("ALTER TABLE d SET (on_error='reject')").await;
    assert_eq!(process.append("d", body).await.accepted, 1);
    assert!(process.app.ingestor.append(request(Some(OnBadRow::Fail))).await.is_err());
    assert_eq!((process.count("d").await, process.count("system.rejects").await), (2, 4));
    // A file is a request of its own.
    process.sql("ALTER TABLE d SET (on_error='fail')").await;
    let file = process.file("d.csv", "id,device\n1,ios\nx,ios\n");
    assert!(process.load("d", &file, &[]).await.unwrap_err().contains("more than 0 bad rows"));
    assert_eq!(process.count("d").await, 2);
}

#[tokio::test]
async fn unknown_fields_are_rejected_ignored_or_kept() {
    let process = Process::start().await;
    process.sql("CREATE TABLE u (id BIGINT NOT NULL, _extra MAP<VARCHAR, VARCHAR>)").await;
    let body = "{\"id\":1,\"utm\":\"mail\",\"n\":1.50,\"o\":{\"a\":[1]},\"z\":null}\n{\"id\":2}\n";
    let report = process.append("u", body).await;
    assert_eq!((report.accepted, report.rejected.len()), (1, 1));
    process.sql("ALTER TABLE u SET (unknown_fields='ignore')").await;
    assert_eq!(process.append("u", body).await.accepted, 2);
    assert_eq!(process.sql("SELECT count(*) FROM u WHERE _extra IS NULL").await, ["3"]);
    process.sql("ALTER TABLE u SET (unknown_fields='extra')").await;
    assert_eq!(process.append("u", body).await.accepted, 2);
    let kept = "SELECT id, _extra['utm'], _extra['n'], _extra['o'] FROM u WHERE _extra IS NOT NULL";
    assert_eq!(process.sql(kept).await, ["1 mail 1.50 {\"a\":[1]}"]);

    let array = Payload::JsonArray("[{\"id\":3,\"utm\":\"json\"}]".into());
    assert_eq!(process.request("u", array).await.unwrap().accepted, 1);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![4, 5]))),
        ("utm", Arc::new(StringArray::from(vec![Some("arrow"), None]))),
        ("n", Arc::new(Int64Array::from(vec![7, 8]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    assert_eq!(process.request("u", Payload::Arrow(vec![batch])).await.unwrap().accepted, 2);
    let file = process.file("u.csv", "id,utm,n\n6,csv,\n7,,9\n");
    assert_eq!(counts(&process.load("u", &file, &[]).await.unwrap()).1, 2);
    let rows = process.sql("SELECT id, _extra['utm'], _extra['n'] FROM u WHERE id >= 3 ORDER BY id").await;
    assert_eq!(rows, ["3 json ", "4 arrow 7", "5  8", "6 csv ", "7  9"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_added_while_rows_come_in_fail_no_request() {
    let process = Arc::new(Process::with_clicks().await);
    process.sql("CREATE TABLE s (k BIGINT NOT NULL, v BIGINT) WITH (kind='snapshot', key='k')").await;
    let sender = process.clone();
    let appending = async move {
        let mut sent = 0;
        for round in 0..40_usize {
            let body = super::click(round, "2017-11-07T11:00:00Z");
            sent += sender.append("clicks", &body).await.accepted;
            sender.append("s", &format!("{{\"k\":{},\"v\":{round}}}\n", round % 3)).await;
            let insert = format!("INSERT INTO clicks (event_id, event_time) VALUES ('i{round}', now())");
            sender.sql(&insert).await;
            sent += 1;
        }
        sent
    };
    let altering = async {
        for column in 0..10 {
            process.sql(&format!("ALTER TABLE clicks ADD COLUMN c{column} BIGINT")).await;
            process.sql(&format!("ALTER TABLE s ADD COLUMN c{column} BIGINT")).await;
        }
    };
    let (sent, ()) = tokio::join!(appending, altering);
    assert_eq!(process.count("clicks").await as u64, sent);
    assert_eq!(process.sql("SELECT k, v FROM s ORDER BY k").await, ["0 39", "1 37", "2 38"]);
    // The other process learns of the column with the first row that has it.
    let other = process.another().await;
    other.append("clicks", &super::click("before", "2017-11-07T11:00:00Z")).await;
    process.sql("ALTER TABLE clicks ADD COLUMN late BIGINT").await;
    other.app.catalog.refresh().await.unwrap();
    let row = "{\"event_id\":\"z\",\"event_time\":\"2017-11-07T11:00:00Z\",\"late\":7}\n";
    assert_eq!(other.append("clicks", row).await.accepted, 1);
    assert_eq!(other.sql("SELECT late FROM clicks WHERE event_id = 'z'").await, ["7"]);
}

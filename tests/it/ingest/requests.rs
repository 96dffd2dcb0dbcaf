//! Appends and INSERT.

use std::time::Duration;

use adlake::base::{Classify, Kind};
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

use super::*;
use crate::seeds::abandon;

#[tokio::test(flavor = "multi_thread")]
async fn events_are_committed_once_however_they_are_sent() {
    let lake = Process::with_clicks().await;
    let body = click(1, "2017-11-07T11:00:00Z") + &click(2, "2017-11-07T11:00:00Z") + &click(1, "2017-11-07T11:30:00Z");
    let report = lake.append("clicks", &body).await;
    assert_eq!((report.accepted, report.duplicates, report.rejected.len()), (2, 1, 0));
    let again = lake.append("clicks", &body).await;
    assert_eq!((again.accepted, again.duplicates, again.version), (0, 3, report.version), "nothing new is no commit");
    let answer = lake.sql("SELECT event_id, event_time FROM clicks ORDER BY 1").await;
    assert_eq!(answer, ["1 2017-11-07T11:00:00Z", "2 2017-11-07T11:00:00Z"], "the first occurrence wins");
    let inserted = lake.sql("INSERT INTO clicks (event_id, event_time) VALUES ('2', TIMESTAMP '2017-11-07 11:45:00'), ('3', TIMESTAMP '2017-11-07 11:45:00')").await;
    assert!(inserted[0].contains('1'), "{inserted:?}");
    assert_eq!(lake.count("clicks").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_are_rejected_alone_and_kept() {
    let lake = Process::with_clicks().await;
    let body = click(1, "2017-11-07T11:00:00Z")
        + "{\"event_id\":null,\"event_time\":\"2017-11-07T11:00:00Z\"}\n"
        + &click("late", "2017-10-01T00:00:00Z")
        + &click("future", "2017-11-07T12:06:00Z")
        + "{\"event_id\":\"neg\",\"event_time\":1510052400000,\"price_micros\":-1}\n"
        + "{\"event_id\":\"big\",\"event_time\":1510052400000,\"price_micros\":9223372036854775808}\n"
        + "{\"event_id\":\"typo\",\"event_time\":1510052400000,\"ad_ids\":\"x\"}\n"
        + &click(2, "2017-11-07T11:00:00Z");
    let report = lake.append("clicks", &body).await;
    assert_eq!((report.accepted, report.duplicates), (2, 0));
    let sentences: Vec<String> = report.rejected.iter().map(|rejection| rejection.sentence()).collect();
    let wanted = [
        "line 2, field 'event_id': is NULL",
        "line 3, field 'event_time': is 2017-10-01T00:00:00.000000Z, older than lateness",
        "line 4, field 'event_time': is 2017-11-07T12:06:00.000000Z, further ahead",
        "line 5, field 'price_micros': violates CHECK",
        "line 6, field 'price_micros': '9223372036854775808' is out of range",
        "line 7, field 'ad_ids': is not a column of the table; did you mean 'ad_id'?",
    ];
    assert_eq!(sentences.len(), wanted.len(), "{sentences:#?}");
    for (sentence, wanted) in sentences.iter().zip(wanted) {
        assert!(sentence.starts_with(wanted), "{sentence}\nwanted {wanted}");
    }
    let kept = lake.sql("SELECT line, field, table_name, source FROM system.rejects ORDER BY line").await;
    assert_eq!(kept.len(), 6, "{kept:?}");
    assert_eq!(kept[0], "2 event_id clicks http");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_is_all_or_nothing() {
    let lake = Process::with_clicks().await;
    let at = "TIMESTAMP '2017-11-07 11:45:00'";
    let error = lake.try_sql(&format!("INSERT INTO clicks VALUES ('1', {at}, 'a', 1), ('2', {at}, 'a', -1)")).await;
    let error = error.unwrap_err();
    assert!(
        error.contains("row 2, field 'price_micros': violates CHECK") && error.contains("nothing was inserted"),
        "{error}"
    );
    assert_eq!((lake.count("clicks").await, lake.parquet_files()), (0, 0), "a failed INSERT leaves files");
    let body: String = (0..15_000).map(|id| click(id, "2017-11-07T11:00:00Z")).collect();
    assert_eq!(lake.append("clicks", &body).await.accepted, 15_000);
    lake.sql("INSERT INTO clicks SELECT 'e' || event_id, event_time, ad_id, price_micros FROM clicks").await;
    lake.sql("INSERT INTO clicks SELECT * FROM clicks").await;
    assert_eq!(lake.count("clicks").await, 30_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_never_commit_one_event_twice() {
    let one = Process::with_clicks().await;
    let other = one.another().await;
    let batch = |from: u64| (from..from + 50).map(|id| click(id, "2017-11-07T11:00:00Z")).collect::<String>();
    // Neither hears of the other's commits but through the log; every batch overlaps its neighbours.
    let send = async |process: &Process| {
        let mut accepted = 0;
        for step in 0..15 {
            accepted += process.append("clicks", &batch(step * 25)).await.accepted;
        }
        accepted
    };
    let (left, right) = tokio::join!(send(&one), send(&other));
    let reader = one.another().await;
    assert_eq!(reader.sql("SELECT count(*), count(DISTINCT event_id) FROM clicks").await, ["400 400"]);
    assert_eq!(left + right, 400, "every event was accepted by exactly one");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_survive_a_restart_and_a_table_made_anew_starts_empty() {
    let lake = Process::with_clicks().await;
    lake.append("clicks", &click(1, "2017-11-07T11:00:00Z")).await;
    let restarted = lake.another().await;
    assert_eq!(restarted.append("clicks", &click(1, "2017-11-07T11:00:00Z")).await.duplicates, 1);
    restarted.sql("DROP TABLE clicks").await;
    restarted.sql(CLICKS).await;
    assert_eq!(restarted.append("clicks", &click(1, "2017-11-07T11:00:00Z")).await.accepted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_without_event_key_take_everything() {
    let lake = Process::start().await;
    lake.sql("CREATE TABLE t (a BIGINT, b DECIMAL(10, 2), c DATE, d VARCHAR[])").await;
    let body = "{\"a\":1,\"b\":0.10,\"c\":\"2017-11-07\",\"d\":[\"x\",\"y\"]}\n";
    assert_eq!(lake.append("t", &body.repeat(2)).await.accepted, 2);
    assert_eq!(lake.sql("SELECT a, b, c, d[2] FROM t LIMIT 1").await, ["1 0.10 2017-11-07 y"]);
    let array = Payload::JsonArray("[{\"a\":2},{\"a\":\"x\"}]".into());
    let array = lake.request("t", array).await.unwrap();
    assert_eq!((array.accepted, array.rejected[0].line), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_under_way_are_told_what_became_of_their_table() {
    let lake = Arc::new(Process::start().await);
    let batch = RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
    for create in ["CREATE TABLE t (a BIGINT)", "CREATE TABLE t (a BIGINT NOT NULL) WITH (kind='snapshot', key='a')"] {
        for (made_again, kind, words) in [
            (false, Kind::NotFound, "table or view 't' not found"),
            (true, Kind::Conflict, "table 't' was dropped and made again while the rows came in; send them again"),
        ] {
            lake.sql(create).await;
            let (there, row) = (lake.clone(), batch.clone());
            let meanwhile = async move {
                there.sql("DROP TABLE t").await;
                if made_again {
                    there.app.clock.advance(Duration::from_secs(1));
                    there.sql(create).await;
                }
                Ok(row)
            };
            let rows = RecordBatchStreamAdapter::new(batch.schema(), futures::stream::once(meanwhile));
            let ingestor = &lake.app.ingestor;
            let inserted = ingestor.append_stream("t", Box::pin(rows), Arc::default(), CancellationToken::new()).await;
            let error = inserted.unwrap_err();
            assert_eq!((error.kind(), error.public_message().as_str()), (kind, words), "{create}");
            if made_again {
                assert_eq!(lake.count("t").await, 0);
                lake.sql("DROP TABLE t").await;
            }
        }
    }
}

/// Clients that all leave while a group is being committed: nobody leads another group that would pass their requests over.
#[tokio::test]
async fn requests_whose_clients_are_gone_take_no_room() {
    const AT: &str = "2017-11-07T11:00:00Z";
    let process = Process::with_clicks().await;
    for round in 0..10 {
        let (led, left) = (click(format!("{round}"), AT), click(format!("left {round}"), AT));
        let leaving = async {
            for polls in 1..8 {
                abandon(process.try_append("clicks", &left), polls).await;
                tokio::task::yield_now().await;
            }
        };
        let (answered, ()) = futures::join!(process.try_append("clicks", &led), leaving);
        answered.unwrap();
        let waiting = process.sql("SELECT requests_waiting FROM system.ingest WHERE table_name = 'clicks'").await;
        assert_eq!(waiting, ["0"], "round {round}");
    }
}

//! REPLAY REJECTS: every kind of row comes back exactly as it came, once.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use adlake::ingest::Payload;
use arrow::array::{ArrayRef, DictionaryArray, StringArray};
use arrow::datatypes::Int32Type;
use arrow::record_batch::RecordBatch;
use tokio_util::sync::CancellationToken;

use super::{Process, click};

#[tokio::test]
async fn late_rows_are_replayed_once() {
    let process = Process::with_clicks().await;
    let late = [click("a", "2017-10-01T00:00:00Z"), click("b", "2017-10-02T00:00:00Z")].concat();
    let report = process.append("clicks", &late).await;
    assert!(report.rejected[0].reason.ends_with("REPLAY REJECTS FROM clicks"), "{:?}", report.rejected[0].reason);
    let said = process.sql("REPLAY REJECTS FROM clicks WHERE line = 1").await;
    assert_eq!(said, ["1 rejected rows replayed into clicks"]);
    assert_eq!(process.sql("SELECT event_id FROM clicks").await, ["a"]);
    let status = "SELECT line, status FROM system.rejects ORDER BY line";
    assert_eq!(process.sql(status).await, ["1 replayed", "2 open"]);
    process.sql("REPLAY REJECTS FROM clicks").await;
    assert_eq!(process.sql("REPLAY REJECTS FROM clicks").await, ["0 rejected rows replayed into clicks"]);
    assert_eq!(process.sql("SELECT event_id FROM clicks ORDER BY 1").await, ["a", "b"]);
    // Sent once more and rejected once more: by then the events are in the table.
    process.append("clicks", &late).await;
    let said = process.sql("REPLAY REJECTS FROM clicks").await;
    assert_eq!(said, ["0 rejected rows replayed into clicks, 2 were there already"]);
    assert_eq!(
        (process.count("clicks").await, process.count("system.rejects WHERE status = 'replayed'").await),
        (2, 4)
    );
}

#[tokio::test]
async fn rows_that_are_still_bad_stay_with_their_reason() {
    let process = Process::start().await;
    process.sql("CREATE TABLE t (id BIGINT NOT NULL)").await;
    process.append("t", "{\"id\":\"x\"}\n{\"id\":1,\"added\":2}\n{\"id\":3}\n").await;
    let said = process.sql("REPLAY REJECTS FROM t").await;
    assert_eq!(said, ["0 rejected rows replayed into t, 2 rejected again (see status_reason in system.rejects)"]);
    process.sql("ALTER TABLE t ADD COLUMN added BIGINT").await;
    process.sql("REPLAY REJECTS FROM t").await;
    assert_eq!(process.sql("SELECT id, added FROM t ORDER BY id").await, ["1 2", "3 "]);
    let rows = process.sql("SELECT status, status_reason FROM system.rejects ORDER BY line").await;
    assert_eq!(rows, ["rejected field 'id': 'x' is not an integer", "replayed "]);
    assert!(process.try_sql("REPLAY REJECTS FROM nope").await.unwrap_err().contains("nope"));
    assert!(process.try_sql("REPLAY REJECTS FROM t WHERE nope = 1").await.unwrap_err().contains("nope"));
}

#[tokio::test]
async fn long_rows_and_rows_of_files_come_back_whole() {
    let process = Process::start().await;
    process.sql("CREATE TABLE t (id BIGINT, note VARCHAR, CHECK (id < 10))").await;
    let long = "é".repeat(200_000);
    process.append("t", &format!("{{\"id\":11,\"note\":\"{long}\"}}\n")).await;
    // Over several lines, too.
    let array = "[{\"id\": 12,\n  \"note\": \"pretty\"\n}, {\"id\": 1}]".to_owned();
    process.request("t", Payload::JsonArray(array.into())).await.unwrap();
    let csv = "Number;Text\n13;\"semi;colon, \"\"quotes\"\" and\na line\"\n2;ok\n14;\"\"\n";
    let file = process.file("t.csv", csv);
    let options = [("map", "Number=id, Text=note"), ("delimiter", ";")];
    process.load("t", &file, &options).await.unwrap();
    process.append("t", "{\"id\":15,\"note\":\"plain\"}\n").await;
    assert_eq!(process.count("t").await, 2);
    // What a CHECK refused is taken once the table has no such CHECK; here: a new table of the same name.
    process.sql("DROP TABLE t").await;
    process.sql("CREATE TABLE t (id BIGINT, note VARCHAR)").await;
    assert_eq!(process.sql("REPLAY REJECTS FROM t").await, ["5 rejected rows replayed into t"]);
    let rows = process.sql("SELECT id, length(note), note FROM t WHERE id > 11 ORDER BY id").await;
    let wanted = ["12 6 pretty", "13 31 semi;colon, \"quotes\" and\na line", "14  ", "15 5 plain"];
    assert_eq!(rows, wanted);
    assert_eq!(process.sql("SELECT length(note) FROM t WHERE id = 11").await, ["200000"]);
}

#[tokio::test]
async fn arrow_rows_and_bytes_that_are_no_text_are_kept() {
    let process = Process::start().await;
    process.sql("CREATE TABLE t (id BIGINT NOT NULL, tag VARCHAR, data BYTEA, CHECK (id < 10))").await;
    let tags: DictionaryArray<Int32Type> = vec![Some("x"), None, Some("y")].into_iter().collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(StringArray::from(vec![Some("1"), Some("11"), Some("many")]))),
        ("tag", Arc::new(tags)),
        ("data", Arc::new(arrow::array::BinaryArray::from_vec(vec![b"\x00", b"\xff\xfe", b"z"]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let report = process.request("t", Payload::Arrow(vec![batch])).await.unwrap();
    assert_eq!((report.accepted, report.rejected.len()), (1, 2));
    let formats = process.sql("SELECT line, format FROM system.rejects ORDER BY line").await;
    assert_eq!(formats, ["2 columns", "3 arrow"]);
    process.sql("DROP TABLE t").await;
    process.sql("CREATE TABLE t (id VARCHAR, tag VARCHAR, data BYTEA)").await;
    process.sql("REPLAY REJECTS FROM t").await;
    let rows = process.sql("SELECT id, tag, encode(data, 'hex') FROM t ORDER BY id").await;
    assert_eq!(rows, ["11  fffe", "many y 7a"]);

    process.sql("CREATE TABLE n (id BIGINT)").await;
    process.request("n", Payload::Ndjson(b"{\"id\":\"\xff\"}\n".to_vec().into())).await.unwrap();
    let raw = process.sql("SELECT encode(raw, 'hex') FROM system.rejects WHERE table_name = 'n'").await;
    assert_eq!(raw, ["7b226964223a22ff227d"]);
    process.sql("REPLAY REJECTS FROM n").await;
    let reason = process.sql("SELECT status_reason FROM system.rejects WHERE table_name = 'n'").await;
    assert!(reason[0].contains("not valid UTF-8"), "{reason:?}");
}

/// A future that is dropped when it has been woken so many times.
struct Killed<F> {
    inner: Pin<Box<F>>,
    polls_left: usize,
}

impl<F: Future> Future for Killed<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(left) = self.polls_left.checked_sub(1) else { return Poll::Ready(None) };
        self.polls_left = left;
        self.inner.as_mut().poll(context).map(Some)
    }
}

#[tokio::test]
async fn a_replay_killed_anywhere_and_run_again_doubles_nothing() {
    let process = Process::start().await;
    // No event key: nothing but the replay itself keeps rows from coming twice.
    process.sql("CREATE TABLE t (id BIGINT, at TIMESTAMPTZ NOT NULL) WITH (event_time='at', lateness='1 day')").await;
    let (mut completed, mut kills) = (0, 0);
    let sql = "SELECT reject_id, format, read_as, \"row\", raw, CASE WHEN status = 'replaying' THEN replay_id END AS pending \
         FROM system.rejects WHERE table_name = 't' AND status <> 'replayed' ORDER BY pending NULLS LAST, rejected_at, line";
    while completed < 3 {
        let row = |id| format!("{{\"id\":{id},\"at\":\"2017-01-01T00:00:00Z\"}}\n");
        let number = kills + completed;
        let report = process.append("t", &(row(2 * number) + &row(2 * number + 1))).await;
        assert_eq!(report.rejected.len(), 2);
        let query = process.app.engine.open_query(sql, CancellationToken::new()).await.unwrap();
        let task = process.app.engine.task_context();
        let replay = process.app.ingestor.replay("t", query.stream, task, CancellationToken::new());
        match (Killed { inner: Box::pin(replay), polls_left: kills + 1 }).await {
            Some(report) => {
                report.unwrap();
                completed += 1;
            }
            None => kills += 1,
        }
    }
    assert!(kills > 3, "{kills} replays were killed");
    process.sql("REPLAY REJECTS FROM t").await;
    let sent = 2 * (kills + completed);
    assert_eq!(process.sql("SELECT count(*), count(DISTINCT id) FROM t").await, [format!("{sent} {sent}")]);
    assert_eq!(process.count("system.rejects WHERE status <> 'replayed'").await, 0);
}

//! `load`: each file exactly once, in every format.

use std::io::Write;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;

use super::*;

const CSV: &str = "event_id,event_time,ad_id,price_micros\n1,2017-11-06 16:00:00,a,5\n2,2017-11-06 17:00:00,b,\n1,2017-11-06 18:00:00,c,7\n";

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

pub fn parquet(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_loaded_once_by_its_content() {
    let lake = Process::with_clicks().await;
    let file = lake.file("a.csv", CSV);
    let report = lake.load("clicks", &file, &[]).await.unwrap();
    assert_eq!(counts(&report), (FileStatus::Loaded, 2, 1, 0));
    // Same content, other name, other process.
    let copy = lake.file("b.csv", CSV);
    let again = lake.another().await.load("clicks", &copy, &[]).await.unwrap();
    assert_eq!((counts(&again), again.version), ((FileStatus::AlreadyLoaded, 0, 0, 0), report.version));
    // Same rows, compressed: other content, but the same events.
    let zipped = lake.file("a.csv.gz", gzip(CSV));
    let zipped = lake.load("clicks", &zipped, &[]).await.unwrap();
    assert_eq!(counts(&zipped), (FileStatus::Loaded, 0, 3, 0));
    assert_eq!(lake.count("clicks").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn headerless_tsv_is_mapped_with_its_own_time_format() {
    let lake = Process::with_clicks().await;
    let file = lake.file("imp.tsv.gz", gzip("k1\t20130606000104192\tx\t10\nk2\t20130606000104252\ty\t20\n"));
    let map = "column_1=event_id, column_2=event_time, column_4=price_micros, *=";
    let options = [("header", "false"), ("map", map), ("time_format", "%Y%m%d%H%M%S%3f@+08:00")];
    let report = lake.load("clicks", &file, &options).await.unwrap();
    assert_eq!(counts(&report), (FileStatus::Loaded, 2, 0, 0), "old events are welcome in a load");
    let answer = lake.sql("SELECT event_id, event_time, price_micros FROM clicks ORDER BY 1 LIMIT 1").await;
    assert_eq!(answer, ["k1 2013-06-05T16:01:04.192Z 10"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn parquet_is_cast_and_its_bad_rows_rejected() {
    let lake = Process::with_clicks().await;
    let content = parquet(vec![
        ("event_id", Arc::new(Int32Array::from(vec![1, 2, 3])) as ArrayRef),
        ("at", Arc::new(Int64Array::from(vec![1_510_000_000_000, 1_510_000_000_001, i64::MAX]))),
        ("ad_id", Arc::new(StringArray::from(vec![Some("a"), None, Some("c")]))),
        ("price_micros", Arc::new(Float64Array::from(vec![1.0, 2.5, 3.0]))),
    ]);
    let file = lake.file("a.parquet", content);
    let report = lake.load("clicks", &file, &[("map", "at=event_time")]).await.unwrap();
    assert_eq!(counts(&report), (FileStatus::Loaded, 1, 0, 2));
    assert_eq!(lake.sql("SELECT * FROM clicks").await, ["1 2017-11-06T20:26:40Z a 1"]);
    let kept = lake.sql("SELECT line, field, row FROM system.rejects ORDER BY line").await;
    assert!(kept[0].starts_with("2 price_micros {event_id: 2"), "{kept:?}");
    assert!(kept[1].starts_with("3 at "), "{kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_into_answers_per_file_and_in_order() {
    let lake = Process::with_clicks().await;
    lake.file("p-1.ndjson", click(1, "2015-01-01T00:00:00Z"));
    lake.file("p-2.ndjson", click(2, "2015-01-01T00:00:00Z") + &click(1, "2015-01-01T00:00:00Z") + "{}\n");
    let pattern = lake.folder.path().join("p-*.ndjson");
    let answer = lake.sql(&format!("COPY INTO clicks FROM '{}'", pattern.display())).await;
    assert_eq!(answer.len(), 2, "{answer:?}");
    assert!(
        answer[0].contains("p-1.ndjson loaded 1 0 0 ") && answer[1].contains("p-2.ndjson loaded 1 1 1 "),
        "{answer:?}"
    );
    let commits = lake.sql("SELECT operation FROM system.commits WHERE operation = 'LOAD'").await;
    assert_eq!(commits.len(), 2, "{commits:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_and_requests_with_the_same_events_meet() {
    let lake = Process::with_clicks().await;
    let body = |range: std::ops::Range<u64>| range.map(|id| click(id, "2017-11-07T11:00:00Z")).collect::<String>();
    let file = lake.file("many.ndjson", body(0..60_000));
    let requests = async {
        let mut accepted = 0;
        for from in (0..60_000).step_by(3_000) {
            accepted += lake.append("clicks", &body(from..from + 10)).await.accepted;
        }
        accepted
    };
    let (report, accepted) = tokio::join!(lake.load("clicks", &file, &[]), requests);
    let report = report.unwrap();
    assert_eq!(lake.sql("SELECT count(*), count(DISTINCT event_id) FROM clicks").await, ["60000 60000"]);
    assert_eq!(report.rows + accepted, 60_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_load_leaves_nothing_and_can_be_done_again() {
    struct CancelAt(CancellationToken, std::sync::atomic::AtomicU64);
    impl LoadProgress for CancelAt {
        fn total_bytes(&self, _bytes: u64) {}
        fn advance(&self, _bytes: u64, rows: u64) {
            if self.1.fetch_add(rows, std::sync::atomic::Ordering::SeqCst) > 20_000 {
                self.0.cancel();
            }
        }
        fn phase(&self, _name: &str) {}
    }
    let lake = Process::with_clicks().await;
    let body: String = (0..100_000).map(|id| click(id, "2017-11-07T11:00:00Z")).collect();
    let file = lake.file("many.ndjson", body);
    let cancel = CancellationToken::new();
    let request = LoadRequest::from_options("clicks".into(), vec![file.display().to_string()], &[]).unwrap();
    let progress = Arc::new(CancelAt(cancel.clone(), Default::default()));
    let result = lake.app.ingestor.load(request, progress, lake.app.engine.task_context(), cancel).await;
    assert!(matches!(result, Err(IngestError::Cancelled)), "{result:?}");
    assert_eq!((lake.count("clicks").await, lake.parquet_files()), (0, 0));
    assert_eq!(lake.load("clicks", &file, &[]).await.unwrap().rows, 100_000);
}

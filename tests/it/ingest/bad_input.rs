//! What can be wrong with files and bodies: a clear error, nothing lost, nothing half loaded, the next one works.

use arrow::array::{ArrayRef, StringArray};

use super::files::parquet;
use super::*;

const HEADER: &str = "event_id,event_time\n";

/// Loads a file that must be refused; the table stays empty and usable.
async fn refused(name: &str, content: impl AsRef<[u8]>, options: &[(&str, &str)], wanted: &[&str]) {
    let lake = Process::with_clicks().await;
    let file = lake.file(name, content);
    let error = lake.load("clicks", &file, options).await.unwrap_err();
    assert!(error.contains(name), "{error}");
    for wanted in wanted {
        assert!(error.contains(wanted), "{error}\nwanted {wanted}");
    }
    assert_eq!((lake.count("clicks").await, lake.parquet_files()), (0, 0), "{name} left something");
    let good = lake.file("good.csv", format!("{HEADER}1,2017-11-07\n"));
    assert_eq!(lake.load("clicks", &good, &[]).await.unwrap().rows, 1);
}

fn clicks_parquet() -> Vec<u8> {
    let ids: ArrayRef = Arc::new((0..5_000).map(|id| Some(id.to_string())).collect::<StringArray>());
    let times: ArrayRef = Arc::new(StringArray::from(vec!["2017-11-07"; 5_000]));
    parquet(vec![("event_id", ids), ("event_time", times)])
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_files() {
    let whole = clicks_parquet();
    refused("cut.parquet", &whole[..whole.len() / 2], &[], &["not a whole Parquet file"]).await;
    refused("text.parquet", "hello", &[], &["not a whole Parquet file"]).await;
    let mut flipped = whole.clone();
    flipped[200..2_000].fill(0xAA);
    refused("flipped.parquet", flipped, &[], &["Parquet"]).await;
    refused("plain.csv.gz", format!("{HEADER}1,2017-11-07\n"), &[], &["named .gz", "not gzip"]).await;
    let mut zipped = Vec::new();
    let mut encoder = flate2::GzBuilder::new().write(&mut zipped, flate2::Compression::fast());
    let rows: String = (0..50_000).map(|id| format!("{id},2017-11-07\n")).collect();
    std::io::Write::write_all(&mut encoder, (HEADER.to_owned() + &rows).as_bytes()).unwrap();
    encoder.finish().unwrap();
    refused("cut.csv.gz", &zipped[..zipped.len() - 100], &[], &["truncated"]).await;
    refused("empty.csv", "", &[], &["empty"]).await;
    refused("empty.parquet", "", &[], &["empty"]).await;
    refused("empty.ndjson", "", &[], &["empty"]).await;
    refused("what.dat", "x", &[], &["format"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_do_not_fit_the_table() {
    let rows = "event_id,event_time,ad_ids\n1,2017-11-07,x\n";
    refused("extra.csv", rows, &[], &["'ad_ids'; did you mean 'ad_id'?", "--map ad_ids="]).await;
    refused("short.csv", "event_id\n1\n", &[], &["NOT NULL column 'event_time'"]).await;
    refused("map.csv", rows, &[("map", "ad_idz=ad_id")], &["'ad_idz'", "did you mean 'ad_ids'?"]).await;
    let lists: ArrayRef = Arc::new(arrow::array::BooleanArray::from(vec![true]));
    let times: ArrayRef = Arc::new(StringArray::from(vec!["2017-11-07"]));
    let ids = times.clone();
    let content = parquet(vec![("event_id", ids), ("event_time", lists)]);
    refused("types.parquet", content, &[], &["'event_time' has type Boolean"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_bad_rows_refuse_the_file() {
    let bad: String = (0..30).map(|id| format!("{id},not a time\n")).collect();
    let content = format!("{HEADER}ok,2017-11-07\n{bad}");
    let wanted = ["more than 20 bad rows", "first: line 3, field 'event_time': 'not a time' is not a time"];
    refused("bad.csv", &content, &[("max_rejects", "20")], &wanted).await;
    let lake = Process::with_clicks().await;
    let file = lake.file("bad.csv", &content);
    assert_eq!(
        counts(&lake.load("clicks", &file, &[("max_rejects", "30")]).await.unwrap()),
        (FileStatus::Loaded, 1, 0, 30)
    );
    assert_eq!(lake.count("system.rejects").await, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_100_mb_is_rejected_alone() {
    let lake = Process::with_clicks().await;
    let mut body = click(1, "2017-11-07T11:00:00Z").into_bytes();
    body.resize(body.len() + 100_000_000, b'x');
    body.extend_from_slice(format!("\n{}", click(2, "2017-11-07T11:00:00Z")).as_bytes());
    let file = lake.file("long.ndjson", &body);
    assert_eq!(counts(&lake.load("clicks", &file, &[]).await.unwrap()), (FileStatus::Loaded, 2, 0, 1));
    let kept = lake.sql("SELECT line, reason, length(row) FROM system.rejects").await;
    assert_eq!(kept, ["2 is 100000000 bytes long, more than the 1 MiB a row may have (ingest.max_row_size) 4096"]);
    let report = lake.request("clicks", Payload::Ndjson(body.into())).await.unwrap();
    assert_eq!((report.duplicates, report.rejected.len()), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_utf8_is_rejected_alone() {
    let lake = Process::with_clicks().await;
    let mut content = HEADER.as_bytes().to_vec();
    content.extend_from_slice(b"a\xff,2017-11-07\nb,2017-11-07\n");
    let file = lake.file("a.csv", content);
    assert_eq!(counts(&lake.load("clicks", &file, &[]).await.unwrap()), (FileStatus::Loaded, 1, 0, 1));
    assert_eq!(lake.sql("SELECT line, field, reason FROM system.rejects").await, ["2 event_id is not valid UTF-8"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_things_are_named() {
    let lake = Process::with_clicks().await;
    let error = lake.load("clicks", Path::new("/nowhere/a.csv"), &[]).await.unwrap_err();
    assert!(error.contains("/nowhere/a.csv"), "{error}");
    let error = lake.load("clicks", Path::new("/nowhere/*.csv"), &[]).await.unwrap_err();
    assert!(error.contains("/nowhere/*.csv"), "{error}");
    let error = lake.try_append("click", "{}").await.unwrap_err().to_string();
    assert!(error.contains("did you mean 'clicks'?"), "{error}");
    lake.sql("CREATE VIEW v AS SELECT * FROM clicks").await;
    let error = lake.try_append("v", "{}").await.unwrap_err().to_string();
    assert_eq!(error, "'v' is a view: rows go into tables");
}

/// A disk without room answers writes with an error; here a file stands where the rows' folder would be.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_cannot_be_written_are_not_acknowledged() {
    let lake = Process::with_clicks().await;
    let table = crate::place::files(lake.folder.path()).join("tables/clicks");
    let before: Vec<_> = std::fs::read_dir(&table).unwrap().map(|entry| entry.unwrap().path()).collect();
    lake.append("clicks", &click(1, "2017-11-07T11:00:00Z")).await;
    let partition =
        std::fs::read_dir(&table).unwrap().map(|entry| entry.unwrap().path()).find(|path| !before.contains(path));
    // The folder of another day is taken by a file.
    let name = partition.unwrap().file_name().unwrap().to_string_lossy().replace("07", "06");
    let blocker = table.join(name);
    std::fs::write(&blocker, "in the way").unwrap();
    let body = click(2, "2017-11-06T11:00:00Z");
    let error = lake.try_append("clicks", &body).await.unwrap_err().to_string();
    assert!(error.contains("clicks"), "{error}");
    assert_eq!(lake.count("clicks").await, 1);
    std::fs::remove_file(&blocker).unwrap();
    assert_eq!(lake.append("clicks", &body).await.accepted, 1, "a failed request leaves no trace in the key index");
}

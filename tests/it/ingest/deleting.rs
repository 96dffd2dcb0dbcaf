//! DELETE FROM beside ingest: the rows that were asked for go, nothing else, and their events can come again.

use tokio_util::sync::CancellationToken;

use adlake::query::{Outcome, Request};

use super::*;

const FIRST: &str = "2017-11-06T10:00:00Z";
const SECOND: &str = "2017-11-07T10:00:00Z";

fn clicks(ids: std::ops::Range<u32>, time: &str) -> String {
    ids.map(|id| click(id, time)).collect()
}

async fn counted(process: &Process, sql: &str) -> u64 {
    let answer = process.app.engine.execute(Request::new(sql, &process.session)).await.unwrap();
    match answer.outcome {
        Outcome::Done { rows, .. } => rows.unwrap(),
        Outcome::Rows(_) => panic!("{sql} gave rows"),
    }
}

/// The bad hour is deleted and loaded again.
#[tokio::test(flavor = "multi_thread")]
async fn events_of_deleted_rows_come_again_and_the_others_do_not() {
    let lake = Process::with_clicks().await;
    lake.append("clicks", &clicks(0..10, FIRST)).await;
    lake.append("clicks", &clicks(10..20, SECOND)).await;
    let deleted =
        counted(&lake, "DELETE FROM clicks WHERE event_time < '2017-11-07' AND CAST(event_id AS INT) >= 4").await;
    assert_eq!((deleted, lake.count("clicks").await), (6, 14));
    let again = lake.append("clicks", &(clicks(0..10, FIRST) + &clicks(10..21, SECOND))).await;
    assert_eq!((again.accepted, again.duplicates), (7, 14), "six that were deleted and a new one");
    assert_eq!(lake.sql("SELECT count(*), count(DISTINCT event_id) FROM clicks").await, ["21 21"]);
    let commits = "SELECT operation FROM system.commits WHERE table_name = 'clicks' ORDER BY version";
    assert_eq!(lake.sql(commits).await, ["CREATE TABLE", "APPEND", "APPEND", "DELETE", "APPEND"]);
    let info = lake.sql("SELECT info FROM system.commits WHERE operation = 'DELETE'").await;
    assert!(info[0].contains("\"rows\":6") && info[0].contains("\"files_rewritten\":1"), "{info:?}");
    assert!(!info[0].contains("event"), "what was asked for is nobody's business: {info:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_after_a_restart_and_in_another_process() {
    let lake = Process::with_clicks().await;
    lake.append("clicks", &clicks(0..6, FIRST)).await;
    // Knows all keys before the delete, and hears of it from the log alone.
    let other = lake.another().await;
    other.append("clicks", &clicks(6..7, FIRST)).await;
    assert_eq!(counted(&lake, "DELETE FROM clicks WHERE CAST(event_id AS INT) < 3").await, 3);
    let again = other.append("clicks", &clicks(0..2, FIRST)).await;
    assert_eq!((again.accepted, again.duplicates), (2, 0), "nothing but repeats of what was deleted");
    let again = other.append("clicks", &clicks(0..5, FIRST)).await;
    assert_eq!((again.accepted, again.duplicates), (1, 4), "one of them was still to come");
    let restarted = lake.another().await;
    assert_eq!(counted(&other, "DELETE FROM clicks WHERE event_id = '1'").await, 1);
    let again = restarted.append("clicks", &clicks(0..7, FIRST)).await;
    assert_eq!((again.accepted, again.duplicates), (1, 6));
    let again = lake.append("clicks", &clicks(0..7, FIRST)).await;
    assert_eq!((again.accepted, again.duplicates), (0, 7), "the first process has heard of both as well");
    assert_eq!(lake.sql("SELECT count(*), count(DISTINCT event_id) FROM clicks").await, ["7 7"]);
}

/// A process that was told "duplicate" by old news, and commits nothing, would never find out.
#[tokio::test(flavor = "multi_thread")]
async fn old_news_make_no_duplicates() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let slow = [("storage.poll_interval", "1 hour")];
    let lake = Process::over(folder.clone(), &slow).await;
    lake.sql(CLICKS).await;
    lake.append("clicks", &clicks(0..4, FIRST)).await;
    let others = [Process::over(folder.clone(), &slow).await, Process::over(folder.clone(), &slow).await];
    for other in &others {
        assert_eq!(other.append("clicks", &clicks(0..4, FIRST)).await.duplicates, 4);
    }
    assert_eq!(counted(&lake, "DELETE FROM clicks WHERE event_id IN ('1', '2')").await, 2);
    assert_eq!(others[0].append("clicks", &clicks(1..2, FIRST)).await.accepted, 1);
    let insert = "INSERT INTO clicks VALUES ('2', TIMESTAMPTZ '2017-11-06T10:00:00Z', 'a', 5)";
    assert_eq!(counted(&others[1], insert).await, 1);
    let fresh = lake.another().await;
    assert_eq!(fresh.sql("SELECT count(*), count(DISTINCT event_id) FROM clicks").await, ["4 4"]);
}

/// Keys in memory, and keys that are looked up in the lake.
#[tokio::test(flavor = "multi_thread")]
async fn whether_the_keys_were_in_memory_or_not() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let little = [("ingest.key_index_size", "256 KiB")];
    let lake = Process::over(folder.clone(), &little).await;
    lake.sql(CLICKS).await;
    let of = |ids: std::ops::Range<u32>| -> String {
        ids.map(|id| click(id, &format!("2017-11-{:02}T11:00:00Z", id % 7 + 1))).collect()
    };
    for n in 0..16 {
        lake.append("clicks", &of(n * 1000..(n + 1) * 1000)).await;
    }
    let other = Process::over(folder.clone(), &little).await;
    other.append("clicks", &of(0..1)).await;
    let all =
        "SELECT keys_resident_from IS NULL FROM system.ingest WHERE table_name = 'clicks' AND source = 'requests'";
    assert_eq!(lake.sql(all).await, ["false"], "the test is about tables whose keys do not all fit");
    assert_eq!(counted(&lake, "DELETE FROM clicks WHERE CAST(event_id AS INT) % 10 = 3").await, 1600);
    for n in 0..16 {
        let process = if n % 2 == 0 { &lake } else { &other };
        let again = process.append("clicks", &of(n * 1000..(n + 1) * 1000)).await;
        assert_eq!((again.accepted, again.duplicates), (100, 900), "request {n}");
    }
    let fresh = lake.another().await;
    assert_eq!(fresh.sql("SELECT count(*), count(DISTINCT event_id) FROM clicks").await, ["16000 16000"]);
}

/// What a file or a producer's step has been answered stays.
#[tokio::test(flavor = "multi_thread")]
async fn loaded_files_and_answered_steps_stay_answered() {
    let lake = Process::with_clicks().await;
    let file = lake.file("clicks.ndjson", clicks(0..4, FIRST));
    assert_eq!(counts(&lake.load("clicks", &file, &[]).await.unwrap()), (FileStatus::Loaded, 4, 0, 0));
    lake.produce("p", 1, &clicks(4..6, FIRST)).await.unwrap();
    assert_eq!(counted(&lake, "DELETE FROM clicks WHERE TRUE").await, 6);
    assert_eq!(counts(&lake.load("clicks", &file, &[]).await.unwrap()), (FileStatus::AlreadyLoaded, 0, 0, 0));
    let repeated = lake.produce("p", 1, &clicks(4..6, FIRST)).await.unwrap();
    assert!(repeated.replayed && repeated.accepted == 2, "{repeated:?}");
    assert_eq!(lake.count("clicks").await, 0, "repeats bring nothing back");
    let file = lake.file("mended.ndjson", clicks(0..4, FIRST) + "\n");
    assert_eq!(counts(&lake.load("clicks", &file, &[]).await.unwrap()), (FileStatus::Loaded, 4, 0, 0));
    assert_eq!(lake.produce("p", 2, &clicks(4..6, FIRST)).await.unwrap().accepted, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_beside_a_delete_are_not_lost() {
    let lake = Process::with_clicks().await;
    lake.append("clicks", &clicks(0..500, FIRST)).await;
    let other = lake.another().await;
    let writing = async {
        for n in 0..30 {
            let process = if n % 2 == 0 { &lake } else { &other };
            let report = process.append("clicks", &clicks(1_000 + n * 10..1_010 + n * 10, FIRST)).await;
            assert_eq!((report.accepted, report.duplicates), (10, 0));
        }
    };
    let deleting = async {
        for n in 0..6 {
            let (from, to) = (n * 50, n * 50 + 50);
            let sql =
                format!("DELETE FROM clicks WHERE CAST(event_id AS INT) >= {from} AND CAST(event_id AS INT) < {to}");
            assert_eq!(counted(if n % 2 == 0 { &other } else { &lake }, &sql).await, 50);
        }
    };
    let tidying = async {
        for _ in 0..4 {
            lake.sql("OPTIMIZE TABLE clicks").await;
        }
    };
    tokio::join!(writing, deleting, tidying);
    let fresh = lake.another().await;
    let found = fresh.sql("SELECT count(*), count(DISTINCT event_id), min(CAST(event_id AS INT)) FROM clicks").await;
    assert_eq!(found, ["500 500 300"]);
}

/// Subqueries are answered once, by the same versions.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_chosen_by_other_tables() {
    let lake = Process::with_clicks().await;
    lake.append("clicks", &clicks(0..10, FIRST)).await;
    lake.sql("CREATE TABLE forget (id VARCHAR, since TIMESTAMP WITH TIME ZONE)").await;
    assert_eq!(counted(&lake, "DELETE FROM clicks WHERE event_id IN (SELECT id FROM forget)").await, 0);
    lake.sql("INSERT INTO forget VALUES ('3', NULL), ('5', NULL), ('77', NULL)").await;
    assert_eq!(counted(&lake, "DELETE FROM clicks WHERE event_id IN (SELECT id FROM forget)").await, 2);
    lake.sql("INSERT INTO forget VALUES (NULL, NULL)").await;
    assert_eq!(
        counted(&lake, "DELETE FROM clicks WHERE event_id NOT IN (SELECT id FROM forget)").await,
        0,
        "NULL is not known"
    );
    let average = "DELETE FROM clicks WHERE CAST(event_id AS INT) > (SELECT avg(CAST(event_id AS INT)) FROM clicks)";
    assert_eq!(counted(&lake, average).await, 4);
    assert_eq!(lake.sql("SELECT event_id FROM clicks ORDER BY 1").await, ["0", "1", "2", "4"]);
    assert_eq!(counted(&lake, "DELETE FROM clicks WHERE NOT EXISTS (SELECT 1 FROM forget)").await, 0);
    let correlated = "DELETE FROM clicks WHERE EXISTS (SELECT 1 FROM forget WHERE id = event_id)";
    assert!(lake.try_sql(correlated).await.unwrap_err().contains("cannot depend on the row"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_snapshot_table_go_from_its_state() {
    let lake = Process::start().await;
    lake.sql("CREATE TABLE products (id BIGINT NOT NULL, name VARCHAR) WITH (kind='snapshot', key='id')").await;
    lake.append("products", "{\"id\":1,\"name\":\"a\"}\n{\"id\":2,\"name\":\"b\"}\n{\"id\":3,\"name\":\"c\"}\n").await;
    assert_eq!(counted(&lake, "DELETE FROM products WHERE id = 2").await, 1);
    lake.append("products", "{\"id\":2,\"name\":\"new\"}\n{\"id\":3,\"name\":\"changed\"}\n").await;
    assert_eq!(lake.sql("SELECT id, name FROM products ORDER BY id").await, ["1 a", "2 new", "3 changed"]);
}

/// Dropped anywhere, the table is as before or as after; what it wrote in vain is nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_delete_changes_nothing() {
    let lake = Process::with_clicks().await;
    lake.append("clicks", &clicks(0..20, FIRST)).await;
    let cancel = CancellationToken::new();
    cancel.cancel();
    let request = Request { cancel, ..Request::new("DELETE FROM clicks WHERE event_id = '3'", &lake.session) };
    let error = lake.app.engine.execute(request).await.err().unwrap().to_string();
    assert!(error.contains("cancelled"), "{error}");
    assert_eq!((lake.count("clicks").await, lake.parquet_files()), (20, 1));
    assert_eq!(counted(&lake, "DELETE FROM clicks WHERE event_id = '3'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_server_deletes_nothing() {
    let lake = Process::with_clicks().await;
    lake.append("clicks", &clicks(0..2, FIRST)).await;
    let replica = Process::over(lake.folder.clone(), &[("server.read_only", "true")]).await;
    let error = replica.try_sql("DELETE FROM clicks WHERE TRUE").await.unwrap_err();
    assert!(error.contains("read-only"), "{error}");
    assert_eq!(lake.count("clicks").await, 2);
}

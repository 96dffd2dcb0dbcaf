//! Commits: order, conflicts, idempotence, what a crash leaves behind.

use super::*;
use crate::base::Classify;

#[tokio::test]
async fn what_is_committed_is_read_at_once_and_after_reopening() {
    let Fixture { lake, folder } = fixture().await;
    let table = lake.create_table(&clicks()).await.unwrap();
    assert_eq!(table.current().version(), TableVersion(0));
    let files = staged(&table, rows(0, 30)).await;
    assert_eq!(query(&lake, &table, "SELECT count(*) FROM t").await, ["0"], "staged rows must be invisible");
    let outcome = table.commit(request(files)).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed(TableVersion(1)));
    assert_eq!((table.current().version(), table.current().row_count()), (TableVersion(1), 30));
    assert_eq!(table.current().spec(), &clicks().storable().unwrap());

    let again = open_lake(&folder, &config()).await;
    let reopened = again.open_table("clicks").await.unwrap();
    assert_eq!(query(&again, &reopened, "SELECT sum(price) FROM t").await, ["435"]);
    assert_eq!(by_delta_rs(&reopened).await.0, 1);
    assert_eq!(by_delta_rs(&reopened).await.1.len(), 2);
}

#[tokio::test]
async fn a_transaction_is_committed_once() {
    let Fixture { lake, folder } = fixture().await;
    let table = lake.create_table(&clicks()).await.unwrap();
    let first = as_transaction(request(staged(&table, rows(0, 5)).await), "load", 3);
    assert_eq!(table.commit(first).await.unwrap(), CommitOutcome::Committed(TableVersion(1)));
    for version in [2, 3] {
        let repeated = as_transaction(request(staged(&table, rows(0, 5)).await), "load", version);
        assert_eq!(table.commit(repeated).await.unwrap(), CommitOutcome::AlreadyCommitted(TableVersion(1)));
    }
    assert_eq!(data_files(&folder), 1, "files of refused repetitions must be deleted");
    let next = as_transaction(request(staged(&table, rows(5, 7)).await), "load", 4);
    assert_eq!(table.commit(next).await.unwrap(), CommitOutcome::Committed(TableVersion(2)));
    assert_eq!(table.current().transaction_version("load"), Some(4));
    assert_eq!(query(&lake, &table, "SELECT count(*) FROM t").await, ["7"]);
}

#[tokio::test]
async fn replace_swaps_all_rows_in_one_version() {
    let Fixture { lake, .. } = fixture().await;
    let table = lake.create_table(&clicks()).await.unwrap();
    table.commit(request(staged(&table, rows(0, 50)).await)).await.unwrap();
    let before = table.current();
    let replace = CommitRequest { mode: CommitMode::Replace, ..request(staged(&table, rows(100, 103)).await) };
    assert_eq!(table.commit(replace).await.unwrap(), CommitOutcome::Committed(TableVersion(2)));
    assert_eq!(query(&lake, &table, "SELECT min(price), count(*) FROM t").await, ["100 3"]);
    assert_eq!((before.row_count(), before.version()), (50, TableVersion(1)), "readers keep what they opened");
    assert_eq!(by_delta_rs(&table).await.1.len(), 1);
    let empty = CommitRequest { mode: CommitMode::Replace, ..request(Vec::new()) };
    table.commit(empty).await.unwrap();
    assert_eq!(table.current().file_count(), 0);
}

#[tokio::test]
async fn expected_version_guards_what_was_read() {
    let Fixture { lake, .. } = fixture().await;
    let table = lake.create_table(&clicks()).await.unwrap();
    table.commit(request(staged(&table, rows(0, 5)).await)).await.unwrap();
    let late = CommitRequest { expected: Some(TableVersion(0)), ..request(staged(&table, rows(5, 6)).await) };
    let error = table.commit(late.clone()).await.unwrap_err();
    assert!(matches!(error, StorageError::VersionMoved { current: TableVersion(1), .. }), "{error}");
    let now = CommitRequest { expected: Some(TableVersion(1)), ..late };
    assert_eq!(table.commit(now).await.unwrap(), CommitOutcome::Committed(TableVersion(2)));
}

#[tokio::test]
async fn two_processes_append_without_losing_anything() {
    let Fixture { lake, folder } = fixture().await;
    let here = lake.create_table(&clicks()).await.unwrap();
    let other_lake = open_lake(&folder, &config()).await;
    let there = other_lake.open_table("clicks").await.unwrap();
    let write = |table: Arc<Table>, from: i64| async move {
        for n in from..from + 20 {
            let files = staged(&table, rows(n, n + 1)).await;
            table.commit(as_transaction(request(files), "app", n)).await.map(drop).unwrap();
        }
    };
    // One transaction id for both: whoever is first at a number commits it.
    tokio::join!(write(here.clone(), 0), write(there.clone(), 0));
    let sql = "SELECT count(*), count(DISTINCT price) FROM t";
    assert_eq!(query(&lake, &here, sql).await, ["20 20"]);
    assert_eq!(here.refresh().await.unwrap().version(), TableVersion(20));
    assert_eq!(there.refresh().await.unwrap().version(), TableVersion(20));
}

#[tokio::test]
async fn files_of_a_killed_writer_are_no_rows() {
    let Fixture { lake, folder } = fixture().await;
    let table = lake.create_table(&clicks()).await.unwrap();
    drop(staged(&table, rows(0, 5)).await);
    let again = open_lake(&folder, &config()).await;
    let table = again.open_table("clicks").await.unwrap();
    let repeated = as_transaction(request(staged(&table, rows(0, 5)).await), "load", 1);
    table.commit(repeated).await.unwrap();
    assert_eq!(query(&again, &table, "SELECT count(*) FROM t").await, ["5"]);
    assert_eq!(data_files(&folder), 2, "the leftover is there, unread");
}

#[tokio::test]
async fn discarded_files_are_gone() {
    let Fixture { lake, folder } = fixture().await;
    let table = lake.create_table(&clicks()).await.unwrap();
    let files = staged(&table, rows(0, 30)).await;
    assert_eq!(data_files(&folder), 2);
    table.discard(files).await;
    assert_eq!(data_files(&folder), 0);
}

#[tokio::test]
async fn added_columns_are_null_in_old_rows() {
    let Fixture { lake, folder } = fixture().await;
    let table = lake.create_table(&clicks()).await.unwrap();
    table.commit(request(staged(&table, rows(0, 2)).await)).await.unwrap();
    let version = table.add_column(Arc::new(Field::new("country", DataType::Utf8View, true))).await.unwrap();
    assert_eq!(version, TableVersion(2));
    let batch = rows(2, 4);
    let country: ArrayRef = Arc::new(StringArray::from(vec!["KR", "DE"]));
    let columns = batch.columns().iter().cloned().chain([country]).collect();
    let batch = RecordBatch::try_new(table.current().columns(), columns).unwrap();
    table.commit(request(staged(&table, batch).await)).await.unwrap();
    let sql = "SELECT price, country FROM t ORDER BY price";
    assert_eq!(query(&lake, &table, sql).await, ["0 ", "1 ", "2 KR", "3 DE"].map(str::trim));
    let reopened = open_lake(&folder, &config()).await.open_table("clicks").await.unwrap();
    assert_eq!(reopened.current().spec(), table.current().spec());
    assert_eq!(by_delta_rs(&reopened).await.0, 3);

    let add = |name: &str, nullable| table.add_column(Arc::new(Field::new(name, DataType::Int64, nullable)));
    assert!(add("Country", true).await.unwrap_err().to_string().contains("has a column of that name"));
    assert!(add("event_time_day", true).await.unwrap_err().to_string().contains("has a column of that name"));
    assert!(add("n", false).await.unwrap_err().to_string().contains("NOT NULL"));
}

#[tokio::test]
async fn a_zoneless_timestamp_can_be_added_later() {
    let Fixture { lake, .. } = fixture().await;
    let table = lake.create_table(&clicks()).await.unwrap();
    let ntz = DataType::Timestamp(TimeUnit::Nanosecond, None);
    for name in ["at", "at2"] {
        table.add_column(Arc::new(Field::new(name, ntz.clone(), true))).await.unwrap();
    }
    assert_eq!(by_delta_rs(&table).await.0, 2);
    let stored = table.current().spec().column("at2").unwrap().data_type().clone();
    assert_eq!(stored, DataType::Timestamp(TimeUnit::Microsecond, None));
}

#[tokio::test]
async fn history_tells_who_did_what() {
    let Fixture { lake, .. } = fixture().await;
    let table = lake.create_table(&clicks()).await.unwrap();
    let info = BTreeMap::from([("file".to_owned(), serde_json::json!("a.csv"))]);
    let load = CommitRequest { operation: "LOAD", info, ..request(staged(&table, rows(0, 2)).await) };
    table.commit(load).await.unwrap();
    let history = table.history(10).await.unwrap();
    let told: Vec<_> = history.iter().map(|record| (record.version.0, record.operation.as_str())).collect();
    assert_eq!(told, [(1, "LOAD"), (0, "CREATE TABLE")]);
    assert_eq!(history[0].info, serde_json::json!({"file": "a.csv"}));
    assert_eq!(history[0].committed_at, Timestamp(1_700_000_000_000_000));
    assert_eq!(table.history(1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn tables_are_made_once_and_names_of_dropped_ones_are_free_again() {
    let Fixture { lake, folder } = fixture().await;
    lake.create_table(&clicks()).await.unwrap();
    let error = lake.create_table(&clicks()).await.unwrap_err();
    assert!(matches!(error, StorageError::TableExists { .. }), "{error}");
    let error = lake.open_table("klicks").await.unwrap_err();
    assert_eq!(error.kind(), crate::base::Kind::NotFound, "{error}");
    assert_eq!(lake.free_table_path("clicks").await.unwrap(), "clicks.2");
    lake.delete_table("clicks").await.unwrap();
    assert!(!folder.path().join("tables/clicks").exists());
    assert_eq!(lake.free_table_path("clicks").await.unwrap(), "clicks");
    assert_eq!(lake.free_table_path("Größe/x").await.unwrap(), "Gr__e_x");
    assert!(lake.open_table("clicks").await.is_err());
}

#[tokio::test]
async fn a_dropped_table_takes_nothing_more_and_its_successor_none_of_it() {
    let Fixture { lake, folder } = fixture().await;
    let old = lake.create_table(&clicks()).await.unwrap();
    old.commit(request(staged(&old, rows(0, 5)).await)).await.unwrap();
    let written = staged(&old, rows(5, 10)).await;
    lake.delete_table("clicks").await.unwrap();
    let new = lake.create_table(&clicks()).await.unwrap();
    let error = old.commit(request(written)).await.unwrap_err();
    assert!(matches!(error, StorageError::TableNotFound { .. }), "{error}");
    let late = staged(&old, rows(10, 15)).await;
    assert!(old.commit(request(late.clone())).await.is_err());
    old.discard(late).await;
    assert_eq!(data_files(&folder), 0);
    new.commit(request(staged(&new, rows(0, 3)).await)).await.unwrap();
    let again = open_lake(&folder, &config()).await;
    let reopened = again.open_table("clicks").await.unwrap();
    assert_eq!(query(&again, &reopened, "SELECT count(*) FROM t").await, ["3"]);
}

#[tokio::test]
async fn checkpoints_keep_everything() {
    let Fixture { lake, folder } = fixture().await;
    let table = lake.create_table(&clicks()).await.unwrap();
    for n in 0..101 {
        let files = if n % 25 == 0 { staged(&table, rows(n, n + 1)).await } else { Vec::new() };
        table.commit(as_transaction(request(files), "app", n)).await.unwrap();
    }
    lake.close(std::time::Duration::from_secs(60)).await;
    let log = folder.path().join("tables/clicks/_delta_log");
    assert!(log.join("_last_checkpoint").exists(), "no checkpoint after 100 commits");
    for version in 0..50 {
        std::fs::remove_file(log.join(format!("{version:020}.json"))).unwrap();
    }
    let again = open_lake(&folder, &config()).await;
    let reopened = again.open_table("clicks").await.unwrap();
    assert_eq!(reopened.current().spec(), table.current().spec());
    assert_eq!(reopened.current().transaction_version("app"), Some(100));
    assert_eq!(query(&again, &reopened, "SELECT sum(price), count(*) FROM t").await, ["250 5"]);
    assert_eq!(reopened.history(1000).await.unwrap().len(), 52);
}

#[tokio::test]
async fn a_commit_under_an_older_lease_is_refused_even_when_it_races() {
    let Fixture { lake, folder } = fixture().await;
    let fenced = |request: CommitRequest, number| CommitRequest { fence: Some(Fence::of_lease(number)), ..request };
    let old = lake.create_table(&clicks()).await.unwrap();
    let first = old.commit(fenced(request(staged(&old, rows(0, 5)).await), 1)).await.unwrap();
    assert_eq!(first, CommitOutcome::Committed(TableVersion(1)));
    let stale = staged(&old, rows(5, 10)).await;

    // Another process takes over. The old holder has not looked at the log since: its commit loses the version it aims at.
    let other = open_lake(&folder, &config()).await;
    let new = other.open_table("clicks").await.unwrap();
    new.commit(fenced(request(staged(&new, rows(10, 12)).await), 2)).await.unwrap();
    assert_eq!(old.current().version(), TableVersion(1), "the old holder does not know yet");
    let error = old.commit(fenced(request(stale), 1)).await.unwrap_err();
    assert!(matches!(error, StorageError::Fenced { .. }), "{error}");
    assert_eq!(error.kind(), crate::base::Kind::Unavailable);
    assert_eq!(new.refresh().await.unwrap().row_count(), 7);

    // Who holds nothing (a view's refresh) is not concerned; the same holder goes on; the number is stored once.
    old.commit(request(staged(&old, rows(20, 21)).await)).await.unwrap();
    new.commit(fenced(request(staged(&new, rows(30, 31)).await), 2)).await.unwrap();
    assert_eq!(new.current().transaction_version("adlake.fence"), Some(2));
    assert_eq!(new.current().row_count(), 9);
}

#[tokio::test]
async fn of_two_holders_racing_the_later_always_ends_it() {
    for _ in 0..20 {
        let Fixture { lake, folder } = fixture().await;
        let old = lake.create_table(&clicks()).await.unwrap();
        let other = open_lake(&folder, &config()).await;
        let new = other.open_table("clicks").await.unwrap();
        let fenced = |files, number| CommitRequest { fence: Some(Fence::of_lease(number)), ..request(files) };
        let (stale, fresh) = (staged(&old, rows(0, 1)).await, staged(&new, rows(1, 2)).await);
        let (late, won) = tokio::join!(old.commit(fenced(stale, 1)), new.commit(fenced(fresh, 2)));
        let CommitOutcome::Committed(at) = won.unwrap() else { panic!("not committed") };
        match late {
            Ok(CommitOutcome::Committed(before)) => assert!(before < at, "{before} is not before {at}"),
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert!(matches!(error, StorageError::Fenced { .. }), "{error}"),
        }
        let again = old.commit(fenced(staged(&old, rows(2, 3)).await, 1)).await.unwrap_err();
        assert!(matches!(again, StorageError::Fenced { .. }), "{again}");
    }
}

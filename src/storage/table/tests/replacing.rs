//! Some files in the place of others, beside everything else that happens to a table.

use std::collections::BTreeSet;

use super::maintaining::{Lab, append, lab};
use super::*;
use crate::base::{Classify, Kind};
use crate::storage::TableSnapshot;

fn names(snapshot: &TableSnapshot) -> BTreeSet<String> {
    snapshot.file_summaries().into_iter().map(|file| file.name).collect()
}

async fn replacing(table: &Table, names: BTreeSet<String>, batch: RecordBatch) -> CommitRequest {
    CommitRequest { mode: CommitMode::ReplaceFiles(names), operation: "FOLD", ..request(staged(table, batch).await) }
}

async fn numbers(lab: &Lab, table: &Table) -> Vec<i64> {
    lab.numbers(table.refresh().await.unwrap().provider()).await
}

/// Two days of two files each.
async fn four_files(lab: &Lab) -> Arc<Table> {
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    for n in [0, 1, 24, 25] {
        append(&table, n, n + 1).await;
    }
    table
}

#[tokio::test]
async fn files_are_told_and_read_by_name() {
    let lab = lab().await;
    let table = four_files(&lab).await;
    let snapshot = table.current();
    let files = snapshot.file_summaries();
    assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), 4);
    assert_eq!(files.iter().map(|file| file.bytes).sum::<u64>(), snapshot.bytes());
    let partitions: BTreeSet<&str> = files.iter().map(|file| file.partition.as_ref()).collect();
    assert_eq!(partitions.len(), 2);
    let of = |partition: &str| {
        let files = files.iter().filter(|file| file.partition.as_ref() == partition);
        files.map(|file| file.name.clone()).collect::<BTreeSet<String>>()
    };
    let mut found = Vec::new();
    for partition in partitions {
        found.push(lab.numbers(snapshot.provider_of(&of(partition))).await);
    }
    found.sort();
    assert_eq!(found, [vec![0, 1], vec![24, 25]]);
    assert_eq!(lab.numbers(snapshot.provider_of(&names(&snapshot))).await, [0, 1, 24, 25]);
    let none = [BTreeSet::new(), BTreeSet::from(["absent.parquet".to_owned(), "//".to_owned()])];
    for names in none {
        assert!(lab.numbers(snapshot.provider_of(&names)).await.is_empty());
    }
}

#[tokio::test]
async fn named_files_go_and_no_others() {
    let lab = lab().await;
    let table = four_files(&lab).await;
    let before = table.current();
    let first_day: BTreeSet<String> = before
        .file_summaries()
        .into_iter()
        .filter(|file| file.partition.contains("1970-01-01"))
        .map(|f| f.name)
        .collect();
    assert_eq!(first_day.len(), 2);
    let outcome = table.commit(replacing(&table, first_day, rows(2, 3)).await).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed(TableVersion(5)));
    assert_eq!(numbers(&lab, &table).await, [2, 24, 25]);
    assert_eq!(lab.numbers(before.provider()).await, [0, 1, 24, 25], "readers keep what they opened");
    assert_eq!(by_delta_rs(&table).await.1.len(), 3);
    assert_eq!(table.history(1).await.unwrap()[0].operation, "FOLD");
    let changes = table.changes(TableVersion(4), &table.current()).await.unwrap();
    let TableChanges::Known(files) = changes else { panic!("{changes:?}") };
    assert_eq!((files.removes_rows(), files.rows_added), (true, 1));
}

#[tokio::test]
async fn appends_meanwhile_do_not_matter() {
    let lab = lab().await;
    let table = four_files(&lab).await;
    let request = replacing(&table, names(&table.current()), rows(2, 3)).await;
    let elsewhere = open_lake(&lab.folder, &config()).await.open_table("clicks").await.unwrap();
    append(&elsewhere, 50, 52).await;
    append(&table, 52, 53).await;
    assert_eq!(table.commit(request).await.unwrap(), CommitOutcome::Committed(TableVersion(7)));
    assert_eq!(numbers(&lab, &table).await, [2, 50, 51, 52]);
    assert_eq!(numbers(&lab, &elsewhere).await, [2, 50, 51, 52]);
}

#[tokio::test]
async fn of_two_who_replace_the_same_files_one_does() {
    let lab = lab().await;
    let table = four_files(&lab).await;
    let elsewhere = open_lake(&lab.folder, &config()).await.open_table("clicks").await.unwrap();
    let all = names(&table.current());
    let (here, there) =
        (replacing(&table, all.clone(), rows(2, 3)).await, replacing(&elsewhere, all, rows(3, 4)).await);
    let (appended, one, other) = tokio::join!(append(&elsewhere, 50, 51), async { table.commit(here).await }, async {
        elsewhere.commit(there).await
    });
    assert!(appended > 0);
    assert_eq!([&one, &other].iter().filter(|outcome| outcome.is_ok()).count(), 1, "{one:?} {other:?}");
    let expected = if one.is_ok() { [2, 50] } else { [3, 50] };
    assert_eq!(numbers(&lab, &table).await, expected);
}

#[tokio::test]
async fn files_that_compaction_took_are_not_replaced() {
    let lab = lab().await;
    let table = four_files(&lab).await;
    let seen = table.current();
    let request = replacing(&table, names(&seen), rows(2, 3)).await;
    let staged = request.files.clone();
    assert!(lab.compact(&table, Eagerness::Everything).await > 0);
    let version = table.current().version();
    let error = table.commit(request).await.unwrap_err();
    assert!(matches!(&error, StorageError::FilesGone { current, .. } if *current == version), "{error}");
    assert_eq!(error.kind(), Kind::Conflict);
    assert_eq!((table.refresh().await.unwrap().version(), numbers(&lab, &table).await), (version, vec![0, 1, 24, 25]));

    // Looked at again, the same staged rows fit.
    let again = CommitRequest { mode: CommitMode::ReplaceFiles(names(&table.current())), ..self::request(staged) };
    table.commit(again).await.unwrap();
    assert_eq!(numbers(&lab, &table).await, [2]);
}

#[tokio::test]
async fn files_that_were_replaced_or_expired_are_not_brought_back() {
    let lab = lab().await;
    let table = four_files(&lab).await;
    let fold = replacing(&table, names(&table.current()), rows(2, 3)).await;
    assert!(table.expire(lab.clock.now().since(Timestamp(24 * HOUR))).await.unwrap().committed);
    let error = table.commit(fold.clone()).await.unwrap_err();
    assert!(matches!(error, StorageError::FilesGone { .. }), "{error}");
    table.discard(fold.files).await;
    assert_eq!((numbers(&lab, &table).await, data_files(&lab.folder)), (vec![24, 25], 4));

    let all = CommitRequest { mode: CommitMode::Replace, ..request(staged(&table, rows(7, 8)).await) };
    let fold = replacing(&table, names(&table.current()), rows(2, 3)).await;
    table.commit(all).await.unwrap();
    assert!(matches!(table.commit(fold).await, Err(StorageError::FilesGone { .. })));
}

#[tokio::test]
async fn transaction_and_expected_version_hold_as_for_any_commit() {
    let lab = lab().await;
    let table = four_files(&lab).await;
    let fold = as_transaction(replacing(&table, names(&table.current()), rows(2, 3)).await, "fold", 1);
    let moved = CommitRequest { expected: Some(TableVersion(3)), ..fold.clone() };
    assert!(matches!(table.commit(moved).await, Err(StorageError::VersionMoved { .. })));
    let fold = CommitRequest { expected: Some(TableVersion(4)), ..fold };
    assert_eq!(table.commit(fold.clone()).await.unwrap(), CommitOutcome::Committed(TableVersion(5)));
    // Sent again it is known, though its files are gone.
    assert_eq!(table.commit(fold).await.unwrap(), CommitOutcome::AlreadyCommitted(TableVersion(5)));
    assert_eq!(numbers(&lab, &table).await, [2]);
}

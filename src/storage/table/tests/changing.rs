//! What was committed between two versions: every new row once, or "unknown", whatever happened to files and log since.

use std::time::Duration;

use object_store::ObjectStoreExt;

use super::maintaining::{DAY, HOURS, Lab, append, lab};
use super::*;
use crate::storage::FileTimes;

/// The numbers added, or why they are not known.
async fn added(lab: &Lab, changes: &TableChanges) -> Result<Vec<i64>, &'static str> {
    match changes {
        TableChanges::Unknown { reason } => Err(*reason),
        TableChanges::Known(files) => match files.provider() {
            None => Ok(Vec::new()),
            Some(provider) => {
                let numbers = lab.numbers(provider).await;
                assert_eq!(numbers.len() as u64, files.rows_added);
                Ok(numbers)
            }
        },
    }
}

async fn changes(table: &Table, from: u64) -> TableChanges {
    table.changes(TableVersion(from), &table.current()).await.unwrap()
}

fn known(changes: TableChanges) -> ChangedFiles {
    match changes {
        TableChanges::Known(files) => files,
        TableChanges::Unknown { reason } => panic!("{reason}"),
    }
}

async fn reopened(lab: &Lab) -> Arc<Table> {
    let lake = Lake::open(&LakeLocation::Folder(lab.folder.path().to_owned()), &config(), lab.clock.clone()).await;
    lake.unwrap().open_table("clicks").await.unwrap()
}

async fn replace(table: &Table, batch: RecordBatch) {
    let request = CommitRequest { mode: CommitMode::Replace, ..request(staged(table, batch).await) };
    table.commit(request).await.unwrap();
}

#[tokio::test]
async fn appends_are_told_commit_by_commit() {
    let lab = lab().await;
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    let mut times = Vec::new();
    for n in 0..4 {
        lab.clock.advance(Duration::from_secs(1));
        append(&table, n * 10, n * 10 + 10).await;
        times.push(Timestamp::from_millis(lab.clock.now().millis()));
    }
    for table in [&table, &reopened(&lab).await] {
        assert_eq!(added(&lab, &changes(table, 0).await).await, Ok((0..40).collect()));
        assert_eq!(added(&lab, &changes(table, 3).await).await, Ok((30..40).collect()));
        let files = known(changes(table, 2).await);
        assert_eq!((files.from.0, files.to.0, files.commits, files.rows_added), (2, 4, 2, 20));
        assert_eq!((files.first_committed_at, files.removes_rows(), files.is_empty()), (Some(times[2]), false, false));
        let none = known(changes(table, 4).await);
        assert_eq!((none.commits, none.first_committed_at, none.is_empty()), (0, None, true));
        assert!(none.provider().is_none());
    }
    let older = reopened(&lab).await.current();
    append(&table, 40, 41).await;
    let until = table.changes(TableVersion(3), &older).await.unwrap();
    assert_eq!(added(&lab, &until).await, Ok((30..40).collect()), "not what came after `to`");
    let later = table.changes(TableVersion(5), &older).await.unwrap();
    assert_eq!(added(&lab, &later).await, Err("the table has not come to that version"));
}

#[tokio::test]
async fn commits_of_nothing_are_no_change() {
    let lab = lab().await;
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    append(&table, 0, 1).await;
    table.commit(as_transaction(request(Vec::new()), "app", 1)).await.unwrap();
    table.add_column(Arc::new(Field::new("note", DataType::Utf8, true))).await.unwrap();
    let files = known(changes(&table, 1).await);
    assert_eq!((files.to.0, files.commits, files.is_empty()), (3, 0, true));
}

/// A file merged of old and new rows is not given; its new rows are read where they were written.
#[tokio::test]
async fn compaction_between_neither_hides_nor_repeats_rows() {
    let lab = lab().await;
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    for n in 0..4 {
        append(&table, n, n + 1).await;
    }
    lab.compact(&table, Eagerness::Everything).await;
    assert!(known(changes(&table, 4).await).is_empty());
    append(&table, 4, 5).await;
    lab.compact(&table, Eagerness::Everything).await;
    append(&table, 5, 6).await;
    assert_eq!(table.current().file_count(), 2);
    for table in [&table, &reopened(&lab).await] {
        assert_eq!(added(&lab, &changes(table, 2).await).await, Ok(vec![2, 3, 4, 5]));
        assert_eq!(added(&lab, &changes(table, 5).await).await, Ok(vec![4, 5]));
        assert_eq!(added(&lab, &changes(table, 6).await).await, Ok(vec![5]));
        assert!(!known(changes(table, 2).await).removes_rows());
    }
}

#[tokio::test]
async fn replaced_rows_are_removed_rows() {
    let lab = lab().await;
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    replace(&table, rows(0, 3)).await;
    assert!(!known(changes(&table, 0).await).removes_rows(), "there was nothing to remove");
    append(&table, 3, 5).await;
    replace(&table, rows(10, 12)).await;
    append(&table, 12, 13).await;
    for table in [&table, &reopened(&lab).await] {
        for from in 0..3 {
            let files = changes(table, from).await;
            assert_eq!(added(&lab, &files).await, Ok(vec![10, 11, 12]), "files that came and went are not given");
            assert!(known(files).removes_rows(), "since version {from}");
        }
        assert_eq!(added(&lab, &changes(table, 3).await).await, Ok(vec![12]));
        assert!(!known(changes(table, 3).await).removes_rows());
    }
    table.commit(CommitRequest { mode: CommitMode::Replace, ..request(Vec::new()) }).await.unwrap();
    let files = known(changes(&table, 4).await);
    assert_eq!((files.removes_rows(), files.rows_added, files.is_empty()), (true, 0, false));
}

#[tokio::test]
async fn retention_removes_rows() {
    let lab = lab().await;
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    append(&table, 0, 72).await;
    let two_days = Timestamp(2 * 24 * HOUR);
    assert!(table.expire(lab.clock.now().since(two_days)).await.unwrap().committed);
    append(&table, 72, 73).await;
    for table in [&table, &reopened(&lab).await] {
        let files = changes(table, 1).await;
        assert_eq!(added(&lab, &files).await, Ok(vec![72]));
        assert!(known(files).removes_rows());
        assert!(known(changes(table, 0).await).removes_rows(), "came and went");
        assert!(!known(changes(table, 2).await).removes_rows());
    }
}

#[tokio::test]
async fn rows_of_fewer_columns_read_as_null() {
    let lab = lab().await;
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    for n in 0..4 {
        append(&table, n, n + 1).await;
    }
    table.add_column(Arc::new(Field::new("note", DataType::Utf8, true))).await.unwrap();
    let batch = rows(4, 5);
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(StringArray::from(vec!["new"])));
    let batch = RecordBatch::try_new(table.current().columns(), columns).unwrap();
    table.commit(request(staged(&table, batch).await)).await.unwrap();
    lab.compact(&table, Eagerness::Everything).await;
    for table in [&table, &reopened(&lab).await] {
        let files = known(changes(table, 1).await);
        assert_eq!(files.provider().unwrap().schema(), table.current().provider().schema());
        let frame = lab.context.read_table(files.provider().unwrap()).unwrap();
        let frame = frame.select_columns(&["price", "note"]).unwrap();
        let batches = frame.sort_by(vec![datafusion::prelude::col("price")]).unwrap().collect().await.unwrap();
        assert_eq!(lines(&batches), ["1", "2", "3", "4 new"]);
    }
}

#[tokio::test]
async fn a_cleaned_log_leaves_changes_unknown() {
    let lab = lab().await;
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    for n in 0..105 {
        let files = if n % 50 == 0 { staged(&table, rows(n, n + 1)).await } else { Vec::new() };
        table.commit(as_transaction(request(files), "app", n)).await.unwrap();
    }
    lab.lake.close(Duration::from_secs(60)).await;
    lab.clock.advance(2 * DAY);
    assert!(lab.clean_log(&table, DAY).await > 0);
    let other = reopened(&lab).await;
    assert_eq!(added(&lab, &changes(&other, 0).await).await, Err("log cleaned up"));
    assert_eq!(added(&lab, &changes(&other, 98).await).await, Err("log cleaned up"));
    assert_eq!(added(&lab, &changes(&other, 100).await).await, Ok(vec![100]), "the commits after the checkpoint stay");
    assert_eq!(added(&lab, &changes(&table, 0).await).await, Ok(vec![0, 50, 100]), "who committed them, knows them");
}

#[tokio::test]
async fn vacuumed_files_leave_changes_unknown() {
    let lab = lab().await;
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    for n in 0..4 {
        append(&table, n, n + 1).await;
    }
    lab.compact(&table, Eagerness::Everything).await;
    append(&table, 4, 5).await;
    assert_eq!(added(&lab, &changes(&table, 1).await).await, Ok(vec![1, 2, 3, 4]));
    lab.clock.advance(2 * HOURS);
    assert_eq!(added(&lab, &changes(&table, 1).await).await, Ok(vec![1, 2, 3, 4]), "old, and still there");
    assert_eq!(lab.vacuum(&table, HOURS).await.files_deleted, 4);
    for table in [&table, &reopened(&lab).await] {
        assert_eq!(added(&lab, &changes(table, 1).await).await, Err("files vacuumed"));
        assert_eq!(added(&lab, &changes(table, 4).await).await, Ok(vec![4]), "needs none of them");
    }
}

/// Known without reading: the log and nothing else is gone.
#[tokio::test]
async fn commits_seen_are_not_read_again() {
    let lab = lab().await;
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    for n in 0..3 {
        append(&table, n, n + 1).await;
    }
    let reader = reopened(&lab).await;
    assert_eq!(added(&lab, &changes(&reader, 1).await).await, Ok(vec![1, 2]));
    for version in 1..=3 {
        table.parts.store.delete(&table.parts.commit_path(TableVersion(version))).await.unwrap();
    }
    assert_eq!(added(&lab, &changes(&table, 0).await).await, Ok(vec![0, 1, 2]));
    assert_eq!(added(&lab, &changes(&reader, 1).await).await, Ok(vec![1, 2]));
    assert_eq!(added(&lab, &changes(&reader, 0).await).await, Err("log cleaned up"), "version 1 it has not seen");
}

/// For any two versions: older rows and the rows added are the newer rows, at all times but those of files whose rows went.
#[tokio::test]
async fn every_pair_of_versions_adds_up() {
    let lab = lab().await;
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    let mut versions = vec![table.current()];
    for (step, n) in "aaac aoac aaro aacx aaa".chars().zip((0..).step_by(10)) {
        match step {
            'a' => drop(append(&table, n, n + 3).await),
            'o' => drop(append(reopened(&lab).await.as_ref(), n, n + 2).await),
            'c' => drop(lab.compact(&table, Eagerness::Everything).await),
            'r' => replace(&table, rows(n, n + 4)).await,
            'x' => drop(table.expire(lab.clock.now().since(Timestamp(6 * 24 * HOUR))).await.unwrap()),
            _ => drop(table.commit(as_transaction(request(Vec::new()), "app", n)).await.unwrap()),
        }
        versions.push(table.refresh().await.unwrap());
    }
    let (reader, mut known_pairs, mut partly_touched) = (reopened(&lab).await, 0, 0);
    for (at, to) in versions.iter().enumerate() {
        for from in versions.iter().take(at + 1) {
            let files = known(table.changes(from.version(), to).await.unwrap());
            let elsewhere = known(reader.changes(from.version(), to).await.unwrap());
            assert_eq!(format!("{files:?}"), format!("{elsewhere:?}"));
            let (old, mut new) = (lab.numbers(from.provider()).await, lab.numbers(to.provider()).await);
            assert_eq!(files.removes_rows(), !files.times_removed("event_time").is_empty());
            if files.removes_rows() {
                assert!(to.rows_removed_since(from));
                let elsewhere = |numbers: &[i64]| -> Vec<i64> {
                    numbers.iter().copied().filter(|number| !is_touched(&files, *number)).collect()
                };
                let added = added(&lab, &TableChanges::Known(files.clone())).await.unwrap();
                let mut expected = elsewhere(&[old, added].concat());
                expected.sort_unstable();
                assert_eq!(elsewhere(&new), expected, "{files:?}");
                partly_touched += usize::from(!expected.is_empty());
                continue;
            }
            new.retain(|number| !old.contains(number));
            assert_eq!(added(&lab, &TableChanges::Known(files)).await, Ok(new.clone()));
            assert_eq!(old.len() + new.len(), to.row_count() as usize);
            known_pairs += 1;
        }
    }
    assert!(known_pairs > 50, "{known_pairs}");
    assert!(partly_touched > 20, "{partly_touched}");
}

/// Whether the time of a row is one of those of files that went.
fn is_touched(files: &ChangedFiles, number: i64) -> bool {
    files.times_removed("event_time").iter().any(|times| match times {
        FileTimes::Between { earliest, latest, .. } => (earliest.0..=latest.0).contains(&(number * HOUR)),
        other => panic!("{other:?}"),
    })
}

#[tokio::test]
async fn times_of_files_that_came_and_went_are_told() {
    let lab = lab().await;
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    append(&table, 0, 3).await;
    append(&table, 24, 26).await;
    table.commit(CommitRequest { mode: CommitMode::Replace, ..request(Vec::new()) }).await.unwrap();
    append(&table, 50, 51).await;
    let hours = |from: i64, to: i64| {
        let (earliest, latest) = (Timestamp(from * HOUR), Timestamp(to * HOUR));
        FileTimes::Between { earliest, latest, or_none: false }
    };
    let sorted = |mut times: Vec<FileTimes>| {
        times.sort_by_key(|times| format!("{times:?}"));
        times
    };
    for table in [&table, &reopened(&lab).await] {
        let files = known(changes(table, 2).await);
        assert_eq!(sorted(files.times_removed("event_time")), [hours(0, 2), hours(24, 25)]);
        assert_eq!(files.times_added("event_time"), [hours(50, 50)]);
        assert_eq!(files.times_removed("price"), [FileTimes::Unknown, FileTimes::Unknown]);
        assert_eq!(files.times_added("nothing"), [FileTimes::Unknown]);
    }
}

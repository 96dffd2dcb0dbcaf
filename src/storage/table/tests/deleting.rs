//! DELETE: exactly the rows asked for go, in one commit, beside everything else that happens to a table.

use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::prelude::{Expr, col, lit};
use object_store::ObjectStoreExt;
use tokio_util::sync::CancellationToken;

use super::maintaining::{DAY, HOURS, Lab, append, lab};
use super::*;
use crate::base::{Classify, Kind, Sealed};
use crate::storage::{DeleteOptions, DeleteProgress, DeleteReport, RowPredicate, TableSnapshot};

pub(super) fn rows_where(lab: &Lab, condition: Expr) -> RowPredicate {
    RowPredicate { condition: Sealed::new(condition), state: Sealed::new(lab.context.state()) }
}

pub(super) fn options() -> DeleteOptions {
    DeleteOptions { cancel: CancellationToken::new(), progress: Arc::new(|_| {}) }
}

/// Rows of the newest version.
pub(super) async fn delete(lab: &Lab, table: &Table, condition: Expr) -> DeleteReport {
    let base = table.refresh().await.unwrap();
    table.delete_rows((base, &rows_where(lab, condition)), &options(), || async {}).await.unwrap()
}

async fn numbers(lab: &Lab, table: &Table) -> Vec<i64> {
    lab.numbers(table.refresh().await.unwrap().provider()).await
}

/// Rows that go, files removed, files rewritten, rows rewritten.
fn counts(report: &DeleteReport) -> (u64, u64, u64, u64) {
    (report.rows, report.files_removed, report.files_rewritten, report.rows_rewritten)
}

/// Three days of one file each, rows 0 to 71.
async fn three_days(lab: &Lab) -> Arc<Table> {
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    append(&table, 0, 72).await;
    assert_eq!(table.current().file_count(), 3);
    table
}

#[tokio::test]
async fn only_files_with_such_rows_are_touched() {
    let lab = lab().await;
    let table = three_days(&lab).await;
    let before = table.current();
    let report = delete(&lab, &table, col("price").gt_eq(lit(20)).and(col("price").lt(lit(48)))).await;
    assert_eq!(counts(&report), (28, 1, 1, 20), "the second day goes as a whole, the first in part");
    assert_eq!(report.version, TableVersion(2));
    assert_eq!(numbers(&lab, &table).await, (0..20).chain(48..72).collect::<Vec<i64>>());
    assert_eq!(lab.numbers(before.provider()).await.len(), 72, "readers keep what they opened");
    let kept = before.file_summaries().into_iter().filter(|file| table.current().file_summaries().contains(file));
    assert_eq!(kept.map(|file| file.rows).collect::<Vec<_>>(), [24], "the third day's file is the one it was");
    assert_eq!(by_delta_rs(&table).await.1.len(), 2);
    let commit = &table.history(1).await.unwrap()[0];
    assert_eq!(commit.operation, "DELETE");
    let expected = serde_json::json!({"rows": 28, "files_removed": 1, "files_rewritten": 1, "rows_rewritten": 20, "read_version": 1});
    assert_eq!(commit.info, expected);
    let none = delete(&lab, &table, col("price").eq(lit(30))).await;
    assert_eq!((counts(&none), none.version), ((0, 0, 0, 0), TableVersion(2)), "nothing to delete, nothing committed");
}

#[tokio::test]
async fn unknown_is_not_true() {
    let lab = lab().await;
    let table = three_days(&lab).await;
    let without = (0..72).filter(|n| n % 10 == 3).count();
    let report = delete(&lab, &table, col("ad_id").not_eq(lit("ad0"))).await;
    let expected: Vec<i64> = (0..72).filter(|n| n % 10 == 3 || n % 10 == 0).collect();
    assert_eq!(report.rows, 72 - expected.len() as u64);
    assert_eq!(numbers(&lab, &table).await, expected, "{without} rows have no ad");
    assert_eq!(delete(&lab, &table, lit(datafusion::common::ScalarValue::Boolean(None))).await.rows, 0);
    assert_eq!(delete(&lab, &table, col("ad_id").is_null()).await.rows, without as u64);
    assert_eq!(counts(&delete(&lab, &table, lit(true)).await).0, expected.len() as u64 - without as u64);
    assert_eq!((numbers(&lab, &table).await, table.current().file_count()), (vec![], 0));
}

/// Partition, order, statistics and bloom filters of what is left are those of any file.
#[tokio::test]
async fn what_is_left_is_as_well_kept_as_before() {
    let lab = lab().await;
    let table = three_days(&lab).await;
    delete(&lab, &table, col("price").gt_eq(lit(50)).and(col("price").lt(lit(60)))).await;
    for table in [table.clone(), reopened(&lab).await] {
        for file in table.current().index().files() {
            assert_eq!(file.sorted_by.as_deref(), Some("ad_id,event_time"), "{}", file.relative);
            assert!(file.relative.as_ref().starts_with("event_time_day="), "{}", file.relative);
            assert_eq!(file.rows_until, TableVersion(1), "no row is newer: {}", file.relative);
            assert!(file.rows().is_some());
        }
        let ranges = table.current().time_ranges("event_time");
        let latest = ranges.iter().map(|range| range.latest.unwrap()).max().unwrap();
        assert_eq!((ranges.len(), latest), (3, Timestamp(71 * HOUR)));
    }
    let sorted = "SELECT price FROM t WHERE price >= 48 ORDER BY ad_id NULLS LAST, event_time";
    let mut expected: Vec<i64> = (48..50).chain(60..72).collect();
    expected.sort_by_key(|n| (n % 10 == 3, (n * 7) % 10, *n));
    let expected: Vec<String> = expected.iter().map(i64::to_string).collect();
    assert_eq!(query(&lab.lake, &table, sorted).await, expected);
    let plan = query(&lab.lake, &table, &format!("EXPLAIN {sorted}")).await.join("\n");
    assert!(plan.contains("output_ordering"), "{plan}");
    assert_eq!(query(&lab.lake, &table, "SELECT price FROM t WHERE event_id = 'e61'").await, ["61"]);
    assert!(query(&lab.lake, &table, "SELECT price FROM t WHERE event_id = 'e55'").await.is_empty());
}

async fn reopened(lab: &Lab) -> Arc<Table> {
    let location = LakeLocation::Folder(lab.folder.path().to_owned());
    Lake::open(&location, &config(), lab.clock.clone()).await.unwrap().open_table("clicks").await.unwrap()
}

/// A delete is a change of rows, whatever else happens between; compaction after it is none.
#[tokio::test]
async fn changes_tell_that_rows_went() {
    let lab = lab().await;
    let table = three_days(&lab).await;
    let reader = table.current();
    delete(&lab, &table, col("price").lt(lit(30))).await;
    append(&table, 100, 101).await;
    lab.compact(&table, Eagerness::Everything).await;
    for table in [table.clone(), reopened(&lab).await] {
        let newest = table.current();
        for (from, removes) in [(0, true), (1, true), (2, false), (3, false)] {
            let changes = table.changes(TableVersion(from), &newest).await.unwrap();
            let TableChanges::Known(files) = changes else { panic!("{changes:?}") };
            assert_eq!(files.removes_rows(), removes, "since version {from}");
        }
    }
    let newest = table.current();
    assert!(newest.rows_removed_since(&reader));
    let gone = newest.time_ranges_gone_since(&reader, "event_time");
    let times: Vec<_> =
        gone.iter().map(|range| (range.earliest.unwrap().0 / HOUR, range.latest.unwrap().0 / HOUR)).collect();
    assert_eq!(times.len(), 2, "{times:?}");
    assert!(times.contains(&(0, 23)) && times.contains(&(24, 47)), "{times:?}");
}

/// What others commit while a delete is between looking and its commit.
async fn meanwhile<F>(
    lab: &Lab,
    table: &Arc<Table>,
    condition: Expr,
    others: impl Fn(usize) -> F + Send + Sync,
) -> Result<DeleteReport, StorageError>
where
    F: Future<Output = ()> + Send,
{
    let tries = AtomicUsize::new(0);
    let base = table.refresh().await.unwrap();
    let rows = rows_where(lab, condition);
    table.delete_rows((base, &rows), &options(), || others(tries.fetch_add(1, Ordering::SeqCst))).await
}

#[tokio::test]
async fn appends_meanwhile_stay_and_do_not_disturb() {
    let lab = lab().await;
    let table = three_days(&lab).await;
    let other = reopened(&lab).await;
    let report = meanwhile(&lab, &table, col("price").lt(lit(10)), |_| async {
        append(&table, 5, 8).await;
        append(&other, 2, 4).await;
    });
    let report = report.await.unwrap();
    assert_eq!((counts(&report), report.version), ((10, 0, 1, 14), TableVersion(4)));
    let expected: Vec<i64> = [2, 3, 5, 6, 7].into_iter().chain(10..72).collect();
    assert_eq!(numbers(&lab, &table).await, expected, "rows that came later are not deleted");
}

#[tokio::test]
async fn files_compacted_meanwhile_are_looked_at_again() {
    let lab = lab().await;
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    for n in 0..4 {
        append(&table, n * 6, n * 6 + 6).await;
    }
    append(&table, 24, 48).await;
    let other = reopened(&lab).await;
    let files = data_files(&lab.folder);
    let report = meanwhile(&lab, &table, col("price").gt_eq(lit(4)).and(col("price").lt(lit(30))), |tries| {
        let (lab, other) = (&lab, &other);
        async move {
            if tries == 0 {
                other.refresh().await.unwrap();
                assert!(lab.compact(other, Eagerness::Everything).await > 0);
            }
        }
    });
    let report = report.await.unwrap();
    assert_eq!(counts(&report), (26, 0, 2, 22));
    assert_eq!(numbers(&lab, &table).await, (0..4).chain(30..48).collect::<Vec<i64>>());
    assert_eq!(data_files(&lab.folder), files + 3, "one file merged, two left; what was written in vain is deleted");
}

#[tokio::test]
async fn of_two_deletes_at_once_both_hold_and_no_row_counts_twice() {
    let lab = lab().await;
    let table = three_days(&lab).await;
    let other = reopened(&lab).await;
    let report = meanwhile(&lab, &table, col("price").lt(lit(12)), |tries| {
        let (lab, other) = (&lab, &other);
        async move {
            if tries == 0 {
                assert_eq!(delete(lab, other, col("price").lt(lit(6)).or(col("price").gt(lit(70)))).await.rows, 7);
            }
        }
    });
    assert_eq!(report.await.unwrap().rows, 6);
    assert_eq!(numbers(&lab, &table).await, (12..71).collect::<Vec<i64>>());
}

#[tokio::test]
async fn it_gives_up_when_others_never_stop() {
    let lab = lab().await;
    let table = three_days(&lab).await;
    let other = reopened(&lab).await;
    let report = meanwhile(&lab, &table, col("price").eq(lit(3)), |tries| {
        let (lab, other) = (&lab, &other);
        async move {
            let last = 23 - i64::try_from(tries).unwrap();
            delete(lab, other, col("price").eq(lit(last))).await;
        }
    });
    let error = report.await.unwrap_err();
    assert!(matches!(error, StorageError::Crowded { .. }), "{error}");
    assert_eq!(error.kind(), Kind::Conflict);
    let rows = numbers(&lab, &table).await;
    assert!(rows.contains(&3) && rows.len() == 72 - 20, "{rows:?}");
    // The day's file of each of the others, and nothing of the one that gave up.
    assert_eq!(data_files(&lab.folder), 3 + 20);
}

#[tokio::test]
async fn cancelled_it_has_changed_nothing() {
    let lab = lab().await;
    let table = three_days(&lab).await;
    for when in ["at once", "after the first file", "before the commit"] {
        let cancel = CancellationToken::new();
        let (signal, moment) = (cancel.clone(), when);
        let progress = move |step: DeleteProgress| {
            let now = match step {
                DeleteProgress::Found { .. } => "at once",
                DeleteProgress::Done { .. } => "after the first file",
                DeleteProgress::Committing => "before the commit",
            };
            if now == moment {
                signal.cancel();
            }
        };
        let options = DeleteOptions { cancel, progress: Arc::new(progress) };
        let rows = rows_where(&lab, col("price").gt(lit(10)));
        let deleted = table.delete_rows((table.current(), &rows), &options, || async {}).await;
        assert!(matches!(deleted, Err(StorageError::Cancelled { .. })), "{when}: {deleted:?}");
        assert_eq!(table.refresh().await.unwrap().version(), TableVersion(1), "{when}");
    }
    // Files in work when it was cancelled may be left, and are nobody's.
    lab.clock.advance(2 * HOURS);
    lab.vacuum(&table, HOURS).await;
    assert_eq!((data_files(&lab.folder), numbers(&lab, &table).await.len()), (3, 72));
}

#[tokio::test]
async fn progress_is_told_in_bytes_and_rows() {
    let lab = lab().await;
    let table = three_days(&lab).await;
    let told: Arc<parking_lot::Mutex<Vec<DeleteProgress>>> = Arc::default();
    let teller = told.clone();
    let options =
        DeleteOptions { cancel: CancellationToken::new(), progress: Arc::new(move |step| teller.lock().push(step)) };
    let rows = rows_where(&lab, col("price").lt(lit(30)));
    table.delete_rows((table.current(), &rows), &options, || async {}).await.unwrap();
    let told = told.lock().clone();
    let (mut found, mut done, mut deleted) = (0, 0, 0);
    for step in &told {
        match step {
            DeleteProgress::Found { bytes } => found = *bytes,
            DeleteProgress::Done { bytes, rows_deleted } => {
                done += bytes;
                deleted += rows_deleted;
            }
            DeleteProgress::Committing => assert_eq!((done, deleted), (found, 30), "all files are done by then"),
        }
    }
    assert_eq!(told.last(), Some(&DeleteProgress::Committing));
    let third: u64 = table.current().file_summaries().iter().map(|file| file.bytes).max().unwrap();
    assert!(found > third, "{told:?}");
}

/// What was written long before its commit may have been vacuumed.
#[tokio::test]
async fn files_vacuumed_before_the_commit_are_written_again() {
    let lab = lab().await;
    let table = three_days(&lab).await;
    let report = meanwhile(&lab, &table, col("price").eq(lit(3)), |tries| {
        let (lab, table) = (&lab, &table);
        async move {
            if tries == 0 {
                lab.clock.advance(2 * HOURS);
                assert_eq!(lab.vacuum(table, HOURS).await.files_deleted, 1);
            }
        }
    });
    assert_eq!(counts(&report.await.unwrap()), (1, 0, 1, 23));
    assert_eq!(numbers(&lab, &table).await.len(), 71);
}

#[tokio::test]
async fn a_predicate_that_fails_changes_nothing() {
    let lab = lab().await;
    let table = three_days(&lab).await;
    let rows = rows_where(&lab, (lit(1) / (col("price") - lit(60))).eq(lit(0)));
    let error = table.delete_rows((table.current(), &rows), &options(), || async {}).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
    let unknown = rows_where(&lab, col("prize").eq(lit(1)));
    assert!(table.delete_rows((table.current(), &unknown), &options(), || async {}).await.is_err());
    assert_eq!(table.refresh().await.unwrap().version(), TableVersion(1));
}

/// Whatever of the commit's fate is unknown, the files it names stay.
#[tokio::test]
async fn a_dropped_delete_leaves_the_state_before_or_after() {
    let lab = lab().await;
    let table = three_days(&lab).await;
    let mut remaining = 72;
    for polls in (0..400).step_by(7) {
        let other = reopened(&lab).await;
        let rows = rows_where(&lab, col("price").eq(lit(i64::from(remaining) - 1)));
        let options = options();
        let mut work = Box::pin(other.delete_rows((other.current(), &rows), &options, || async {}));
        for _ in 0..polls {
            if futures::poll!(&mut work).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(work);
        let rows = numbers(&lab, &table).await;
        assert!(
            rows == (0..i64::from(remaining)).collect::<Vec<_>>()
                || rows == (0..i64::from(remaining) - 1).collect::<Vec<_>>()
        );
        remaining = i32::try_from(rows.len()).unwrap();
    }
    lab.clock.advance(2 * HOURS + DAY);
    lab.vacuum(&table, HOURS).await;
    assert_eq!(data_files(&lab.folder), table.current().file_count());
    for file in table.current().index().files() {
        table.parts.store.head(&file.location).await.unwrap();
    }
    let _: Arc<TableSnapshot> = table.current();
}

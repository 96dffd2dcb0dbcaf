//! Compaction, vacuum, log clean-up, retention: rows stay what they were, readers keep reading, files stay few.

use std::time::Duration;

use arrow::array::Array;
use datafusion::catalog::TableProvider;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::storage::VacuumReport;
use crate::storage::maintenance::{Maintainer, MaintenanceConfig, Subject, Work};

pub(super) const DAY: Duration = Duration::from_secs(86_400);
pub(super) const HOURS: Duration = Duration::from_secs(3_600);

fn limits() -> CompactionLimits {
    CompactionLimits {
        target_bytes: 64 << 20,
        files_min: 4,
        small_files_max: 100,
        settled_after: HOURS,
        task_bytes: 64 << 20,
        task_files: 64,
    }
}

fn maintenance() -> MaintenanceConfig {
    MaintenanceConfig {
        enabled: true,
        interval: Span::from_millis(1),
        files_min: 4,
        small_files_max: 50,
        settled_after: Span(HOURS),
        task_size: ByteSize(64 << 20),
        task_files: 64,
        vacuum_every: Span(HOURS),
        vacuum_retention: Span(DAY),
        log_cleanup_every: Span(HOURS),
        log_retention: Span(2 * DAY),
        retention_every: Span(HOURS),
        retain_min: Span(HOURS),
        retry_after: Span::from_secs(60),
    }
}

/// A lake whose clock the test moves, from the machine's present time: files have its time.
pub(super) struct Lab {
    pub lake: Lake,
    pub folder: TempDir,
    pub clock: Clock,
    pub context: SessionContext,
}

pub(super) async fn lab() -> Lab {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual(Clock::system().now());
    let lake = Lake::open(&LakeLocation::Folder(folder.path().to_owned()), &config(), clock.clone()).await.unwrap();
    let context = SessionContext::new();
    lake.register(&context.runtime_env());
    Lab { lake, folder, clock, context }
}

impl Lab {
    pub fn rewrite(&self) -> RewriteContext {
        let progress = Arc::new(|_| {});
        RewriteContext { task: self.context.task_ctx(), cancel: CancellationToken::new(), progress }
    }

    /// Compacts whatever `eagerness` asks for.
    pub async fn compact(&self, table: &Table, eagerness: Eagerness) -> u64 {
        let mut merged = 0;
        for task in table.compaction_tasks(&limits(), eagerness) {
            let report = table.compact(task, self.rewrite()).await.unwrap();
            assert!(report.committed);
            merged += report.files_in - report.files_out;
        }
        merged
    }

    pub async fn numbers(&self, provider: Arc<dyn TableProvider>) -> Vec<i64> {
        let frame = self.context.read_table(provider).unwrap();
        let batches = frame.select_columns(&["price"]).unwrap().collect().await.unwrap();
        let values =
            |batch: &RecordBatch| batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec();
        let mut numbers: Vec<i64> = batches.iter().flat_map(values).collect();
        numbers.sort_unstable();
        numbers
    }

    pub async fn vacuum(&self, table: &Table, retention: Duration) -> VacuumReport {
        table.vacuum(retention, &CancellationToken::new()).await.unwrap()
    }

    pub async fn clean_log(&self, table: &Table, retention: Duration) -> u64 {
        table.clean_log(retention, &CancellationToken::new()).await.unwrap().0
    }

    pub fn maintainer(&self) -> Arc<Maintainer> {
        Maintainer::new(self.lake.clone(), maintenance(), self.clock.clone(), self.context.task_ctx()).unwrap()
    }
}

/// One commit; gives its bytes.
pub(super) async fn append(table: &Table, from: i64, to: i64) -> u64 {
    let files = staged(table, rows(from, to)).await;
    let bytes = files.iter().map(|file| file.bytes).sum();
    table.commit(request(files)).await.unwrap();
    bytes
}

fn subject(retention: Option<Duration>) -> Subject {
    Subject { path: "clicks".to_owned(), retention: retention.map(Span) }
}

fn relative(table: &Table) -> Vec<Path> {
    table.current().index().files().map(|file| file.relative.clone()).collect()
}

#[tokio::test]
async fn small_files_become_one_sorted_file_per_partition() {
    let lab = lab().await;
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    for n in 0..8 {
        append(&table, n * 5, n * 5 + 5).await;
    }
    let before = table.current();
    assert_eq!(lab.compact(&table, Eagerness::Everything).await, 9 - 2, "24 + 16 rows: two days, five files and four");
    let after = table.current();
    assert_eq!((after.file_count(), after.row_count()), (2, 40));
    assert!(after.index().files().all(|file| file.sorted_by.as_deref() == Some("ad_id,event_time")));
    for snapshot in [&before, &after] {
        assert_eq!(lab.numbers(snapshot.provider()).await, (0..40).collect::<Vec<_>>());
    }
    let plan = lab.context.read_table(after.provider()).unwrap().create_physical_plan().await.unwrap();
    assert!(plan.properties().output_ordering().is_some(), "compacted files must keep the table's order");
    // The order is the real one: what a scan gives, file by file, is sorted.
    let sql = "SELECT ad_id, event_time FROM t WHERE event_time < '1970-01-02' ORDER BY ad_id, event_time";
    assert_eq!(query(&lab.lake, &table, sql).await.len(), 24);
    assert_eq!(lab.compact(&table, Eagerness::Everything).await, 0);
    assert_eq!(by_delta_rs(&table).await.1.len(), 2);
    assert_eq!(table.history(1).await.unwrap()[0].operation, "OPTIMIZE");
}

#[tokio::test]
async fn indexes_of_keys_read_new_rows_only() {
    let lab = lab().await;
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    for n in 0..4 {
        append(&table, n, n + 1).await;
    }
    let seen = table.current();
    lab.compact(&table, Eagerness::Everything).await;
    let compacted = table.current();
    assert_eq!(compacted.file_count(), 1);
    assert!(compacted.provider_of_files_added_since(&seen).is_none(), "compaction brings no rows");
    assert!(!compacted.rows_removed_since(&seen));

    for n in 4..8 {
        append(&table, n, n + 1).await;
    }
    lab.compact(&table, Eagerness::Everything).await;
    let newest = table.current();
    assert_eq!(newest.file_count(), 1);
    let unseen = newest.provider_of_files_added_since(&seen).expect("rows 4 to 7 are new, though in a rewritten file");
    assert!(lab.numbers(unseen).await.ends_with(&[4, 5, 6, 7]));

    let reopened = open_lake(&lab.folder, &config()).await.open_table("clicks").await.unwrap();
    append(&reopened, 8, 9).await;
    let later = table.refresh().await.unwrap();
    let unseen = later.provider_of_files_added_since(&newest).unwrap();
    assert_eq!(lab.numbers(unseen).await, [8]);
    let replace = CommitRequest { mode: CommitMode::Replace, ..request(Vec::new()) };
    table.commit(replace).await.unwrap();
    assert!(table.current().rows_removed_since(&later));
}

#[tokio::test]
async fn a_rewrite_whose_files_are_gone_changes_nothing() {
    let lab = lab().await;
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    for n in 0..4 {
        append(&table, n, n + 1).await;
    }
    let task = table.compaction_tasks(&limits(), Eagerness::Everything).remove(0);
    let replace = CommitRequest { mode: CommitMode::Replace, ..request(staged(&table, rows(50, 52)).await) };
    table.commit(replace).await.unwrap();
    let files = data_files(&lab.folder);
    let report = table.compact(task, lab.rewrite()).await.unwrap();
    assert!(!report.committed);
    assert_eq!(lab.numbers(table.current().provider()).await, [50, 51]);
    assert_eq!(data_files(&lab.folder), files, "files of the given-up rewrite must be deleted");
}

#[tokio::test]
async fn a_cancelled_rewrite_leaves_nothing() {
    let lab = lab().await;
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    for n in 0..4 {
        append(&table, n, n + 1).await;
    }
    let context = lab.rewrite();
    context.cancel.cancel();
    let task = table.compaction_tasks(&limits(), Eagerness::Everything).remove(0);
    let error = table.compact(task, context).await.unwrap_err();
    assert!(matches!(error, StorageError::Cancelled { .. }), "{error}");
    assert_eq!((table.current().version().0, data_files(&lab.folder)), (4, 4));
}

#[tokio::test]
async fn appends_of_two_processes_and_compaction_lose_and_double_nothing() {
    const COUNT: i64 = 40;
    let lab = lab().await;
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    let elsewhere = open_lake(&lab.folder, &config()).await.open_table("clicks").await.unwrap();
    let write = |table: Arc<Table>, from: i64| async move {
        for n in from..from + COUNT {
            append(&table, n, n + 1).await;
        }
    };
    let compact = async {
        let (mut rewritten, mut given_up) = (0, 0);
        // Until both writers are done; each of their commits is one more version.
        while table.current().row_count() < 2 * COUNT as u64 {
            for task in table.compaction_tasks(&limits(), Eagerness::Everything) {
                let report = table.compact(task, lab.rewrite()).await.unwrap();
                if report.committed { rewritten += report.files_in } else { given_up += 1 }
            }
            tokio::task::yield_now().await;
            table.refresh().await.unwrap();
        }
        (rewritten, given_up)
    };
    let (_, _, (rewritten, given_up)) = tokio::join!(write(table.clone(), 0), write(elsewhere.clone(), COUNT), compact);
    assert!(rewritten > 0);
    assert_eq!(given_up, 0, "appends do not make a rewrite give up");
    for table in [&table, &elsewhere] {
        let snapshot = table.refresh().await.unwrap();
        assert_eq!(lab.numbers(snapshot.provider()).await, (0..2 * COUNT).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn two_processes_compacting_the_same_files_waste_work_only() {
    let lab = lab().await;
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    for n in 0..6 {
        append(&table, n, n + 1).await;
    }
    let elsewhere = open_lake(&lab.folder, &config()).await.open_table("clicks").await.unwrap();
    let here = table.compaction_tasks(&limits(), Eagerness::Everything).remove(0);
    let there = elsewhere.compaction_tasks(&limits(), Eagerness::Everything).remove(0);
    let (one, other) = tokio::join!(table.compact(here, lab.rewrite()), elsewhere.compact(there, lab.rewrite()));
    assert_eq!([one.unwrap(), other.unwrap()].iter().filter(|report| report.committed).count(), 1);
    let snapshot = table.refresh().await.unwrap();
    assert_eq!(lab.numbers(snapshot.provider()).await, (0..6).collect::<Vec<_>>());
    assert_eq!(snapshot.file_count(), 1);
}

#[tokio::test]
async fn vacuum_deletes_what_no_version_within_the_retention_needs() {
    let lab = lab().await;
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    for n in 0..4 {
        append(&table, n, n + 1).await;
    }
    let orphans = staged(&table, rows(90, 92)).await;
    lab.clock.advance(2 * DAY);
    let old = table.current();
    lab.compact(&table, Eagerness::Everything).await;
    lab.clock.advance(DAY / 2);
    // The files are old, but were part of the table until half a day ago.
    let report = lab.vacuum(&table, DAY).await;
    assert_eq!((report.files_deleted, report.files_kept), (1, 5), "the orphan of a crashed writer goes");
    assert_eq!(lab.numbers(old.provider()).await, [0, 1, 2, 3]);
    drop(orphans);
    let young = staged(&table, rows(95, 96)).await;
    assert_eq!(lab.vacuum(&table, 3 * DAY).await.files_deleted, 0);
    lab.clock.advance(DAY / 2 + Duration::from_secs(1));
    let report = lab.vacuum(&table, DAY).await;
    // The store's time of the new files is the machine's: long ago by the clock of this test.
    assert_eq!((report.files_deleted, report.files_kept), (5, 1));
    table.discard(young).await;
    assert_eq!(lab.numbers(table.current().provider()).await, [0, 1, 2, 3]);
    assert_eq!(by_delta_rs(&table).await.1.len(), 1);
    assert_eq!(lab.vacuum(&table, DAY).await.files_deleted, 0);
}

#[tokio::test]
async fn files_in_flight_and_in_doubt_are_never_deleted() {
    let lab = lab().await;
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    let in_flight = staged(&table, rows(0, 2)).await;
    assert_eq!(lab.vacuum(&table, Duration::from_secs(3600)).await.files_deleted, 0);
    table.commit(request(in_flight)).await.unwrap();
    let in_doubt = staged(&table, rows(2, 3)).await;
    table.in_doubt.lock().extend(in_doubt.iter().map(|file| file.add.path.clone()));
    lab.clock.advance(9 * DAY);
    assert_eq!(lab.vacuum(&table, DAY).await.files_deleted, 0);
    table.commit(request(in_doubt)).await.unwrap();
    assert_eq!(lab.numbers(table.current().provider()).await, [0, 1, 2]);
}

#[tokio::test]
async fn retention_takes_whole_partitions() {
    let lab = lab().await;
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    append(&table, 0, 72).await;
    let before = table.current();
    // Rows are of the hours 0 to 71 of 1970: three days.
    let day = |days: i64| Timestamp(days * 24 * HOUR);
    let at = |table: &Arc<Table>, now: Timestamp| {
        let age = table.parts.clock.now().since(now);
        let table = table.clone();
        async move { table.expire(age).await.unwrap() }
    };
    assert_eq!(at(&table, Timestamp(day(1).micros() - 1)).await.rows, 0);
    let report = at(&table, Timestamp(day(2).micros() - 1)).await;
    assert_eq!((report.rows, report.files_in, report.committed), (24, 1, true));
    assert_eq!(lab.numbers(table.current().provider()).await, (24..72).collect::<Vec<_>>());
    assert!(table.current().rows_removed_since(&before));
    assert_eq!(lab.numbers(before.provider()).await.len(), 72, "readers keep what they opened");
    let newest = &table.history(1).await.unwrap()[0];
    assert_eq!((newest.operation.as_str(), &newest.info["rows"]), ("RETENTION", &serde_json::json!(24)));

    let plain =
        lab.lake.create_table(&TableSpec { path: "plain".to_owned(), partition_by: Vec::new(), ..clicks() }).await;
    let plain = plain.unwrap();
    for n in 0..3 {
        append(&plain, n, n + 1).await;
    }
    let report = at(&plain, Timestamp(HOUR + 1)).await;
    assert_eq!((report.rows, report.files_in), (2, 2));
}

#[tokio::test]
async fn a_cleaned_log_is_still_a_whole_one() {
    let lab = lab().await;
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    let stale = open_lake(&lab.folder, &config()).await.open_table("clicks").await.unwrap();
    for n in 0..205 {
        let files = if n % 50 == 0 { staged(&table, rows(n, n + 1)).await } else { Vec::new() };
        table.commit(as_transaction(request(files), "app", n)).await.unwrap();
    }
    lab.lake.close(Duration::from_secs(60)).await;
    assert_eq!(lab.clean_log(&table, DAY).await, 0, "everything is young");
    lab.clock.advance(2 * DAY);
    assert_eq!(lab.clean_log(&table, DAY).await, 201, "commits 0 to 199 and the checkpoint of 100");
    let expected = [0, 50, 100, 150, 200];
    assert_eq!(lab.numbers(stale.refresh().await.unwrap().provider()).await, expected, "one that slept loads again");
    append(&table, 205, 206).await;
    let reopened = open_lake(&lab.folder, &config()).await.open_table("clicks").await.unwrap();
    assert_eq!(reopened.current().transaction_version("app"), Some(204));
    assert_eq!(lab.numbers(reopened.current().provider()).await.len(), 6);
    assert_eq!(reopened.history(1000).await.unwrap().len(), 7);
    assert_eq!(by_delta_rs(&table).await, (206, by_delta_rs(&reopened).await.1));
    assert_eq!(lab.vacuum(&reopened, DAY).await.files_deleted, 0);
}

#[tokio::test]
async fn checkpoints_forget_files_that_compaction_removed() {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    let lab = lab().await;
    lab.clock.set(lab.clock.now().minus(2 * HOURS));
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    for n in 0..8 {
        append(&table, n, n + 1).await;
    }
    lab.compact(&table, Eagerness::Everything).await;
    let version = table.current().version().0;
    for n in version..100 {
        table.commit(as_transaction(request(Vec::new()), "app", i64::try_from(n).unwrap())).await.unwrap();
    }
    lab.lake.close(Duration::from_secs(60)).await;
    let path = lab.folder.path().join("tables/clicks/_delta_log/00000000000000000100.checkpoint.parquet");
    let file = std::fs::File::open(path).unwrap();
    let batches = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let (mut added, mut removed) = (0, 0);
    for batch in batches {
        let batch = batch.unwrap();
        let count = |name: &str| batch.column_by_name(name).map_or(0, |column| column.len() - column.null_count());
        added += count("add");
        removed += count("remove");
    }
    assert_eq!((added, removed), (1, 0));
}

/// Bounded state: thousands of one-row commits, few files, rows all there, and what it cost is told.
#[tokio::test]
async fn thousands_of_tiny_commits_leave_few_files() {
    const COUNT: i64 = 3_000;
    let lab = lab().await;
    let spec = TableSpec { bloom_columns: Vec::new(), event_key: None, ..clicks() };
    let table = lab.lake.create_table(&spec).await.unwrap();
    let maintainer = lab.maintainer();
    let (mut most, mut bytes) = (0, 0);
    for n in 0..COUNT {
        // Two partitions; the hour of the day comes again and again.
        bytes += append(&table, n % 48, n % 48 + 1).await;
        most = most.max(table.current().file_count());
        if n % 50 == 49 {
            while maintainer.turn(&subject(None), &CancellationToken::new()).await {}
        }
    }
    assert!(most < 200, "{most} files at once");
    assert_eq!(table.current().row_count(), COUNT as u64);
    let (from_zero, rest) = (COUNT / 48, COUNT % 48);
    let expected = from_zero * (47 * 48 / 2) + (0..rest).sum::<i64>();
    assert_eq!(query(&lab.lake, &table, "SELECT sum(price) FROM t").await, [expected.to_string()]);
    let report = lab.lake.board().of("clicks", Work::Compact);
    assert!(report.cost.files_in >= COUNT as u64 && report.errors == 0 && !report.is_running, "{report:?}");
    assert!(report.cost.bytes_in < 3 * bytes, "{} bytes were rewritten, {bytes} written", report.cost.bytes_in);
}

#[tokio::test]
async fn a_turn_does_what_is_due_and_says_so() {
    let lab = lab().await;
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    append(&table, 0, 30).await;
    let maintainer = lab.maintainer();
    let cancel = CancellationToken::new();
    let expiring = subject(Some(DAY));
    let turn = || maintainer.turn(&expiring, &cancel);
    assert!(!turn().await);
    let runs = |work| lab.lake.board().of("clicks", work).runs;
    assert_eq!(table.current().row_count(), 0, "1970 is past the retention");
    let all = [Work::Retention, Work::Vacuum, Work::LogCleanup];
    assert_eq!(all.map(runs), [1, 1, 1]);
    turn().await;
    assert_eq!(all.map(runs), [1, 1, 1], "not due yet");
    lab.clock.advance(2 * DAY);
    turn().await;
    assert_eq!(all.map(runs), [2, 2, 2]);
    assert_eq!(lab.lake.board().of("clicks", Work::Vacuum).cost.files_in, 2);
    assert!(!maintainer.turn(&Subject { path: "absent".to_owned(), retention: None }, &cancel).await);

    let hour = |hours: u64| Some(Span::from_secs(hours * 3600));
    assert!(maintainer.vacuum("clicks", hour(1), &cancel).await.is_ok());
    let error = maintainer.vacuum("clicks", Some(Span::from_secs(3599)), &cancel).await.unwrap_err();
    assert!(error.to_string().contains("shorter than maintenance.retain_min = '1 hour'"), "{error}");
    maintainer.forget_all_but(&[]);
    assert!(lab.lake.board().all().is_empty());
}

#[tokio::test]
async fn damage_is_told_and_left_alone() {
    let lab = lab().await;
    let table = lab.lake.create_table(&clicks()).await.unwrap();
    for n in 0..4 {
        append(&table, n, n + 1).await;
    }
    let lost = table.file_path(relative(&table)[0].as_ref());
    table.parts.store.delete(&lost).await.unwrap();
    let maintainer = lab.maintainer();
    assert!(!maintainer.turn(&subject(None), &CancellationToken::new()).await);
    let report = lab.lake.board().of("clicks", Work::Compact);
    assert_eq!((report.errors, report.is_running), (1, false));
    assert!(report.last_error.is_some_and(|error| error.contains("not found") || error.contains("No such file")));
    assert!(report.next_due.is_some());
    assert_eq!(table.current().version().0, 4);
}

#[tokio::test]
async fn what_vacuum_must_leave_alone_cannot_be_set_away() {
    let lab = lab().await;
    let refused = |config: MaintenanceConfig| {
        let maintainer = Maintainer::new(lab.lake.clone(), config, lab.clock.clone(), lab.context.task_ctx());
        maintainer.err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(refused(MaintenanceConfig { retain_min: Span::from_secs(600), ..maintenance() }), "");
    let error = refused(MaintenanceConfig { retain_min: Span::from_secs(599), ..maintenance() });
    assert!(error.contains("maintenance.retain_min (599 seconds) must be at least 10 minutes"), "{error}");
    let error = refused(MaintenanceConfig { vacuum_retention: Span::from_secs(1800), ..maintenance() });
    assert!(error.contains("must not be shorter than maintenance.retain_min (1 hour)"), "{error}");
}

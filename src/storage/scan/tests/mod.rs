//! Scans over small hand-made tables; random ones are in `property`.

mod property;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::util::pretty::pretty_format_batches;
use datafusion::physical_plan::common::collect as collect_stream;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext, col};
use serde_json::{Value, json};

use super::{LakeTable, configure_scans};
use crate::storage::TableSnapshot;
use crate::storage::index::FileIndex;
use crate::storage::index::fixture::{TestTable, add, metadata, spec};

/// One row of the fixture's columns.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub id: i64,
    pub country: Option<String>,
    pub k: Option<i64>,
    pub s: Option<String>,
    /// Microseconds.
    pub t: Option<i64>,
    /// Hundredths.
    pub d: Option<i64>,
}

/// The rows in the columns of the fixture; `country` is left out of files.
pub(super) fn batch(rows: &[Row], with_country: bool) -> RecordBatch {
    let decimals = rows.iter().map(|row| row.d.map(i128::from)).collect::<Decimal128Array>();
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(rows.iter().map(|row| Some(row.id)).collect::<Int64Array>())),
        ("k", Arc::new(rows.iter().map(|row| row.k).collect::<Int64Array>())),
        ("s", Arc::new(rows.iter().map(|row| row.s.clone()).collect::<StringArray>())),
        ("t", Arc::new(rows.iter().map(|row| row.t).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))),
        ("d", Arc::new(decimals.with_precision_and_scale(12, 2).unwrap())),
    ];
    if with_country {
        columns.insert(1, ("country", Arc::new(rows.iter().map(|row| row.country.clone()).collect::<StringArray>())));
    }
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, name != "id")))
        .unwrap()
}

/// Statistics as delta-rs writes them: times cut to milliseconds.
pub(super) fn stats(rows: &[Row]) -> Value {
    fn ends<T: Ord + Clone>(values: impl Iterator<Item = Option<T>> + Clone) -> (Option<T>, Option<T>) {
        (values.clone().flatten().min(), values.flatten().max())
    }
    let nulls = |missing: fn(&Row) -> bool| rows.iter().filter(|row| missing(row)).count();
    let id = ends(rows.iter().map(|row| Some(row.id)));
    let k = ends(rows.iter().map(|row| row.k));
    let s = ends(rows.iter().map(|row| row.s.clone()));
    let t = ends(rows.iter().map(|row| row.t));
    let d = ends(rows.iter().map(|row| row.d));
    let time = |micros: Option<i64>| {
        let time = micros.map(|micros| chrono::DateTime::from_timestamp_micros(micros).unwrap());
        time.map(|time| time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
    };
    let decimal = |hundredths: Option<i64>| hundredths.map(|hundredths| hundredths as f64 / 100.0);
    let mut stats = json!({
        "numRecords": rows.len(),
        "minValues": {"id": id.0, "k": k.0, "s": s.0, "t": time(t.0), "d": decimal(d.0)},
        "maxValues": {"id": id.1, "k": k.1, "s": s.1, "t": time(t.1), "d": decimal(d.1)},
        "nullCount": {
            "id": 0, "k": nulls(|r| r.k.is_none()), "s": nulls(|r| r.s.is_none()), "t": nulls(|r| r.t.is_none()),
            "d": nulls(|r| r.d.is_none()),
        },
    });
    for side in ["minValues", "maxValues"] {
        stats[side].as_object_mut().unwrap().retain(|_, value| !value.is_null());
    }
    stats
}

impl TestTable {
    /// Writes rows of one country as a file and gives its action.
    pub(super) async fn file(&self, encoded: &str, rows: &[Row], stats: &Value) -> Value {
        let size = self.put_parquet(encoded, &batch(rows, false)).await;
        let day = rows.first().and_then(|row| row.t).map(|t| chrono::DateTime::from_timestamp_micros(t).unwrap());
        let values = json!({
            "country": rows.first().and_then(|row| row.country.clone()),
            "t_day": day.map(|day| day.format("%Y-%m-%d").to_string()),
        });
        add(encoded, size, &values, stats)
    }

    /// The same, sorted by the table's columns and tagged so.
    async fn sorted_file(&self, encoded: &str, rows: &[Row]) -> Value {
        let mut action = self.file(encoded, rows, &stats(rows)).await;
        action["add"]["tags"] = json!({"adlake.sortedBy": "k,t"});
        action
    }
}

pub(super) fn session(table: &TestTable, partitions: usize) -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(partitions);
    configure_scans(config.options_mut());
    let context = SessionContext::new_with_config(config);
    context.register_object_store(table.root.store_url.as_ref(), table.root.store.clone());
    context
}

pub(super) fn frame(context: &SessionContext, index: &FileIndex) -> DataFrame {
    context.read_table(Arc::new(LakeTable::new(index))).unwrap()
}

pub(super) async fn ids(frame: DataFrame) -> Vec<i64> {
    let batches = frame.select_columns(&["id"]).unwrap().collect().await.unwrap();
    let ids = |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
    batches.iter().flat_map(ids).collect()
}

pub(super) async fn plan_text(frame: DataFrame) -> String {
    displayable(frame.create_physical_plan().await.unwrap().as_ref()).indent(true).to_string()
}

fn row(id: i64, k: i64, t: i64) -> Row {
    Row { id, country: Some("KR".to_owned()), k: Some(k), s: Some(format!("s{id}")), t: Some(t), d: Some(id) }
}

const DAY: i64 = 86_400_000_000;

#[tokio::test]
async fn times_prune_files_and_days() {
    let mut table = TestTable::create(spec()).await;
    let mut actions = Vec::new();
    for day in 0..10 {
        let rows = [row(2 * day, 1, day * DAY + 5), row(2 * day + 1, 2, (day + 1) * DAY - 1)];
        // Odd days have no statistics: their partition value must do.
        let known = if day % 2 == 0 { stats(&rows) } else { json!({"numRecords": 2}) };
        actions.push(table.file(&format!("{day}.parquet"), &rows, &known).await);
    }
    table.commit(actions).await;
    let index = table.load().await.unwrap();
    let context = session(&table, 2);
    let wanted = |from: i64, to: i64| {
        let frame = frame(&context, &index);
        let text = format!(
            "t >= arrow_cast({from}, 'Timestamp(Microsecond, Some(\"UTC\"))') AND t < arrow_cast({to}, 'Timestamp(Microsecond, Some(\"UTC\"))')"
        );
        let filter = frame.parse_sql_expr(&text).unwrap();
        frame.filter(filter).unwrap()
    };
    for (day, expected) in [(4, vec![9]), (5, vec![11])] {
        let last_hour = || wanted((day + 1) * DAY - 3_600_000_000, (day + 1) * DAY);
        assert_eq!(ids(last_hour()).await, expected);
        let plan = plan_text(last_hour()).await;
        assert!(plan.contains(&format!("file_groups={{1 group: [[tables/clicks/{day}.parquet]]}}")), "{plan}");
    }
    let plan = plan_text(wanted(20 * DAY, 21 * DAY)).await;
    assert!(plan.contains("EmptyExec"), "{plan}");
    assert!(ids(wanted(20 * DAY, 21 * DAY)).await.is_empty());
}

#[tokio::test]
async fn counts_and_extremes_come_from_statistics() {
    let mut table = TestTable::create(spec()).await;
    let null = Row { id: 3, ..Row::default() };
    let files = [vec![row(1, 10, 1_000_000), row(2, 20, 2_000_000)], vec![null], vec![row(4, 5, 3_000_000)]];
    let mut actions = Vec::new();
    for (number, rows) in files.iter().enumerate() {
        actions.push(table.file(&format!("{number}.parquet"), rows, &stats(rows)).await);
    }
    table.commit(actions).await;
    let index = table.load().await.unwrap();
    assert_eq!((index.file_count(), index.row_count()), (3, 4));
    // No store is registered: a plan that opened a file would fail.
    let context = SessionContext::new();
    use datafusion::functions_aggregate::expr_fn::{count, max, min};
    let aggregates =
        vec![count(col("id")), count(col("k")), min(col("k")), max(col("k")), max(col("country")), max(col("d"))];
    let frame = frame(&context, &index).aggregate(vec![], aggregates).unwrap();
    let batches = frame.clone().collect().await.unwrap();
    let shown = |column: &ArrayRef| arrow::util::display::array_value_to_string(column, 0).unwrap();
    let values: Vec<String> = batches[0].columns().iter().map(shown).collect();
    assert_eq!(values, ["4", "3", "5", "20", "KR", "0.04"]);

    // Text is cut in the log and times are cut to milliseconds, so these must be read.
    let frame = super::tests::frame(&context, &index);
    let read = frame.aggregate(vec![], vec![max(col("s"))]).unwrap();
    assert!(plan_text(read).await.contains("DataSourceExec"));
}

#[tokio::test]
async fn partition_values_and_paths_may_hold_anything() {
    let mut table = TestTable::create(spec()).await;
    let names = ["K/R", "a b%20c", "é=&?#", "100%", "{x:y}", "한국"];
    let mut actions = Vec::new();
    for (id, name) in names.iter().enumerate() {
        // As Hive names folders: the value encoded; the log encodes the path again.
        let folder: String =
            url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20");
        let encoded = format!("country={}/part.parquet", folder.replace('%', "%25"));
        let rows = [Row { country: Some((*name).to_owned()), ..row(id as i64, 1, 0) }];
        actions.push(table.file(&encoded, &rows, &stats(&rows)).await);
    }
    let rows = [Row { id: 99, ..Row::default() }];
    actions.push(table.file("country=__HIVE_DEFAULT_PARTITION__/part%20one.parquet", &rows, &stats(&rows)).await);
    table.commit(actions).await;
    let index = table.load().await.unwrap();
    let context = session(&table, 2);
    assert_eq!(ids(frame(&context, &index)).await.len(), 7);
    for (id, name) in names.iter().enumerate() {
        let one = frame(&context, &index).filter(col("country").eq(datafusion::prelude::lit(*name))).unwrap();
        assert_eq!(ids(one).await, vec![id as i64], "{name}");
    }
    let none = frame(&context, &index).filter(col("country").is_null()).unwrap();
    assert_eq!(ids(none).await, vec![99]);
}

#[tokio::test]
async fn columns_keep_their_order_and_hidden_ones_stay_hidden() {
    let mut table = TestTable::create(spec()).await;
    let rows = [row(1, 2, 3)];
    let action = table.file("a.parquet", &rows, &stats(&rows)).await;
    table.commit(vec![action]).await;
    let index = table.load().await.unwrap();
    let context = session(&table, 2);
    let frame = frame(&context, &index);
    let names: Vec<&str> = frame.schema().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["id", "country", "k", "s", "t", "d"]);
    let text = pretty_format_batches(&frame.collect().await.unwrap()).unwrap().to_string();
    assert!(text.contains("| 1  | KR      | 2 | s1 | 1970-01-01T00:00:00.000003Z | 0.01 |"), "{text}");
}

#[tokio::test]
async fn files_without_an_added_column_give_nulls() {
    let mut table = TestTable::create(spec()).await;
    let rows = [row(1, 2, 3)];
    let old = table.file("old.parquet", &rows, &stats(&rows)).await;
    table.commit(vec![old]).await;
    let before = table.load().await.unwrap();

    let mut fields = table.spec.columns.fields().to_vec();
    fields.push(Arc::new(Field::new("device", DataType::Utf8, true)));
    table.spec.columns = Arc::new(Schema::new(fields));
    table.commit(vec![metadata(&table.spec)]).await;
    let new_rows = [row(2, 2, 3)];
    let mut wide = batch(&new_rows, false);
    let mut columns: Vec<(String, ArrayRef)> =
        wide.schema().fields().iter().zip(wide.columns()).map(|(f, c)| (f.name().clone(), c.clone())).collect();
    columns.push(("device".to_owned(), Arc::new(StringArray::from(vec!["ios"]))));
    wide = RecordBatch::try_from_iter(columns).unwrap();
    let size = table.put_parquet("new.parquet", &wide).await;
    let mut known = stats(&new_rows);
    known["nullCount"]["device"] = json!(0);
    known["minValues"]["device"] = json!("ios");
    known["maxValues"]["device"] = json!("ios");
    table.commit(vec![add("new.parquet", size, &json!({"country": "KR", "t_day": "1970-01-01"}), &known)]).await;

    let index = before.advance().await.unwrap();
    let context = session(&table, 2);
    for (text, expected) in [("device IS NULL", 1), ("device = 'ios'", 2), ("device <> 'android'", 2)] {
        let frame = frame(&context, &index);
        let filter = frame.parse_sql_expr(text).unwrap();
        assert_eq!(ids(frame.filter(filter).unwrap()).await, vec![expected], "{text}");
    }
    use datafusion::functions_aggregate::expr_fn::count;
    let counted =
        frame(&context, &index).aggregate(vec![], vec![count(col("device"))]).unwrap().collect().await.unwrap();
    assert_eq!(counted[0].column(0).as_primitive::<Int64Type>().value(0), 1);
    // The old version still has the old columns.
    assert_eq!(frame(&context, &before).schema().fields().len(), 6);
}

#[tokio::test]
async fn sorted_files_that_do_not_overlap_need_no_sort() {
    let mut table = TestTable::create(spec()).await;
    let null = Row { k: None, ..row(9, 0, 9) };
    let files = [
        ("c", vec![row(5, 30, 1), row(6, 40, 1), null]),
        ("a", vec![row(1, 1, 1), row(2, 10, 7)]),
        ("b", vec![row(3, 10, 7), row(4, 20, 1)]),
    ];
    let mut actions = Vec::new();
    for (name, rows) in &files {
        actions.push(table.sorted_file(name, rows).await);
    }
    table.commit(actions).await;
    let index = table.load().await.unwrap();
    for partitions in [1, 2, 4] {
        let context = session(&table, partitions);
        let sorted = || frame(&context, &index).sort(vec![col("k").sort(true, false)]).unwrap();
        assert_eq!(ids(sorted()).await, vec![1, 2, 3, 4, 5, 6, 9]);
        let plan = plan_text(sorted()).await;
        assert!(!plan.contains("SortExec"), "{plan}");
    }

    // A file in the middle that ends with nulls breaks the order of one group.
    let middle = table.sorted_file("m", &[row(7, 25, 1), Row { k: None, ..row(8, 0, 9) }]).await;
    table.commit(vec![middle]).await;
    let index = index.advance().await.unwrap();
    let context = session(&table, 1);
    let sorted = || frame(&context, &index).sort(vec![col("k").sort(true, false)]).unwrap();
    let order = ids(sorted()).await;
    assert_eq!(order[..7], [1, 2, 3, 4, 7, 5, 6]);
    assert!(plan_text(sorted()).await.contains("SortExec"));
    // With two groups there is room for it.
    let context = session(&table, 2);
    let sorted = || frame(&context, &index).sort(vec![col("k").sort(true, false)]).unwrap();
    assert_eq!(ids(sorted()).await[..7], [1, 2, 3, 4, 7, 5, 6]);
    assert!(!plan_text(sorted()).await.contains("SortExec"));
}

#[tokio::test]
async fn a_limit_opens_no_more_files_than_it_needs() {
    let mut table = TestTable::create(spec()).await;
    let mut actions = Vec::new();
    for number in 0..6 {
        let rows = [row(2 * number, 1, 1), row(2 * number + 1, 1, 1)];
        actions.push(table.file(&format!("{number}.parquet"), &rows, &stats(&rows)).await);
    }
    table.commit(actions).await;
    let index = table.load().await.unwrap();
    let context = session(&table, 1);
    let limited = || frame(&context, &index).limit(0, Some(3)).unwrap();
    let plan = plan_text(limited()).await;
    assert_eq!(plan.matches(".parquet").count(), 2, "{plan}");
    assert_eq!(ids(limited()).await.len(), 3);
}

#[tokio::test]
async fn new_files_alone_can_be_read() {
    let mut table = TestTable::create(spec()).await;
    let mut snapshots = Vec::new();
    for number in 0..3 {
        let rows = [row(number, 1, number)];
        let action = table.file(&format!("{number}.parquet"), &rows, &stats(&rows)).await;
        table.commit(vec![action]).await;
        snapshots.push(Arc::new(TableSnapshot::new(table.load().await.unwrap())));
    }
    let context = session(&table, 2);
    let [first, second, third] = snapshots.as_slice() else { panic!("three commits") };
    let added = third.provider_of_files_added_since(first).unwrap();
    assert_eq!(ids(context.read_table(added).unwrap().sort(vec![col("id").sort(true, false)]).unwrap()).await, [1, 2]);
    assert!(second.provider_of_files_added_since(third).is_none());
    assert_eq!(ids(context.read_table(second.provider()).unwrap()).await.len(), 2);
}

#[tokio::test]
async fn explain_analyze_tells_what_was_pruned() {
    let mut table = TestTable::create(spec()).await;
    let mut actions = Vec::new();
    for number in 0..5 {
        let rows = [row(number, number, 1)];
        actions.push(table.file(&format!("{number}.parquet"), &rows, &stats(&rows)).await);
    }
    table.commit(actions).await;
    let index = table.load().await.unwrap();
    let context = session(&table, 1);
    let one = frame(&context, &index).filter(col("k").eq(datafusion::prelude::lit(3_i64))).unwrap();
    let text = pretty_format_batches(&one.explain(false, true).unwrap().collect().await.unwrap()).unwrap().to_string();
    for metric in ["table_version=1", "table_files=5", "table_files_pruned=4"] {
        assert!(text.contains(metric), "{metric} is not in\n{text}");
    }
}

/// Without [`configure_scans`] DataFusion 55 lets a partition read files of its neighbour's group when a limit was pushed
/// into the scan, though the order of each group is declared: `ORDER BY … LIMIT` then merges streams out of order.
#[tokio::test]
async fn a_limit_leaves_each_partition_in_its_declared_order() {
    let mut table = TestTable::create(spec()).await;
    // One group is the short files, one after another; the other is the file that overlaps all of them.
    let files = [
        ("a", [row(1, 1, 1), row(2, 10, 1)]),
        ("b", [row(3, 2, 1), row(4, 100, 1)]),
        ("c", [row(5, 11, 1), row(6, 20, 1)]),
        ("d", [row(7, 21, 1), row(8, 30, 1)]),
    ];
    let mut actions = Vec::new();
    for (name, rows) in &files {
        actions.push(table.sorted_file(name, rows).await);
    }
    table.commit(actions).await;
    let index = table.load().await.unwrap();
    let context = session(&table, 2);
    let first = || frame(&context, &index).sort(vec![col("k").sort(true, false)]).unwrap().limit(0, Some(7)).unwrap();
    assert_eq!(ids(first()).await, [1, 3, 2, 5, 6, 7, 8]);

    let plan = || async { scan_of(&first().create_physical_plan().await.unwrap()) };
    let scan = plan().await;
    assert_eq!(scan.properties().output_partitioning().partition_count(), 2);
    assert!(scan.properties().output_ordering().is_some());
    assert!(are_sorted(&scan, &context).await);
    // When this fails, DataFusion has learned it, and the setting can go.
    let state = context.state_ref();
    state.write().config_mut().options_mut().execution.enable_file_stream_work_stealing = true;
    assert!(!are_sorted(&plan().await, &context).await, "work stealing keeps declared orders now");
}

fn scan_of(plan: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    plan.children().first().map_or_else(|| plan.clone(), |child| scan_of(child))
}

/// Runs the partitions one after another, the last first, and looks at `k`.
async fn are_sorted(scan: &Arc<dyn ExecutionPlan>, context: &SessionContext) -> bool {
    let mut sorted = true;
    for partition in [1, 0] {
        let batches = collect_stream(scan.execute(partition, context.task_ctx()).unwrap()).await.unwrap();
        let keys =
            |batch: &RecordBatch| batch.column_by_name("k").unwrap().as_primitive::<Int64Type>().values().to_vec();
        let keys: Vec<i64> = batches.iter().flat_map(keys).collect();
        sorted &= keys.is_sorted();
    }
    sorted
}

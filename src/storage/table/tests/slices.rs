//! Rows that come in slices: every file is in order, whatever came.

use datafusion::prelude::{col, lit};
use futures::FutureExt;
use object_store::ObjectStoreExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;

use super::*;
use crate::storage::Slice;
use crate::storage::scan::{TimeWindow, quantiles, rows_left, time_ranges};

fn slices(batches: Vec<RecordBatch>) -> Vec<Slice> {
    batches.into_iter().map(|batch| async move { Ok(stream_of(vec![batch])) }.boxed() as Slice).collect()
}

fn context() -> Arc<TaskContext> {
    Arc::new(TaskContext::default())
}

/// Lines of each file, ad and number.
async fn written(table: &Table, files: &[StagedFile]) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for file in files {
        let bytes = table.parts.store.get(&table.file_path(&file.add.path)).await.unwrap().bytes().await.unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        let batches: Vec<RecordBatch> = reader.map(|batch| batch.unwrap().project(&[2, 3]).unwrap()).collect();
        all.push(lines(&batches));
    }
    all
}

#[tokio::test]
async fn slices_in_order_go_on_in_one_file_others_begin_anew() {
    let Fixture { lake, .. } = fixture().await;
    let table = lake.create_table(&TableSpec { partition_by: Vec::new(), ..clicks() }).await.unwrap();
    let by_ad = |from: &str, to: &str| {
        let all = rows(0, 40);
        let ads = all.column(2).as_any().downcast_ref::<StringArray>().unwrap().clone();
        let kept: arrow::array::BooleanArray = ads
            .iter()
            .map(|ad| Some(ad.map_or(to.is_empty(), |ad| ad >= from && (to.is_empty() || ad < to))))
            .collect();
        arrow::compute::filter_record_batch(&all, &kept).unwrap()
    };
    let whole = written(&table, &staged(&table, rows(0, 40)).await).await;
    let parts = || [by_ad("", "ad3"), by_ad("ad3", "ad3"), by_ad("ad3", "ad7"), by_ad("ad7", "")];
    let files = table.write_slices(slices(parts().to_vec()), context()).await.unwrap();
    assert_eq!(written(&table, &files).await, whole, "as if they had been sorted together");
    let [first, empty, second, third] = parts();
    let files = table.write_slices(slices(vec![second, first, empty, third]), context()).await.unwrap();
    assert_eq!(files.len(), 2, "the first slice belongs before the second");
    let mut together: Vec<String> = written(&table, &files).await.concat();
    together.sort();
    let mut expected = whole.concat();
    expected.sort();
    assert_eq!(together, expected);
    for file in written(&table, &files).await {
        let key = |line: &String| {
            let (ad, number) = line.rsplit_once(' ').unwrap_or(("", line));
            (ad.is_empty(), ad.to_owned(), number.parse::<i64>().unwrap())
        };
        assert!(file.iter().map(key).is_sorted(), "{file:?}");
    }
    assert_eq!(table.write_slices(Vec::new(), context()).await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_slice_that_fails_leaves_no_file() {
    let Fixture { lake, folder } = fixture().await;
    let table = lake.create_table(&clicks()).await.unwrap();
    let mut slices = slices(vec![rows(0, 100), rows(100, 200)]);
    let failed = || datafusion::error::DataFusionError::Execution("no more".to_owned());
    slices.push(async move { Err(failed()) }.boxed());
    let error = table.write_slices(slices, context()).await.unwrap_err();
    assert!(crate::base::chain(&error).contains("no more"), "{error}");
    assert_eq!(data_files(&folder), 0);
}

#[tokio::test]
async fn a_slice_too_large_for_memory_is_sorted_by_the_engine() {
    use datafusion::execution::memory_pool::{FairSpillPool, MemoryPool};
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    let Fixture { lake, .. } = fixture().await;
    let table = lake.create_table(&TableSpec { partition_by: Vec::new(), ..clicks() }).await.unwrap();
    let pool: Arc<dyn MemoryPool> = Arc::new(FairSpillPool::new(48 << 20));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool.clone()).build_arc().unwrap();
    let limited = Arc::new(TaskContext::default().with_runtime(runtime));
    let many: Vec<RecordBatch> = (0..60).map(|n| rows(n * 5_000, (n + 1) * 5_000)).collect();
    let slice = async move { Ok(stream_of(many)) }.boxed() as Slice;
    let files = table.write_slices(vec![slice], limited).await.unwrap();
    assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), 300_000);
    for file in written(&table, &files).await {
        let ads: Vec<&str> = file.iter().map(|line| line.rsplit_once(' ').map_or("~", |(ad, _)| ad)).collect();
        assert!(ads.is_sorted());
    }
    assert_eq!(pool.reserved(), 0, "memory is given back");
}

#[tokio::test]
async fn parts_and_times_of_a_table_are_known_from_its_files() {
    let Fixture { lake, .. } = fixture().await;
    let table = lake.create_table(&clicks()).await.unwrap();
    let files = staged(&table, rows(0, 24 * 20)).await;
    table.commit(request(files)).await.unwrap();
    let provider = table.snapshot().await.unwrap().provider();
    let mut times: Vec<_> =
        time_ranges(provider.as_ref(), "event_time").iter().map(|range| (range.earliest, range.rows)).collect();
    times.sort();
    assert_eq!(times.len(), 20);
    assert_eq!(times[1], (Some(Timestamp(24 * HOUR)), Some(24)));
    let day = |n: i64| datafusion::common::ScalarValue::TimestampMicrosecond(Some(n * 24 * HOUR), Some("UTC".into()));
    let filter = col("event_time").lt(lit(day(3)));
    let state = SessionContext::new().state();
    assert_eq!(
        rows_left(provider.as_ref(), &state, &[filter]),
        Some(24 * 3),
        "files are told apart by their statistics"
    );
    assert_eq!(rows_left(provider.as_ref(), &state, &[]), Some(24 * 20));
    // Each file is one page: any part would read all of them.
    assert_eq!(quantiles(provider.as_ref(), "ad_id", None, 10).await.unwrap(), Some(Vec::new()));
    let memory = datafusion::datasource::MemTable::try_new(clicks().columns, vec![vec![]]).unwrap();
    assert_eq!(quantiles(&memory, "ad_id", None, 10).await.unwrap(), None);
    assert_eq!(rows_left(&memory, &state, &[]), None);

    let table =
        lake.create_table(&TableSpec { path: "long".to_owned(), partition_by: Vec::new(), ..clicks() }).await.unwrap();
    let (first, second) =
        ((0..10).map(|n| rows(n * 5_000, n * 5_000 + 5_000)), (10..20).map(|n| rows(n * 5_000, n * 5_000 + 5_000)));
    for batches in [first.collect::<Vec<_>>(), second.collect()] {
        table.commit(request(table.write_files(stream_of(batches), unsorted()).await.unwrap())).await.unwrap();
    }
    // Two files of five pages each.
    let provider = table.snapshot().await.unwrap().provider();
    let points = quantiles(provider.as_ref(), "ad_id", None, 10_000).await.unwrap().unwrap();
    assert!(
        (2..10).contains(&points.len())
            && points.is_sorted_by(|left, right| left.partial_cmp(right).is_some_and(|order| order.is_lt())),
        "{points:?}"
    );
    let late = TimeWindow { column: "event_time".to_owned(), from: Some(Timestamp(60_000 * HOUR)), to: None };
    let points = quantiles(provider.as_ref(), "ad_id", Some(&late), 20_000).await.unwrap().unwrap();
    assert!((1..10).contains(&points.len()), "{points:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// The order of the byte form is that of DataFusion's sort.
    #[test]
    fn sorting_by_bytes_is_sorting(keys in proptest::collection::vec((proptest::option::of("[ab]{0,20}"), -3_i64..3), 0..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (by_slices, by_engine) = runtime.block_on(async {
            let Fixture { lake, .. } = fixture().await;
            let table = lake.create_table(&clicks()).await.unwrap();
            let numbers = || 0..keys.len() as i64;
            let columns: Vec<ArrayRef> = vec![
                Arc::new(StringArray::from_iter_values(numbers().map(|n| format!("e{n}")))),
                Arc::new(TimestampMicrosecondArray::from_iter_values(keys.iter().map(|(_, at)| at * 8 * HOUR)).with_timezone("UTC")),
                Arc::new(StringArray::from_iter(keys.iter().map(|(ad, _)| ad.clone()))),
                // What the order leaves open is not compared.
                Arc::new(Int64Array::from_iter_values(keys.iter().map(|(_, at)| *at))),
            ];
            let batch = RecordBatch::try_new(clicks().columns, columns).unwrap();
            let by_slices = table.write_slices(slices(vec![batch.clone()]), context()).await.unwrap();
            let by_engine = staged(&table, batch).await;
            (written(&table, &by_slices).await, written(&table, &by_engine).await)
        });
        prop_assert_eq!(by_slices, by_engine);
    }
}

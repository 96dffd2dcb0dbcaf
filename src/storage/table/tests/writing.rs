//! Written files: sorted, partitioned, with statistics, page index and bloom filters.

use arrow::compute::concat_batches;
use object_store::ObjectStoreExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;

async fn parquet(table: &Table, file: &StagedFile) -> ParquetRecordBatchReaderBuilder<bytes::Bytes> {
    let path = table.file_path(&file.add.path);
    let bytes = table.parts.store.get(&path).await.unwrap().bytes().await.unwrap();
    assert_eq!(bytes.len() as u64, file.bytes);
    ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap()
}

async fn contents(table: &Table, file: &StagedFile) -> RecordBatch {
    let reader = parquet(table, file).await.build().unwrap();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

#[tokio::test]
async fn one_sorted_file_per_day_with_statistics() {
    let Fixture { lake, .. } = fixture().await;
    let table = lake.create_table(&clicks()).await.unwrap();
    let files = staged(&table, rows(-5, 30)).await;
    let days: Vec<_> = files.iter().map(|file| file.add.partition_values["event_time_day"].clone().unwrap()).collect();
    assert_eq!(days, ["1969-12-31", "1970-01-01", "1970-01-02"]);
    assert_eq!(files.iter().map(|file| file.rows).collect::<Vec<_>>(), [5, 24, 6]);
    assert!(files[1].add.path.starts_with("event_time_day=1970-01-01/part-"), "{}", files[1].add.path);
    assert_eq!(files[1].add.tags[crate::storage::spec::SORTED_BY_TAG], "ad_id,event_time");
    let stats: serde_json::Value = serde_json::from_str(&files[1].add.stats).unwrap();
    assert_eq!(
        stats,
        serde_json::json!({
            "numRecords": 24,
            "minValues": {"event_id": "e0", "event_time": "1970-01-01T00:00:00.000000Z", "ad_id": "ad0", "price": 0},
            "maxValues": {"event_id": "e9", "event_time": "1970-01-01T23:00:00.000000Z", "ad_id": "ad9", "price": 23},
            "nullCount": {"event_id": 0, "event_time": 0, "ad_id": 3, "price": 0},
        })
    );
    let written = contents(&table, &files[1]).await;
    let shown = lines(&[written.project(&[2, 3]).unwrap()]);
    let mut expected: Vec<(Option<String>, i64)> =
        (0..24).map(|n| ((n % 10 != 3).then(|| format!("ad{}", (n * 7) % 10)), n)).collect();
    expected.sort_by_key(|(ad, n)| (ad.is_none(), ad.clone(), *n));
    let expected: Vec<_> = expected.into_iter().map(|(ad, n)| format!("{} {n}", ad.unwrap_or_default())).collect();
    assert_eq!(shown, expected.iter().map(|line| line.trim_start().to_owned()).collect::<Vec<_>>());
}

#[tokio::test]
async fn files_carry_blooms_page_index_and_order() {
    let Fixture { lake, .. } = fixture().await;
    let table = lake.create_table(&clicks()).await.unwrap();
    let files = staged(&table, rows(0, 24)).await;
    let metadata = parquet(&table, &files[0]).await.metadata().clone();
    let group = metadata.row_group(0);
    let bloom: Vec<bool> = group.columns().iter().map(|column| column.bloom_filter_offset().is_some()).collect();
    assert_eq!(bloom, [true, false, true, false]);
    assert!(group.columns().iter().all(|column| column.column_index_offset().is_some()));
    let order: Vec<_> = group.sorting_columns().unwrap().iter().map(|column| column.column_idx).collect();
    assert_eq!(order, [2, 1]);
    assert!(files[0].bytes < 10_000, "24 rows took {} bytes", files[0].bytes);
}

#[tokio::test]
async fn large_input_is_sorted_by_the_engine_and_split() {
    let folder = tempfile::tempdir().unwrap();
    let config = StorageConfig { row_group_rows: 20_000, target_file_size: ByteSize(200_000), ..config() };
    let lake = open_lake(&folder, &config).await;
    let table = lake.create_table(&TableSpec { partition_by: Vec::new(), ..clicks() }).await.unwrap();
    let batches: Vec<_> = (0..40).map(|n| rows(n * 5_000, (n + 1) * 5_000)).collect();
    let files = table.write_files(stream_of(batches), unsorted()).await.unwrap();
    assert!(files.len() > 1, "no roll-over");
    assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), 200_000);
    for file in &files {
        let groups = parquet(&table, file).await.metadata().row_groups().iter().map(|group| group.num_rows()).max();
        assert!(groups.unwrap() <= 20_000);
    }
    table.commit(request(files)).await.unwrap();
    let sql = "SELECT count(*), count(DISTINCT event_id), sum(price), count(ad_id) FROM t";
    assert_eq!(query(&lake, &table, sql).await, ["200000 200000 19999900000 180000"]);
    let sql = "SELECT event_id FROM t WHERE ad_id = 'ad7' AND price < 100 ORDER BY price";
    assert_eq!(query(&lake, &table, sql).await[..2], ["e1", "e11"]);
}

#[tokio::test]
async fn every_storable_type_survives() {
    use arrow::array::{BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int8Array, ListArray};
    let Fixture { lake, .. } = fixture().await;
    let list = ListArray::from_iter_primitive::<arrow::datatypes::Int64Type, _, _>([
        Some(vec![Some(1), None]),
        None,
        Some(vec![]),
    ]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i8", Arc::new(Int8Array::from(vec![Some(-128), None, Some(127)]))),
        ("yes", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("f", Arc::new(Float64Array::from(vec![Some(1.5), None, Some(f64::INFINITY)]))),
        (
            "money",
            Arc::new(
                Decimal128Array::from(vec![Some(-105), None, Some(i128::from(i64::MAX) * 100)])
                    .with_precision_and_scale(30, 2)
                    .unwrap(),
            ),
        ),
        ("day", Arc::new(Date32Array::from(vec![Some(-1), None, Some(20_000)]))),
        ("bytes", Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\xff\x00"), None, Some(b"")]))),
        ("ntz", Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None, Some(1_700_000_000_000_001)]))),
        ("list", Arc::new(list)),
    ];
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap();
    let spec = TableSpec {
        columns: batch.schema(),
        event_time: None,
        event_key: None,
        partition_by: Vec::new(),
        sort_by: Vec::new(),
        bloom_columns: Vec::new(),
        ..clicks()
    };
    let table = lake.create_table(&spec).await.unwrap();
    let files = staged(&table, batch.clone()).await;
    let stats: serde_json::Value = serde_json::from_str(&files[0].add.stats).unwrap();
    assert_eq!(stats["maxValues"]["ntz"], "2023-11-14T22:13:20.000001");
    assert!(files[0].add.stats.contains(r#""money":9223372036854775807.00"#), "{}", files[0].add.stats);
    assert_eq!(stats["nullCount"]["yes"], 1);
    table.commit(request(files)).await.unwrap();
    assert_eq!(query(&lake, &table, "SELECT * FROM t").await, lines(&[batch]));
    assert_eq!(by_delta_rs(&table).await.0, 1);
}

#[tokio::test]
async fn casts_views_but_never_loses_values() {
    let Fixture { lake, folder } = fixture().await;
    let table = lake.create_table(&clicks()).await.unwrap();
    let with_price = |price: ArrayRef| {
        let plain = rows(0, 2);
        let views = arrow::compute::cast(plain.column(0), &DataType::Utf8View).unwrap();
        let columns = vec![views, plain.column(1).clone(), plain.column(2).clone(), price];
        let fields = ["event_id", "event_time", "ad_id", "price"];
        let named = fields.into_iter().zip(columns).map(|(name, column)| (name, column, true));
        RecordBatch::try_from_iter_with_nullable(named).unwrap()
    };
    let good = with_price(Arc::new(StringArray::from(vec!["7", "8"])));
    assert_eq!(staged(&table, good).await[0].rows, 2);
    let before = data_files(&folder);
    let bad = with_price(Arc::new(StringArray::from(vec!["7", "x"])));
    let error = table.write_files(stream_of(vec![bad]), unsorted()).await.unwrap_err();
    assert!(error.to_string().contains("column 'price'"), "{error}");
    assert_eq!(data_files(&folder), before, "a failed write left files");
}

#[tokio::test]
async fn wrong_rows_are_refused_by_column() {
    let Fixture { lake, folder } = fixture().await;
    let table = lake.create_table(&clicks()).await.unwrap();
    let mut columns = rows(0, 2).columns().to_vec();
    columns[0] = Arc::new(StringArray::from(vec![Some("e"), None]));
    let names = ["event_id", "event_time", "ad_id", "price"];
    let nullable = names.into_iter().zip(columns).map(|(name, column)| (name, column, true));
    let batch = RecordBatch::try_from_iter_with_nullable(nullable).unwrap();
    let error = table.write_files(stream_of(vec![batch]), unsorted()).await.unwrap_err();
    assert_eq!(error.to_string(), "column 'event_id' is NOT NULL, but a row has no value for it");
    let fewer = rows(0, 2).project(&[0, 1]).unwrap();
    let last_are_null = table.write_files(stream_of(vec![fewer]), unsorted()).await.unwrap();
    table.discard(last_are_null).await;
    for wrong in [&[1, 0][..], &[0, 1, 3]] {
        let wrong = rows(0, 2).project(wrong).unwrap();
        let error = table.write_files(stream_of(vec![wrong]), unsorted()).await.unwrap_err();
        assert!(error.to_string().contains("the table has 4 columns"), "{error}");
    }
    assert_eq!(data_files(&folder), 0);
}

#[tokio::test]
async fn no_rows_no_files() {
    let Fixture { lake, .. } = fixture().await;
    let table = lake.create_table(&clicks()).await.unwrap();
    assert!(staged(&table, rows(0, 0)).await.is_empty());
}

#[tokio::test]
async fn partitions_by_value_keep_nulls_apart() {
    let Fixture { lake, .. } = fixture().await;
    let by_ad = vec![Partitioning { column: "ad_id".to_owned(), transform: Transform::Identity }];
    let table = lake.create_table(&TableSpec { partition_by: by_ad, ..clicks() }).await.unwrap();
    let files = staged(&table, rows(0, 20)).await;
    assert_eq!(files.len(), 10);
    assert_eq!(files.last().unwrap().add.partition_values["ad_id"], None);
    table.commit(request(files)).await.unwrap();
    let sql = "SELECT ad_id, count(*) FROM t WHERE ad_id IS NULL OR ad_id = 'ad7' GROUP BY 1 ORDER BY 1";
    assert_eq!(query(&lake, &table, sql).await, ["ad7 2", " 2"].map(str::trim));
}

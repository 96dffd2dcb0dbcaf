//! IDX-1 under random histories; checkpoints as delta-rs writes them; what must be refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use object_store::ObjectStoreExt;
use object_store::local::LocalFileSystem;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::fixture::{TestTable, add, metadata, protocol, remove, spec, txn};
use super::{DataFile, FileIndex, log};
use crate::base::Timestamp;
use crate::storage::{TableSpec, TableVersion};

/// Everything an index says, in an order of its own.
#[derive(Debug, PartialEq)]
struct Content {
    version: u64,
    committed_at: Timestamp,
    spec: TableSpec,
    files: BTreeMap<String, DataFile>,
    transactions: BTreeMap<String, i64>,
    totals: (usize, u64, u64),
}

fn content(index: &FileIndex) -> Content {
    // Since when rows are there, a checkpoint does not tell.
    let timeless = |file: &DataFile| DataFile { rows_until: TableVersion(0), ..file.clone() };
    let files: Vec<_> = index.files().map(|file| (file.relative.to_string(), timeless(file))).collect();
    assert_eq!(files.len(), index.file_count(), "a file is listed twice or not counted");
    Content {
        version: index.version().0,
        committed_at: index.committed_at(),
        spec: index.layout().spec.clone(),
        files: files.into_iter().collect(),
        transactions: index.transactions().all(),
        totals: (index.file_count(), index.row_count(), index.bytes()),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Remove(Vec<usize>),
    Replace(usize),
    /// The same path again with other statistics.
    Restate(usize),
    Transaction(u8, i64),
    AddColumn,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1_usize..400).prop_map(Step::Append),
        2 => prop::collection::vec(any::<usize>(), 1..300).prop_map(Step::Remove),
        1 => (0_usize..4).prop_map(Step::Replace),
        1 => any::<usize>().prop_map(Step::Restate),
        2 => (0_u8..4, any::<i64>()).prop_map(|(app, version)| Step::Transaction(app, version)),
        1 => Just(Step::AddColumn),
    ];
    prop::collection::vec(step, 1..12)
}

/// A table and the live paths its history should leave.
struct History {
    table: TestTable,
    live: BTreeMap<String, u64>,
    written: u64,
}

impl History {
    fn new_file(&mut self) -> Value {
        self.written += 1;
        let number = self.written;
        let encoded = format!("country=K%2525/part-{number}.parquet");
        self.live.insert(encoded.clone(), number);
        add(
            &encoded,
            100 + number,
            &json!({"country": "K%", "t_day": "2024-05-01"}),
            &stats(&self.table.spec, number, number),
        )
    }

    async fn take(&mut self, step: &Step) {
        let mut lines = Vec::new();
        match step {
            Step::Append(count) => (0..*count).for_each(|_| lines.push(self.new_file())),
            Step::Remove(which) => {
                for pick in which {
                    lines.extend(self.take_live(*pick).map(|path| remove(&path)));
                }
            }
            Step::Replace(count) => {
                lines.extend(std::mem::take(&mut self.live).into_keys().map(|path| remove(&path)));
                (0..*count).for_each(|_| lines.push(self.new_file()));
            }
            Step::Restate(pick) => {
                let path = self.take_live(*pick);
                lines.extend(path.map(|path| {
                    self.live.insert(path.clone(), 7);
                    add(&path, 7, &json!({"country": null, "t_day": null}), &stats(&self.table.spec, 7, 7))
                }));
            }
            Step::Transaction(app, version) => lines.push(txn(&format!("app-{app}"), *version)),
            Step::AddColumn => {
                let mut fields = self.table.spec.columns.fields().to_vec();
                fields.push(Arc::new(Field::new(format!("c{}", fields.len()), DataType::Int64, true)));
                self.table.spec.columns = Arc::new(Schema::new(fields));
                lines.push(metadata(&self.table.spec));
            }
        }
        self.table.commit(lines).await;
    }

    fn take_live(&mut self, pick: usize) -> Option<String> {
        if self.live.is_empty() {
            return None;
        }
        let path = self.live.keys().nth(pick % self.live.len()).cloned()?;
        self.live.remove(&path);
        Some(path)
    }
}

/// Of a file that has the columns of `spec`.
fn stats(spec: &TableSpec, rows: u64, value: u64) -> Value {
    let mut stats = json!({
        "numRecords": rows,
        "minValues": {"id": value, "s": "a", "t": "2024-05-01T00:00:00.123Z"},
        "maxValues": {"id": value + 1, "s": "b", "t": "2024-05-01T23:00:00Z"},
        "nullCount": {"id": 0, "s": 1, "t": 0},
    });
    if spec.column("c6").is_some() {
        stats["minValues"]["c6"] = json!(5);
        stats["nullCount"]["c6"] = json!(1);
    }
    stats
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn advanced_equals_loaded(steps in steps(), stops in prop::collection::vec(any::<bool>(), 12)) {
        run(async {
            let table = TestTable::create(spec()).await;
            let mut history = History { table, live: BTreeMap::new(), written: 0 };
            let mut index = history.table.load().await.unwrap();
            for (step, stop) in steps.iter().zip(stops) {
                history.take(step).await;
                if stop {
                    index = index.advance().await.unwrap();
                }
            }
            index = index.advance().await.unwrap();
            let advanced = content(&index);
            let loaded = content(history.table.load().await.unwrap().as_ref());
            for (path, file) in &loaded.files {
                assert_eq!(advanced.files.get(path), Some(file));
            }
            assert!(advanced == loaded, "same files, but {:?} and {:?}", advanced.totals, loaded.totals);
            // And both are what was written.
            let paths: Vec<String> = advanced.files.keys().cloned().collect();
            let expected: Vec<String> = history.live.keys().map(|path| path.replace("%25", "%")).collect();
            assert_eq!(paths, expected);
        });
    }
}

#[test]
fn appending_shares_the_segments_before() {
    run(async {
        let table = TestTable::create(spec()).await;
        let mut history = History { table, live: BTreeMap::new(), written: 0 };
        history.take(&Step::Append(1_300)).await;
        let before = history.table.load().await.unwrap();
        history.take(&Step::Append(3)).await;
        let after = before.advance().await.unwrap();
        let shared = |at: usize| Arc::ptr_eq(&before.segments()[at], &after.segments()[at]);
        assert!(shared(0) && shared(1), "full segments were copied");
        assert_eq!(after.files_added_since(&before).len(), 3);
        assert!(before.files_added_since(&after).is_empty());
        assert!(Arc::ptr_eq(&after, &after.advance().await.unwrap()), "nothing new, so the same index");
    });
}

/// delta-rs writes the checkpoint; this index reads it: without the commits before, and when it slept through them.
#[test]
fn checkpoints_of_delta_rs_are_read() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
        let table = TestTable::create_in(store, spec()).await;
        let mut history = History { table, live: BTreeMap::new(), written: 0 };
        let sleeping = history.table.load().await.unwrap();
        for step in [Step::Append(5), Step::Restate(1), Step::Transaction(1, 41), Step::AddColumn] {
            history.take(&step).await;
        }
        history.take(&Step::Append(2)).await;
        history.take(&Step::Remove(vec![0])).await;
        let expected = content(&sleeping.advance().await.unwrap());

        let url = url::Url::from_directory_path(folder.path().join("tables/clicks")).unwrap();
        let delta = deltalake_core::DeltaTableBuilder::from_url(url).unwrap().load().await.unwrap();
        deltalake_core::checkpoints::create_checkpoint(&delta, None).await.unwrap();
        for version in 0..history.table.version {
            let path = history.table.root.log_file(&log::commit_name(version));
            history.table.root.store.delete(&path).await.unwrap();
        }
        assert_eq!(content(&history.table.load().await.unwrap()), expected);
        assert_eq!(content(&sleeping.advance().await.unwrap()), expected, "a reader behind the cleaned-up log");

        history.take(&Step::Append(1)).await;
        let path = history.table.root.log_file(&log::commit_name(history.table.version - 1));
        history.table.root.store.delete(&path).await.unwrap();
        let loaded = history.table.load().await.unwrap();
        assert_eq!(loaded.file_count(), expected.totals.0 + 1);
    });
}

#[test]
fn what_cannot_be_read_is_refused() {
    run(async {
        let refused = |lines: Vec<Value>, feature: &'static str| async move {
            let mut table = TestTable::create(spec()).await;
            let before = table.load().await.unwrap();
            table.commit(lines).await;
            let expected = format!("table 'clicks' uses Delta feature '{feature}' which adlake cannot read yet");
            assert_eq!(before.advance().await.unwrap_err().to_string(), expected);
            assert_eq!(table.load().await.unwrap_err().to_string(), expected);
        };
        refused(vec![protocol(&["variantType"])], "variantType").await;
        refused(vec![protocol(&["v2Checkpoint"])], "v2Checkpoint").await;
        let mut with_vector = add("a.parquet", 1, &json!({}), &json!({"numRecords": 3}));
        with_vector["add"]["deletionVector"] =
            json!({"storageType": "u", "pathOrInlineDv": "x", "sizeInBytes": 1, "cardinality": 1});
        refused(vec![with_vector], "deletionVectors").await;
        let mut mapped = metadata(&spec());
        mapped["metaData"]["configuration"]["delta.columnMapping.mode"] = json!("name");
        refused(vec![mapped], "columnMapping").await;
        let outside = add("s3://elsewhere/a.parquet", 1, &json!({}), &json!({}));
        refused(vec![outside], "files outside the table folder").await;
    });
}

#[test]
fn damage_is_named() {
    run(async {
        let mut table = TestTable::create(spec()).await;
        table.commit(vec![]).await;
        table.commit(vec![]).await;
        table.root.store.delete(&table.root.log_file(&log::commit_name(1))).await.unwrap();
        assert_eq!(
            table.load().await.unwrap_err().to_string(),
            "stored data is damaged: the log of table 'clicks' misses version 1"
        );

        let table = TestTable::create(spec()).await;
        let index = table.load().await.unwrap();
        let path = table.root.log_file(&log::commit_name(1));
        table.root.store.put(&path, "{\"commitInfo\":{}}\n{\"add\":{\"pa".into()).await.unwrap();
        let error = index.advance().await.unwrap_err().to_string();
        assert!(error.contains("line 2 of log file '00000000000000000001.json' is not a Delta action"), "{error}");

        table.root.store.delete(&path).await.unwrap();
        table.root.store.delete(&table.root.log_file(&log::commit_name(0))).await.unwrap();
        assert_eq!(table.load().await.unwrap_err().to_string(), "table files at 'clicks' not found");
    });
}

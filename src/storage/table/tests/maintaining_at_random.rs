//! Appends, deletes, compaction, vacuum, log clean-up, checkpoints, retention, restarts in any order: after every step the rows are
//! those of a model, old readers still read, and an index of keys misses no row.

use datafusion::prelude::{col, lit};
use deltalake_core::checkpoints::create_checkpoint;
use proptest::prelude::*;

use super::deleting::delete;
use super::maintaining::{DAY, HOURS, Lab, append, lab};
use super::*;
use crate::storage::TableSnapshot;

#[derive(Clone, Debug)]
enum Step {
    /// Rows of these hours.
    Append(Vec<(u8, u8)>),
    /// Removes rows from this one on, so many.
    Delete(u8, u8),
    Compact(bool),
    Vacuum,
    CleanLog,
    Checkpoint,
    /// Removes days before this one.
    Expire(u8),
    Sleep(u8),
    /// Another process: everything is read again.
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => prop::collection::vec((0_u8..96, 1_u8..30), 1..4).prop_map(Step::Append),
        2 => (0_u8..110, 1_u8..40).prop_map(|(from, length)| Step::Delete(from, length)),
        3 => any::<bool>().prop_map(Step::Compact),
        2 => Just(Step::Vacuum),
        1 => Just(Step::CleanLog),
        1 => Just(Step::Checkpoint),
        1 => (0_u8..3).prop_map(Step::Expire),
        2 => (1_u8..40).prop_map(Step::Sleep),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..25)
}

/// A table, the rows it should have, and readers of older versions with what they should see.
struct Model {
    lab: Lab,
    table: Arc<Table>,
    rows: Vec<i64>,
    readers: Vec<(Timestamp, Arc<TableSnapshot>, Vec<i64>)>,
}

impl Model {
    async fn take(&mut self, step: &Step) {
        match step {
            Step::Append(ranges) => {
                for (from, length) in ranges {
                    let (from, to) = (i64::from(*from), i64::from(*from) + i64::from(*length));
                    append(&self.table, from, to).await;
                    self.rows.extend(from..to);
                }
            }
            Step::Delete(from, length) => {
                let (from, to) = (i64::from(*from), i64::from(*from) + i64::from(*length));
                let condition = col("price").gt_eq(lit(from)).and(col("price").lt(lit(to)));
                let report = delete(&self.lab, &self.table, condition).await;
                let before = self.rows.len();
                self.rows.retain(|n| !(from..to).contains(n));
                assert_eq!(report.rows, (before - self.rows.len()) as u64);
            }
            Step::Compact(all) => {
                let eagerness = if *all { Eagerness::Everything } else { Eagerness::WhatPays };
                self.lab.compact(&self.table, eagerness).await;
            }
            Step::Vacuum => {
                self.lab.vacuum(&self.table, DAY).await;
            }
            Step::CleanLog => {
                self.lab.clean_log(&self.table, DAY).await;
            }
            Step::Checkpoint => {
                let mut delta = deltalake_core::DeltaTable::new(self.table.parts.log_store.clone());
                delta.load().await.unwrap();
                create_checkpoint(&delta, None).await.unwrap();
            }
            Step::Expire(days) => {
                let now = Timestamp(i64::from(*days) * 24 * HOUR);
                self.table.expire(self.lab.clock.now().since(now)).await.unwrap();
                self.rows.retain(|n| *n >= i64::from(*days) * 24);
            }
            Step::Sleep(hours) => self.lab.clock.advance(HOURS * u32::from(*hours)),
            Step::Reopen => {
                let location = LakeLocation::Folder(self.lab.folder.path().to_owned());
                self.lab.lake = Lake::open(&location, &config(), self.lab.clock.clone()).await.unwrap();
                self.table = self.lab.lake.open_table("clicks").await.unwrap();
            }
        }
        self.rows.sort_unstable();
    }

    async fn check(&mut self, step: &Step) {
        let snapshot = self.table.refresh().await.unwrap();
        assert_eq!(self.lab.numbers(snapshot.provider()).await, self.rows, "after {step:?}");
        let now = self.lab.clock.now();
        self.readers.retain(|(since, ..)| now.since(*since) < DAY);
        for (_, reader, rows) in &self.readers {
            assert_eq!(&self.lab.numbers(reader.provider()).await, rows, "an old reader, after {step:?}");
            let unseen = snapshot.provider_of_files_added_since(reader);
            let unseen = match unseen {
                Some(unseen) => self.lab.numbers(unseen).await,
                None => Vec::new(),
            };
            let missing = self.rows.iter().find(|n| !rows.contains(n) && !unseen.contains(n));
            assert_eq!(missing, None, "a row the old reader did not see is not among the new ones, after {step:?}");
            if !snapshot.rows_removed_since(reader) {
                assert!(rows.len() <= self.rows.len(), "rows are gone, after {step:?}");
            }
        }
        self.readers.push((now, snapshot, self.rows.clone()));
        if self.readers.len() > 4 {
            self.readers.remove(1);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn maintenance_changes_no_row(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let lab = lab().await;
            let table = lab.lake.create_table(&clicks()).await.unwrap();
            let mut model = Model { lab, table, rows: Vec::new(), readers: Vec::new() };
            for step in &steps {
                model.take(step).await;
                model.check(step).await;
            }
        });
    }
}

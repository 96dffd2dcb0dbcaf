//! Rows that go: files of a table replaced by fewer rows or by none, as DELETE and retention do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use adlake::base::Span;
use adlake::storage::{CommitMode, CommitRequest, InputOrder, StorageError, Subject, Table, WriteOptions};
use datafusion::logical_expr::{Expr, col, lit};
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use crate::process::Process;

/// A file of a table that goes, and which of its rows stay, in a new one.
#[derive(Clone, Debug)]
pub struct Removed {
    /// Which file, of as many as there are.
    file: usize,
    /// None: no row stays. Else those whose `n` is not this.
    but: Option<i64>,
}

impl Removed {
    /// One file, with all its rows.
    pub fn file(file: usize) -> Self {
        Self { file, but: None }
    }
}

pub fn removed() -> impl Strategy<Value = Removed> {
    (0_usize..8, proptest::option::of(-1_i64..3)).prop_map(|(file, but)| Removed { file, but })
}

async fn table_of(process: &Process, name: &str) -> Arc<Table> {
    let object = process.app.catalog.snapshot().relation(name).unwrap().clone();
    process.app.lake.open_table(object.table_path.as_ref().unwrap()).await.unwrap()
}

/// Takes the rows out in one commit, as DELETE does; nothing happens to an empty table.
pub async fn remove(process: &Process, name: &str, removed: &Removed) {
    let table = table_of(process, name).await;
    let snapshot = table.refresh().await.unwrap();
    let mut names: Vec<String> = snapshot.file_summaries().into_iter().map(|file| file.name).collect();
    names.sort();
    if names.is_empty() {
        return;
    }
    let file = BTreeSet::from([names[removed.file % names.len()].clone()]);
    let stays: Option<Expr> = removed.but.map(|n| col("n").not_eq(lit(n)).or(col("n").is_null()));
    let files = match stays {
        None => Vec::new(),
        Some(stays) => {
            let rows =
                process.app.engine.open_rows((snapshot.provider_of(&file), stays), CancellationToken::new()).await;
            let options = WriteOptions { order: InputOrder::Unsorted, context: process.app.engine.task_context() };
            table.write_files(rows.unwrap(), options).await.unwrap()
        }
    };
    let request = CommitRequest {
        files,
        mode: CommitMode::ReplaceFiles(file),
        transactions: Vec::new(),
        fence: None,
        expected: None,
        operation: "DELETE",
        info: Default::default(),
    };
    match table.commit(request).await {
        Ok(_) | Err(StorageError::FilesGone { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

/// Rows older than so many hours go.
#[derive(Clone, Copy, Debug)]
pub struct Retained {
    hours: u64,
}

impl Retained {
    pub fn hours(hours: u64) -> Self {
        Self { hours }
    }
}

/// Cut-offs, from 2017-11-07 noon: 1990, and days of the first week of November 2017.
pub fn retained() -> impl Strategy<Value = Retained> {
    let hours = prop_oneof![Just(243_000_u64), Just(188), Just(156), Just(132), Just(84)];
    hours.prop_map(|hours| Retained { hours })
}

/// What the maintenance job does to a table with that retention.
pub async fn retain(process: &Process, name: &str, retained: Retained) {
    // Retention is looked at once a minute.
    process.clock.advance(Duration::from_secs(61));
    let path = table_of(process, name).await.path().to_owned();
    let subject = Subject { path, retention: Some(Span::from_secs(retained.hours * 3600)) };
    process.app.maintainer.turn(&subject, &CancellationToken::new()).await;
}

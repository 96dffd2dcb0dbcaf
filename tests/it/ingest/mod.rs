//! Rows in, exactly once, over a real lake: requests, INSERT, files, snapshot tables, bad input, two processes.

mod bad_input;
mod deleting;
mod files;
mod landing;
mod maintenance;
mod replay;
mod requests;
mod simulation;
mod snapshots;
mod streaming;
mod validation;

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use adlake::ingest::{
    AppendReport, AppendRequest, FileReport, FileStatus, IngestError, LoadProgress, LoadRequest, Payload, Producer,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::process::{self, Given, texts};

const CLICKS: &str = "CREATE TABLE clicks (event_id VARCHAR NOT NULL, event_time TIMESTAMP WITH TIME ZONE NOT NULL, \
     ad_id VARCHAR, price_micros BIGINT, CHECK (price_micros >= 0)) \
     WITH (event_time='event_time', event_key='event_id', partition_by='day(event_time)', sort_by='ad_id, event_time', \
     lateness='7 days', clock_skew='5 minutes')";

/// One process over a lake in a temporary folder.
struct Process {
    process: process::Process,
    folder: Arc<TempDir>,
}

impl Deref for Process {
    type Target = process::Process;

    fn deref(&self) -> &process::Process {
        &self.process
    }
}

struct Silent;

impl LoadProgress for Silent {
    fn total_bytes(&self, _bytes: u64) {}
    fn advance(&self, _bytes: u64, _rows: u64) {}
    fn phase(&self, _name: &str) {}
}

impl Process {
    async fn start() -> Self {
        Self::over(Arc::new(tempfile::tempdir().unwrap()), &[]).await
    }

    async fn with_clicks() -> Self {
        let process = Self::start().await;
        process.sql(CLICKS).await;
        process
    }

    /// Another process over the same lake.
    async fn another(&self) -> Self {
        Self::over(self.folder.clone(), &[]).await
    }

    async fn over(folder: Arc<TempDir>, settings: &[(&str, &str)]) -> Self {
        Self { process: process::Process::over(folder.path(), settings).await, folder }
    }

    /// Rows of a statement as text; what a command says, or its details.
    async fn try_sql(&self, sql: &str) -> Result<Vec<String>, String> {
        Ok(match self.given(&self.session, sql).await? {
            Given::Done(message, details) => details.map_or(vec![message], |details| texts(&[details], " ", "")),
            Given::Rows(batches) => texts(&batches, " ", ""),
        })
    }

    async fn sql(&self, sql: &str) -> Vec<String> {
        self.try_sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    async fn count(&self, table: &str) -> usize {
        self.sql(&format!("SELECT count(*) FROM {table}")).await[0].parse().unwrap()
    }

    async fn append(&self, table: &str, body: &str) -> AppendReport {
        self.try_append(table, body).await.unwrap()
    }

    async fn try_append(&self, table: &str, body: &str) -> Result<AppendReport, IngestError> {
        self.request(table, Payload::Ndjson(body.to_owned().into())).await
    }

    async fn request(&self, table: &str, payload: Payload) -> Result<AppendReport, IngestError> {
        let table = table.to_owned();
        let request = AppendRequest { table, payload, producer: None, on_bad_row: None, source: "http" };
        self.app.ingestor.append(request).await
    }

    /// A producer's step with these rows.
    async fn produce(&self, id: &str, sequence: i64, body: &str) -> Result<AppendReport, IngestError> {
        let payload = Payload::Ndjson(body.to_owned().into());
        let producer = Some(Producer::new(id, sequence)?);
        let request = AppendRequest { table: "clicks".to_owned(), payload, producer, on_bad_row: None, source: "http" };
        self.app.ingestor.append(request).await
    }

    /// Writes a file beside the lake.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    async fn load(&self, table: &str, file: &Path, options: &[(&str, &str)]) -> Result<FileReport, String> {
        let options: Vec<_> = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let from = vec![file.display().to_string()];
        let request = LoadRequest::from_options(table.to_owned(), from, &options).unwrap();
        let task = self.app.engine.task_context();
        let loaded = self.app.ingestor.load(request, Arc::new(Silent), task, CancellationToken::new()).await;
        loaded.map(|mut reports| reports.remove(0)).map_err(|error| error.to_string())
    }

    /// Parquet files of the lake that are part of no version, and of the tables themselves.
    fn parquet_files(&self) -> usize {
        fn walk(folder: &Path) -> usize {
            let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            entries
                .map(|path| match path.is_dir() {
                    true => walk(&path),
                    false => usize::from(path.extension().is_some_and(|extension| extension == "parquet")),
                })
                .sum()
        }
        walk(&crate::place::files(self.folder.path()).join("tables"))
    }
}

fn counts(report: &FileReport) -> (FileStatus, u64, u64, u64) {
    (report.status, report.rows, report.duplicates, report.rejected)
}

/// One click as NDJSON.
fn click(id: impl std::fmt::Display, time: &str) -> String {
    format!("{{\"event_id\":\"{id}\",\"event_time\":\"{time}\",\"ad_id\":\"a\",\"price_micros\":5}}\n")
}

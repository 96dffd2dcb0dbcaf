//! One process over a lake in a folder; several may share it.

use std::path::Path;
use std::sync::Arc;

use adlake::app::App;
use adlake::base::{Clock, Timestamp};
use adlake::config;
use adlake::query::{Answer, Origin, Outcome, Request, Session};
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use futures::TryStreamExt;

/// 2017-11-07T12:00:00Z, where the clocks of these processes stand.
pub(crate) const NOON: Timestamp = Timestamp(1_510_056_000_000_000);

pub(crate) struct Process {
    pub(crate) app: App,
    pub(crate) clock: Clock,
    pub(crate) session: Arc<Session>,
    /// Queries tables without views.
    pub(crate) plain: Arc<Session>,
}

/// What a statement gave back.
pub(crate) enum Given {
    Rows(Vec<RecordBatch>),
    /// What a command says, and its details.
    Done(String, Option<RecordBatch>),
}

impl Process {
    pub(crate) async fn over(folder: impl AsRef<Path>, settings: &[(&str, &str)]) -> Self {
        Self::at(Clock::manual(NOON), folder, settings).await
    }

    /// Whose clock is `clock`, which others may share.
    pub(crate) async fn at(clock: Clock, folder: impl AsRef<Path>, settings: &[(&str, &str)]) -> Self {
        let fixed = [("lake.sql", "")].into_iter().chain(settings.iter().copied());
        let mut overrides = crate::place::settings(folder.as_ref());
        overrides.extend(fixed.map(|(key, value)| (key.into(), value.into())));
        let loaded = config::load(None, &[], &overrides).unwrap();
        Self::of(App::open(loaded, clock.clone()).await.unwrap(), clock).await
    }

    pub(crate) async fn of(app: App, clock: Clock) -> Self {
        let session = || Session::new("test", "test", Origin::Internal);
        let process = Self { app, clock, session: session(), plain: session() };
        process.sql_in(&process.plain, "SET adlake.rewrite = off").await.unwrap();
        process
    }

    pub(crate) async fn answer(&self, session: &Arc<Session>, sql: &str) -> Result<Answer, String> {
        self.app.engine.execute(Request::new(sql, session)).await.map_err(|error| error.to_string())
    }

    pub(crate) async fn given(&self, session: &Arc<Session>, sql: &str) -> Result<Given, String> {
        let answer = self.answer(session, sql).await?;
        match answer.outcome {
            Outcome::Done { message, .. } => Ok(Given::Done(message, answer.details)),
            Outcome::Rows(stream) => Ok(Given::Rows(stream.try_collect().await.map_err(|error| error.to_string())?)),
        }
    }

    /// Rows of a statement as text, or its error.
    pub(crate) async fn sql(&self, sql: &str) -> Result<Vec<String>, String> {
        self.sql_in(&self.session, sql).await
    }

    pub(crate) async fn sql_in(&self, session: &Arc<Session>, sql: &str) -> Result<Vec<String>, String> {
        Ok(match self.given(session, sql).await? {
            Given::Done(message, details) => details.map_or(vec![message], |details| texts(&[details], "|", "∅")),
            Given::Rows(batches) => texts(&batches, "|", "∅"),
        })
    }

    pub(crate) async fn run(&self, sql: &str) -> Vec<String> {
        self.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The rows of a relation in a fixed order; errors of overflow are an answer too.
    pub(crate) async fn all(&self, session: &Arc<Session>, relation: &str) -> Result<Vec<String>, &'static str> {
        match self.sql_in(session, &format!("SELECT * FROM {relation} AS r")).await {
            Ok(mut rows) => {
                rows.sort();
                Ok(rows)
            }
            Err(error) if error.contains("out of the range") || error.contains("too large") => Err("out of range"),
            Err(error) => panic!("{relation}: {error}"),
        }
    }

    /// What the plan of a query scans, in its order.
    pub(crate) async fn scans(&self, query: &str) -> Vec<String> {
        scans_of(&self.run(&format!("EXPLAIN {query}")).await)
    }
}

/// The names that an EXPLAIN says are scanned, in its order.
pub(crate) fn scans_of(explained: &[String]) -> Vec<String> {
    let lines = explained.iter().flat_map(|row| row.lines());
    let scans = lines.filter_map(|line| line.split("TableScan: ").nth(1));
    scans.map(|scan| scan.split(' ').next().unwrap_or_default().to_owned()).collect()
}

/// Rows as text, columns apart by `between`, NULL as `null`.
pub(crate) fn texts(batches: &[RecordBatch], between: &str, null: &str) -> Vec<String> {
    let text = |batch: &RecordBatch, row: usize| {
        let cells = batch.columns().iter().map(|column| match column.is_null(row) {
            true => null.to_owned(),
            false => array_value_to_string(column, row).unwrap(),
        });
        cells.collect::<Vec<_>>().join(between)
    };
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| text(batch, row))).collect()
}

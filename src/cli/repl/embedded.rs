//! Statements on a lake opened in this process.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::base::{Classify, chain};
use crate::query::{Answer, Origin, Outcome, QueryError, Request, Session};

use super::super::failure::Failure;
use super::super::meter::Meter;
use super::backend::{Backend, Reply};

/// An open lake and one session on it.
pub struct Embedded {
    app: App,
    session: Arc<Session>,
}

impl Embedded {
    pub fn new(app: App) -> Self {
        Self { app, session: Session::new("cli", "cli", Origin::Repl) }
    }
}

#[async_trait]
impl Backend for Embedded {
    fn place(&self) -> String {
        format!("lake {}", self.app.loaded.config.lake.location)
    }

    async fn run(&self, sql: &str, meter: Arc<Meter>, cancel: CancellationToken) -> Result<Reply, Failure> {
        let request = Request { cancel, progress: Some(meter), ..Request::new(sql, &self.session) };
        let Answer { schema, outcome, details, data_as_of, .. } =
            Box::pin(self.app.engine.execute(request)).await.map_err(|error| failure(&error))?;
        Ok(match outcome {
            Outcome::Rows(rows) => {
                Reply::Rows { schema, rows: rows.map_err(Failure::from).boxed(), data_as_of: Some(data_as_of) }
            }
            Outcome::Done { rows: _, message } => Reply::Done { message, details },
        })
    }

    async fn close(&self) {
        self.app.clone().stop().await;
    }
}

fn failure(error: &QueryError) -> Failure {
    Failure::new(chain(error)).with_hint_for(error.kind())
}

//! `system.verifications`: answers from materialized views that were computed again from the tables (option `verify`), and what
//! came of it. Differences are the lake's; checks without one are of this process since it started, the newest of them.

use std::sync::Arc;

use datafusion::datasource::MemTable;

use super::kept::{KeptView, newest};
use crate::query::QueryError;
use crate::query::engine::Inner;
pub(super) use crate::query::verification::columns as schema;
use crate::query::verification::{VERIFICATIONS_PATH, batch};

const HIDDEN: &str = "_verifications";
const HIDDEN_REMEMBERED: &str = "_verifications_remembered";

pub(super) async fn view(engine: &Inner) -> Result<KeptView, QueryError> {
    let stored = newest(engine, VERIFICATIONS_PATH).await?;
    let remembered = MemTable::try_new(schema(), vec![vec![batch(&engine.verifier.records.remembered())?]])?;
    let names: Vec<String> = schema().fields().iter().map(|field| format!("\"{}\"", field.name())).collect();
    let select = |table: &str| format!("SELECT {} FROM system.{table}", names.join(", "));
    let tables: Vec<(&'static str, Arc<dyn datafusion::catalog::TableProvider>)> =
        vec![(HIDDEN_REMEMBERED, Arc::new(remembered))];
    let mut view = KeptView { query: select(HIDDEN_REMEMBERED), tables, is_limited: false };
    if let Some(stored) = stored {
        view.query = format!("{} UNION ALL {}", select(HIDDEN), view.query);
        view.tables.push((HIDDEN, stored.provider()));
    }
    Ok(view)
}

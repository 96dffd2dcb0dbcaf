//! `system.audit`: who asked for what, from where, and what came of it. `auth` writes it into a Delta table of the lake; what has been
//! recorded here is written before it is read.

use super::kept::{KeptView, newest};
use crate::auth::AUDIT_PATH;
pub(super) use crate::auth::audit_columns as schema;
use crate::base::chain;
use crate::query::QueryError;
use crate::query::engine::Inner;

const HIDDEN: &str = "_audit";

/// None while nothing has been recorded.
pub(super) async fn view(engine: &Inner) -> Result<Option<KeptView>, QueryError> {
    if let Some(audit) = engine.authenticator().ok().and_then(|authenticator| authenticator.audit())
        && let Err(error) = audit.flush().await
    {
        tracing::warn!(error = %chain(&error), "what was recorded lately is not in this answer of system.audit");
    }
    let Some(stored) = newest(engine, AUDIT_PATH).await? else { return Ok(None) };
    let names: Vec<String> = schema().fields().iter().map(|field| format!("\"{}\"", field.name())).collect();
    let query = format!("SELECT {} FROM system.{HIDDEN}", names.join(", "));
    Ok(Some(KeptView { query, tables: vec![(HIDDEN, stored.provider())], is_limited: false }))
}

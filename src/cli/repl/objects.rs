//! `\d`, `\dt`, `\dv`: what exists, asked in SQL, so it works on every backend.

use super::super::failure::{Exit, Failure};
use super::command::Listing;
use super::session::Session;

/// The statement behind `\d`, `\dt`, `\dv`.
pub fn list_sql(listing: Listing) -> &'static str {
    match listing {
        Listing::All => "SELECT name, kind, changed_at FROM system.objects ORDER BY kind, name",
        Listing::Tables => "SELECT name, changed_at FROM system.objects WHERE kind = 'table' ORDER BY name",
        Listing::Views => {
            "SELECT name, kind, changed_at FROM system.objects WHERE kind IN ('view', 'materialized view') ORDER BY name"
        }
    }
}

/// Columns, then (for what users defined) the statement that made it.
///
/// # Errors
/// An unknown name; the backend suggests the nearest.
pub async fn describe(session: &mut Session, name: &str) -> Result<(), Failure> {
    let columns = session.run_statement(&format!("DESCRIBE {name}")).await;
    let plain = name.rsplit('.').next().unwrap_or_default().trim_matches('"');
    let sql = format!("SELECT sql FROM system.objects WHERE name = '{}'", plain.replace('\'', "''"));
    let definitions = session.texts(&sql).await?;
    if definitions.is_empty() {
        return columns;
    }
    if let Err(failure) = columns
        && failure.exit() == Exit::Interrupted
    {
        return Err(failure);
    }
    // Endpoints have no columns; their definition says it all.
    session.say(&definitions.join("\n\n"))
}

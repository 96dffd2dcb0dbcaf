//! `\d`, `\dt`, `\dv`: what exists, asked in SQL, so it works on every backend.

use super::super::failure::Failure;
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

/// Columns, then the statement that made it.
///
/// # Errors
/// An unknown name; the backend suggests the nearest.
pub async fn describe(session: &mut Session, name: &str) -> Result<(), Failure> {
    session.run_statement(&format!("DESCRIBE {name}")).await
}

//! SHOW, DESCRIBE, SET, RESET.
//!
//! What SHOW and DESCRIBE answer are queries on `system` tables, so the same things can be asked with WHERE and ORDER BY.

use std::sync::Arc;

use super::{Work, query, within};
use crate::base::{Span, suggestion};
use crate::catalog::{ObjectKind, ShowTarget};
use crate::query::engine::Inner;
use crate::query::{Answer, Prepared, QueryError, Session};

/// The session's own time limit; it can only shorten `query.timeout`.
pub(in crate::query) const TIMEOUT: &str = "statement_timeout";

/// Settings a session can change: name, values, meaning.
const SETTINGS: [&str; 1] = [TIMEOUT];

/// Settings other systems have, which clients set without asking, with the one value they have here.
const FIXED: [(&str, &str); 8] = [
    ("datafusion.execution.time_zone", "UTC"),
    ("timezone", "UTC"),
    ("client_encoding", "UTF8"),
    ("standard_conforming_strings", "on"),
    ("search_path", "public"),
    ("datestyle", "ISO"),
    ("extra_float_digits", "3"),
    ("application_name", ""),
];

/// What SHOW or DESCRIBE names.
pub(super) enum Shown {
    Target(ShowTarget),
    Name(String),
}

pub(super) async fn show(work: &mut Work, target: ShowTarget) -> Result<Answer, QueryError> {
    let sql = sql_of(&work.engine, Some(&work.session), &Shown::Target(target))?;
    run(work, &sql).await
}

pub(super) async fn describe(work: &mut Work, name: &str) -> Result<Answer, QueryError> {
    let sql = sql_of(&work.engine, Some(&work.session), &Shown::Name(name.to_owned()))?;
    run(work, &sql).await
}

/// The columns SHOW or DESCRIBE would answer.
pub(super) async fn prepare(engine: &Arc<Inner>, shown: Shown) -> Result<Prepared, QueryError> {
    query::prepare(engine, &sql_of(engine, None, &shown)?).await
}

async fn run(work: &mut Work, sql: &str) -> Result<Answer, QueryError> {
    let (cancel, limit) = (work.cancel.clone(), work.limit);
    within(cancel, limit, query::run(work, sql)).await
}

fn sql_of(engine: &Arc<Inner>, session: Option<&Session>, shown: &Shown) -> Result<String, QueryError> {
    Ok(match shown {
        Shown::Target(ShowTarget::Objects(kind)) => match kind {
            ObjectKind::Table => "SELECT name, \"rows\", bytes, files FROM system.tables \
                WHERE kind = 'table' ORDER BY name"
                .to_owned(),
            ObjectKind::MaterializedView => "SELECT name, \"rows\", committed_at FROM system.tables \
                WHERE kind = 'materialized view' ORDER BY name"
                .to_owned(),
            ObjectKind::View | ObjectKind::Endpoint => {
                format!("SELECT name, sql FROM system.objects WHERE kind = '{kind}' ORDER BY name")
            }
        },
        Shown::Target(ShowTarget::AllSettings) => {
            "SELECT key, value, origin FROM system.settings ORDER BY key".to_owned()
        }
        Shown::Target(ShowTarget::Setting(key)) => {
            let known = engine.settings.iter().map(|(known, ..)| known.as_str()).chain(SETTINGS);
            if !known.clone().any(|known| known == key) && fixed(key).is_none() {
                let hint = suggestion(key, known);
                return Err(QueryError::NotFound {
                    message: format!("setting '{key}' not found{hint}; SHOW ALL lists them"),
                });
            }
            let own = session.and_then(|session| session.get(key));
            let limit = || engine.config.timeout.to_string();
            match fixed(key).map(str::to_owned).or_else(|| (key == TIMEOUT).then(|| own.unwrap_or_else(limit))) {
                Some(value) => format!("SELECT {} AS value", quoted(&value)),
                None => format!("SELECT value FROM system.settings WHERE key = {}", quoted(key)),
            }
        }
        Shown::Name(name) => {
            let (schema, table) = name.rsplit_once('.').unwrap_or(("public", name));
            engine.columns.check(engine, schema, table)?;
            format!(
                "SELECT column_name, data_type, is_nullable FROM information_schema.columns \
                 WHERE table_schema = {} AND table_name = {} ORDER BY ordinal_position",
                quoted(schema),
                quoted(table)
            )
        }
    })
}

/// `SHOW FUNCTIONS`, which reaches us as a query, as one we can plan; other text as it is.
pub(super) fn functions(sql: &str) -> &str {
    let mut words = sql.split_whitespace();
    let begins = words.next().is_some_and(|word| word.eq_ignore_ascii_case("show"));
    let is_it = begins && words.next().is_some_and(|word| word.eq_ignore_ascii_case("functions"));
    if is_it { "SELECT name, kind FROM system.functions ORDER BY name, kind" } else { sql }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn fixed(key: &str) -> Option<&'static str> {
    FIXED.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| *value)
}

/// `SET key = value` for the session.
pub(super) fn set(work: &mut Work, key: &str, value: &str) -> Result<Answer, QueryError> {
    if let Some(only) = fixed(key) {
        let same = value.eq_ignore_ascii_case(only) || value.eq_ignore_ascii_case("default");
        let free = matches!(key.to_ascii_lowercase().as_str(), "application_name" | "extra_float_digits");
        let zero = key.to_ascii_lowercase().ends_with("zone") && matches!(value, "+00:00" | "Z" | "GMT" | "Etc/UTC");
        return match same || free || zero {
            true => Ok(work.done(None, format!("{key} is {only}"))),
            false => Err(QueryError::Unimplemented { message: format!("{key} is always {only} here") }),
        };
    }
    if key != TIMEOUT {
        let configured = work.engine.settings.iter().any(|(known, ..)| known == key);
        let message = match configured {
            true => format!("'{key}' is set in the configuration, not by SET (adlake config explain {key})"),
            false => format!("setting '{key}' not found{}", suggestion(key, SETTINGS)),
        };
        return Err(if configured { QueryError::Invalid { message } } else { QueryError::NotFound { message } });
    }
    // PostgreSQL's clients write milliseconds without a unit.
    let text = if value.chars().all(|c| c.is_ascii_digit()) { format!("{value} ms") } else { value.to_owned() };
    let span: Span = text.parse().map_err(|reason| QueryError::Invalid { message: format!("{TIMEOUT}: {reason}") })?;
    if span.0.is_zero() {
        work.session.reset(TIMEOUT);
    } else {
        work.session.set(TIMEOUT, &span.to_string());
    }
    Ok(work.done(None, format!("{TIMEOUT} is {span}")))
}

/// `RESET key`, `RESET ALL`.
pub(super) fn reset(work: &mut Work, key: Option<&str>) -> Result<Answer, QueryError> {
    match key {
        None => SETTINGS.iter().for_each(|key| work.session.reset(key)),
        Some(key) if SETTINGS.contains(&key) || fixed(key).is_some() => work.session.reset(key),
        Some(key) => {
            return Err(QueryError::NotFound {
                message: format!("setting '{key}' not found{}", suggestion(key, SETTINGS)),
            });
        }
    }
    Ok(work.done(None, "reset"))
}

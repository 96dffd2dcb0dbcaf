//! SET and RESET: what a session can change, checked before it is kept.

use std::time::Duration;

use super::Work;
use crate::base::{Span, Timestamp, suggestion};
use crate::query::{Answer, IPC_COMPRESSION, IpcCompression, QueryError, RESULT_ENDPOINTS, ResultEndpoints, Session};

/// The session's own time limit; it can only shorten `query.timeout`.
pub(in crate::query) const TIMEOUT: &str = "statement_timeout";

/// `on` or `off`: whether aggregates on tables may be answered from materialized views.
pub(in crate::query) const REWRITE: &str = "adlake.rewrite";

/// How old rows of materialized views may be that a statement reads; 0, the default: they are never older than the tables'.
pub(in crate::query) const MAX_STALENESS: &str = "adlake.max_staleness";

/// Settings a session can change.
pub(super) const SETTINGS: [&str; 5] = [TIMEOUT, REWRITE, MAX_STALENESS, IPC_COMPRESSION, RESULT_ENDPOINTS];

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

/// The value of a setting that has only one.
pub(super) fn fixed(key: &str) -> Option<&'static str> {
    FIXED.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| *value)
}

impl Session {
    /// As `SET adlake.max_staleness = 'text'`, for protocols that carry it beside the statement.
    ///
    /// # Errors
    /// Text that is no length of time.
    pub fn allow_staleness(&self, text: &str) -> Result<(), QueryError> {
        let span = staleness(text)?;
        keep(self, MAX_STALENESS, (!span.0.is_zero()).then(|| span.to_string()).as_deref());
        Ok(())
    }

    /// The earliest moment that rows of views may be true for in a statement that begins `now`; None: only the newest rows do.
    pub(in crate::query) fn oldest_allowed(&self, now: Timestamp) -> Option<Timestamp> {
        let allowed: Span = self.get(MAX_STALENESS)?.parse().ok()?;
        Some(now.minus(allowed.duration()))
    }
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
    match key {
        TIMEOUT => set_timeout(work, value),
        REWRITE => set_rewrite(work, value),
        MAX_STALENESS => set_staleness(work, value),
        IPC_COMPRESSION => set_compression(work, value),
        RESULT_ENDPOINTS => set_endpoints(work, value),
        _ => Err(unknown(work, key)),
    }
}

fn unknown(work: &Work, key: &str) -> QueryError {
    match work.engine.settings.iter().any(|(known, ..)| known == key) {
        true => {
            let message = format!("'{key}' is set in the configuration, not by SET (adlake config explain {key})");
            QueryError::Invalid { message }
        }
        false => not_found(key),
    }
}

fn not_found(key: &str) -> QueryError {
    QueryError::NotFound { message: format!("setting '{key}' not found{}", suggestion(key, SETTINGS)) }
}

/// `None`: the default.
fn keep(session: &Session, key: &str, value: Option<&str>) {
    match value {
        Some(value) => session.set(key, value),
        None => session.reset(key),
    }
}

fn set_timeout(work: &mut Work, value: &str) -> Result<Answer, QueryError> {
    // PostgreSQL's clients write milliseconds without a unit.
    let text = if value.chars().all(|c| c.is_ascii_digit()) { format!("{value} ms") } else { value.to_owned() };
    let span: Span = text.parse().map_err(|reason| QueryError::Invalid { message: format!("{TIMEOUT}: {reason}") })?;
    keep(&work.session, TIMEOUT, (!span.0.is_zero()).then(|| span.to_string()).as_deref());
    Ok(work.done(None, format!("{TIMEOUT} is {span}")))
}

fn set_rewrite(work: &mut Work, value: &str) -> Result<Answer, QueryError> {
    let value = match value.to_ascii_lowercase().as_str() {
        "on" | "true" | "default" => "on",
        "off" | "false" => "off",
        _ => return Err(QueryError::Invalid { message: format!("{REWRITE} is 'on' or 'off', not '{value}'") }),
    };
    keep(&work.session, REWRITE, (value == "off").then_some(value));
    Ok(work.done(None, format!("{REWRITE} is {value}")))
}

fn set_staleness(work: &mut Work, value: &str) -> Result<Answer, QueryError> {
    work.session.allow_staleness(value)?;
    let now = work.session.get(MAX_STALENESS).unwrap_or_else(|| Span(Duration::ZERO).to_string());
    Ok(work.done(None, format!("{MAX_STALENESS} is {now}")))
}

fn set_compression(work: &mut Work, value: &str) -> Result<Answer, QueryError> {
    let compression = IpcCompression::read(value)?;
    let word = compression.as_str();
    keep(&work.session, IPC_COMPRESSION, (compression != IpcCompression::None).then_some(word));
    Ok(work.done(None, format!("{IPC_COMPRESSION} is {word}")))
}

fn set_endpoints(work: &mut Work, value: &str) -> Result<Answer, QueryError> {
    let endpoints = ResultEndpoints::read(value)?;
    let kept = (endpoints != ResultEndpoints::default()).then(|| endpoints.to_string());
    keep(&work.session, RESULT_ENDPOINTS, kept.as_deref());
    Ok(work.done(None, format!("{RESULT_ENDPOINTS} is {endpoints}")))
}

fn staleness(text: &str) -> Result<Span, QueryError> {
    let invalid = |reason: String| QueryError::Invalid { message: format!("{MAX_STALENESS}: {reason}") };
    match text.trim() {
        "0" => Ok(Span(Duration::ZERO)),
        default if default.eq_ignore_ascii_case("default") => Ok(Span(Duration::ZERO)),
        negative if negative.starts_with('-') => Err(invalid(format!(
            "'{negative}' is negative; rows are never newer than those committed, '0' asks for these"
        ))),
        other => other.parse().map_err(invalid),
    }
}

/// `RESET key`, `RESET ALL`.
pub(super) fn reset(work: &mut Work, key: Option<&str>) -> Result<Answer, QueryError> {
    match key {
        None => SETTINGS.iter().for_each(|key| work.session.reset(key)),
        Some(key) if SETTINGS.contains(&key) || fixed(key).is_some() => work.session.reset(key),
        Some(key) => return Err(not_found(key)),
    }
    Ok(work.done(None, "reset"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Origin;

    const NOON: Timestamp = Timestamp(1_510_056_000_000_000);

    fn oldest(text: &str) -> Result<Option<i64>, String> {
        let session = Session::new("1", "ann", Origin::Http);
        session.allow_staleness(text).map_err(|error| error.to_string())?;
        Ok(session.oldest_allowed(NOON).map(|oldest| (NOON.0 - oldest.0) / 1_000_000))
    }

    #[test]
    fn rows_are_fresh_unless_a_length_of_time_is_given() {
        assert_eq!(oldest("5 minutes"), Ok(Some(300)));
        assert_eq!(oldest(" 30s "), Ok(Some(30)));
        for fresh in ["0", "0 s", "default"] {
            assert_eq!(oldest(fresh), Ok(None), "{fresh}");
        }
        assert_eq!(Session::new("1", "ann", Origin::Http).oldest_allowed(NOON), None);
    }

    #[test]
    fn what_is_no_length_of_time_is_refused() {
        for wrong in ["5", "five minutes", "", "on", "99999999999999 w"] {
            assert!(oldest(wrong).is_err_and(|error| error.starts_with("adlake.max_staleness: ")), "{wrong}");
        }
        assert!(oldest("-5 minutes").is_err_and(|error| error.contains("is negative")));
    }
}

//! What goes wrong, in PostgreSQL's words: severity, SQLSTATE, message, place.

use pgwire::messages::response::{ErrorResponse, NoticeResponse};

use crate::query::QueryError;
use crate::server::error::{Fault, Position, status_of};

/// An error that a client is told; its connection goes on, unless it is fatal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub sqlstate: &'static str,
    pub message: String,
    position: Option<Position>,
    pub is_fatal: bool,
}

/// Severity of what is told beside answers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Severity {
    Warning,
    Notice,
}

impl Complaint {
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self { sqlstate, message: message.into(), position: None, is_fatal: false }
    }

    /// The connection ends with it.
    pub fn fatal(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self { is_fatal: true, ..Self::new(sqlstate, message) }
    }

    /// The same, as the connection's last.
    pub fn fatally(self) -> Self {
        Self { is_fatal: true, ..self }
    }

    /// A message that breaks the protocol.
    pub fn protocol(message: impl Into<String>) -> Self {
        Self::new("08P01", message)
    }

    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new("0A000", message)
    }

    /// As it goes over the wire; `sql` is the statement that places are in, as the client wrote it.
    pub fn message(&self, sql: Option<&str>) -> ErrorResponse {
        let severity = if self.is_fatal { "FATAL" } else { "ERROR" };
        let mut fields = vec![
            (b'S', severity.to_owned()),
            (b'V', severity.to_owned()),
            (b'C', self.sqlstate.to_owned()),
            (b'M', without_nul(&self.message)),
        ];
        if let Some(at) = self.position.and_then(|position| offset(sql?, position)) {
            fields.push((b'P', at.to_string()));
        }
        ErrorResponse::new(fields)
    }
}

pub(super) fn notice(severity: Severity, sqlstate: &str, message: &str) -> NoticeResponse {
    let severity = match severity {
        Severity::Warning => "WARNING",
        Severity::Notice => "NOTICE",
    };
    let fields = [(b'S', severity), (b'V', severity), (b'C', sqlstate)];
    let fields = fields.into_iter().map(|(code, text)| (code, text.to_owned()));
    NoticeResponse::new(fields.chain([(b'M', without_nul(message))]).collect())
}

/// Texts end with a zero.
fn without_nul(text: &str) -> String {
    text.replace('\0', " ")
}

/// 1-based, in characters, as PostgreSQL counts.
fn offset(sql: &str, position: Position) -> Option<usize> {
    let line = usize::try_from(position.line.checked_sub(1)?).ok()?;
    let column = usize::try_from(position.column).ok()?;
    let before: usize = sql.split_inclusive('\n').take(line).map(|line| line.chars().count()).sum();
    let at = before + column;
    (at >= 1 && at <= sql.chars().count() + 1).then_some(at)
}

impl From<Fault> for Complaint {
    fn from(fault: Fault) -> Self {
        let message = match fault.retry_after {
            Some(span) => format!("{}; try again in {span}", fault.message),
            None => fault.message,
        };
        Self { position: fault.position, ..Self::new(status_of(fault.kind).sqlstate, message) }
    }
}

impl From<&QueryError> for Complaint {
    fn from(error: &QueryError) -> Self {
        Fault::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_counted_in_characters_from_the_beginning() {
        let at = |sql: &str, line, column| offset(sql, Position { line, column });
        assert_eq!(at("SELECT é FORM t", 1, 10), Some(10));
        assert_eq!(at("SELECT 1\nFORM t", 2, 1), Some(10));
        assert_eq!(at("SELECT", 3, 9), None);
        assert_eq!(at("SELECT", 0, 9), None);
    }
}

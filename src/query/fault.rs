//! DataFusion's errors in our words: every [`DataFusionError`] becomes exactly one [`QueryError`].
//!
//! Plan-time errors are the user's (`Invalid`, `NotFound`, `Unimplemented`); run-time errors are told apart by what the
//! user can do: mend a value (`Invalid`), ask for less (`Memory`), report damage (`Storage`), report a bug (`Internal`).
//!
//! Errors of ours that travelled through DataFusion (`External`) come out as they went in.

use std::error::Error;

use arrow::error::ArrowError;
use datafusion::common::{Column, DataFusionError, SchemaError};

use super::{QueryError, functions};
use crate::base::suggestion;
use crate::catalog::CatalogError;
use crate::storage::StorageError;

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        of_pattern(translate(error, None))
    }
}

/// A pattern that cannot be compiled is the statement's fault, whatever function and library say so.
fn of_pattern(error: QueryError) -> QueryError {
    let (QueryError::Invalid { message } | QueryError::Internal { message }) = &error else { return error };
    let Some(place) = NO_PATTERN.into_iter().find_map(|sign| message.find(sign)) else { return error };
    let told = message[place..].trim();
    // The pattern itself, which may be long, stands between the first line and the last.
    let message = match told.rsplit_once('\n') {
        Some((_, why)) => format!("regular expression: {why}"),
        None => told.to_owned(),
    };
    QueryError::Invalid { message }
}

/// Our error as DataFusion carries it.
pub(super) fn external(error: QueryError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

fn translate(error: DataFusionError, position: Option<(u64, u64)>) -> QueryError {
    match error {
        DataFusionError::Context(_, inner) => translate(*inner, position),
        DataFusionError::Diagnostic(diagnostic, inner) => {
            let found = diagnostic.span.map(|span| (span.start.line, span.start.column));
            translate(*inner, position.or(found))
        }
        DataFusionError::Collection(errors) => match errors.into_iter().next() {
            Some(first) => translate(first, position),
            None => QueryError::Internal { message: "an error without content".to_owned() },
        },
        DataFusionError::Shared(shared) => match std::sync::Arc::try_unwrap(shared) {
            Ok(inner) => translate(inner, position),
            Err(shared) => translate_shared(&shared),
        },
        DataFusionError::External(inner) => from_boxed(inner),
        DataFusionError::SQL(error, _) => from_parser(&error.to_string()),
        DataFusionError::SchemaError(error, _) => invalid_at(position, schema_error(*error)),
        DataFusionError::Plan(message) => from_plan_message(position, message),
        DataFusionError::Configuration(message) => invalid_at(position, message),
        DataFusionError::NotImplemented(message) => QueryError::Unimplemented { message },
        DataFusionError::Execution(message) => QueryError::Invalid { message },
        DataFusionError::ResourcesExhausted(message) => QueryError::Memory { message },
        DataFusionError::ArrowError(error, _) => from_arrow(*error),
        DataFusionError::ParquetError(error) => {
            QueryError::Storage(StorageError::Damaged { message: error.to_string() })
        }
        DataFusionError::ObjectStore(error) => {
            QueryError::Storage(StorageError::store("read the table's files", *error))
        }
        DataFusionError::IoError(error) => from_io(error),
        DataFusionError::ExecutionJoin(error) if error.is_cancelled() => QueryError::Cancelled,
        other => QueryError::Internal { message: first_sentence(&other.to_string()) },
    }
}

/// A shared error cannot be taken apart; it is described by its root.
fn translate_shared(error: &DataFusionError) -> QueryError {
    match error.find_root() {
        DataFusionError::External(inner) => describe(inner.as_ref()),
        DataFusionError::ResourcesExhausted(message) => QueryError::Memory { message: message.clone() },
        DataFusionError::Execution(message) | DataFusionError::Plan(message) => {
            QueryError::Invalid { message: message.clone() }
        }
        DataFusionError::ArrowError(error, _) => match error.as_ref() {
            ArrowError::ExternalError(inner) => describe(inner.as_ref()),
            ArrowError::MemoryError(message) => QueryError::Memory { message: message.clone() },
            other => QueryError::Invalid { message: arrow_message(other) },
        },
        DataFusionError::ParquetError(error) => {
            QueryError::Storage(StorageError::Damaged { message: error.to_string() })
        }
        DataFusionError::ObjectStore(error) => {
            QueryError::Storage(StorageError::Damaged { message: error.to_string() })
        }
        other => QueryError::Internal { message: first_sentence(&other.to_string()) },
    }
}

/// What can be told of an error of ours that has to stay where it is.
fn describe(error: &(dyn Error + Send + Sync + 'static)) -> QueryError {
    match error.downcast_ref::<QueryError>() {
        Some(QueryError::Cancelled) => QueryError::Cancelled,
        Some(QueryError::Killed) => QueryError::Killed,
        Some(QueryError::Memory { message }) => QueryError::Memory { message: message.clone() },
        Some(QueryError::Timeout { limit }) => QueryError::Timeout { limit: limit.clone() },
        Some(QueryError::Invalid { message }) => QueryError::Invalid { message: message.clone() },
        Some(other) => QueryError::Internal { message: other.to_string() },
        None => match error.downcast_ref::<StorageError>() {
            Some(storage) => QueryError::Storage(StorageError::Damaged { message: crate::base::error::chain(storage) }),
            None => QueryError::Invalid { message: error.to_string() },
        },
    }
}

fn from_boxed(error: Box<dyn Error + Send + Sync>) -> QueryError {
    let error = match error.downcast::<QueryError>() {
        Ok(ours) => return *ours,
        Err(error) => error,
    };
    let error = match error.downcast::<StorageError>() {
        Ok(ours) => return QueryError::Storage(*ours),
        Err(error) => error,
    };
    let error = match error.downcast::<CatalogError>() {
        Ok(ours) => return QueryError::Catalog(*ours),
        Err(error) => error,
    };
    match error.downcast::<DataFusionError>() {
        Ok(inner) => translate(*inner, None),
        Err(error) => QueryError::Internal { message: error.to_string() },
    }
}

fn from_arrow(error: ArrowError) -> QueryError {
    match error {
        ArrowError::ExternalError(inner) => from_boxed(inner),
        ArrowError::MemoryError(message) => QueryError::Memory { message },
        ArrowError::IoError(_, error) => from_io(error),
        ArrowError::ParquetError(message) => QueryError::Storage(StorageError::Damaged { message }),
        ArrowError::NotYetImplemented(message) => QueryError::Unimplemented { message },
        other => QueryError::Invalid { message: arrow_message(&other) },
    }
}

fn arrow_message(error: &ArrowError) -> String {
    match error {
        ArrowError::DivideByZero => "division by zero".to_owned(),
        ArrowError::ArithmeticOverflow(message) => format!("number out of range: {message}"),
        ArrowError::CastError(message)
        | ArrowError::ParseError(message)
        | ArrowError::ComputeError(message)
        | ArrowError::InvalidArgumentError(message) => message.clone(),
        other => other.to_string(),
    }
}

fn from_io(error: std::io::Error) -> QueryError {
    match StorageError::io("read or write while running the statement", error) {
        StorageError::DiskFull => {
            QueryError::Memory { message: "no disk space left for spill files; free some or ask for less".to_owned() }
        }
        other => QueryError::Storage(other),
    }
}

/// `… at Line: 1, Column: 8` becomes fields.
pub(super) fn from_parser(text: &str) -> QueryError {
    let text = text.trim_start_matches("sql parser error: ").trim_start_matches("SQL error: ");
    let text = text.trim_start_matches("ParserError(\"").trim_end_matches("\")");
    let located = text.rsplit_once(" at Line: ").and_then(|(message, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        let digits = |part: &str| part.trim().trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().ok();
        Some(CatalogError::Syntax { line: digits(line)?, column: digits(column)?, message: message.to_owned() })
    });
    match located {
        Some(error) => QueryError::Catalog(error),
        None => QueryError::Invalid { message: format!("syntax error: {text}") },
    }
}

/// How errors of patterns begin.
const NO_PATTERN: [&str; 3] =
    ["Regular expression did not compile", "Compiled regex exceeds size limit", "regex parse error"];
const NO_MATCH: &str = "No function matches the given name and argument types '";

fn from_plan_message(position: Option<(u64, u64)>, message: String) -> QueryError {
    let message = message.replace("Error during planning: ", "");
    let cut = message.find("\n\tCandidate functions:").unwrap_or(message.len());
    let (head, candidates) = message.split_at(cut);
    if let Some(rest) = head.strip_prefix("Invalid function '") {
        let name = rest.split('\'').next().unwrap_or(rest);
        return invalid_at(position, format!("function '{name}' not found{}", functions::suggestion(name)));
    }
    let candidates = candidates.trim_start_matches("\n\tCandidate functions:");
    let known = candidates.split_whitespace().collect::<Vec<_>>().join(" ");
    let head = match head.find(NO_MATCH) {
        Some(start) => {
            let call = head[start + NO_MATCH.len()..].split('\'').next().unwrap_or_default();
            format!("function {call} does not exist")
        }
        None => head.trim_end_matches('.').to_owned(),
    };
    match known.is_empty() {
        true => invalid_at(position, head),
        false => invalid_at(position, format!("{head}; it takes {known}")),
    }
}

fn invalid_at(position: Option<(u64, u64)>, message: String) -> QueryError {
    match position {
        Some((line, column)) if line > 0 => QueryError::Catalog(CatalogError::BadDefinition { line, column, message }),
        _ => QueryError::Invalid { message },
    }
}

fn schema_error(error: SchemaError) -> String {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => column_not_found(&field, &valid_fields),
        SchemaError::AmbiguousReference { field } => {
            format!("column '{}' is in more than one table; write table.{}", field.name, field.name)
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            format!("two columns are called '{name}'; rename one with AS")
        }
    }
}

/// `column 'countri' not found; did you mean 'country'?`
pub(super) fn column_not_found(field: &Column, valid: &[Column]) -> String {
    if let (Some(relation), Some(other)) = (&field.relation, valid.iter().find(|column| column.name == field.name)) {
        return format!("column '{relation}.{}' not found; did you mean '{}'?", field.name, other.flat_name());
    }
    let hint = suggestion(&field.name, valid.iter().map(|column| column.name.as_str()));
    if !hint.is_empty() || valid.is_empty() {
        return format!("column '{}' not found{hint}", field.name);
    }
    let mut names: Vec<&str> = valid.iter().map(|column| column.name.as_str()).collect();
    names.dedup();
    let more = if names.len() > 12 { ", …" } else { "" };
    names.truncate(12);
    format!("column '{}' not found; there are: {}{more}", field.name, names.join(", "))
}

/// DataFusion's internal errors end with an invitation to its issue tracker, which is not for our users.
fn first_sentence(text: &str) -> String {
    text.split("\nThis issue was likely caused by a bug").next().unwrap_or(text).trim().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Classify, Kind};

    #[test]
    fn our_errors_survive_the_journey() {
        let wrapped = external(QueryError::Timeout { limit: "1 second".to_owned() }).context("while reading");
        assert_eq!(QueryError::from(wrapped).kind(), Kind::DeadlineExceeded);
    }

    #[test]
    fn parser_position_becomes_fields() {
        let error = from_parser("sql parser error: Expected: an expression, found: FROM at Line: 2, Column: 8");
        assert_eq!(error.to_string(), "syntax error at line 2, column 8: Expected: an expression, found: FROM");
    }

    #[test]
    fn missing_columns_list_what_there_is() {
        let valid = [Column::from_name("country"), Column::from_name("ad_id")];
        assert_eq!(
            column_not_found(&Column::from_name("countri"), &valid),
            "column 'countri' not found; did you mean 'country'?"
        );
        assert_eq!(
            column_not_found(&Column::from_name("zzz"), &valid),
            "column 'zzz' not found; there are: country, ad_id"
        );
    }

    #[test]
    fn kinds_follow_what_the_user_can_do() {
        for (error, kind) in [
            (DataFusionError::ResourcesExhausted("x".into()), Kind::ResourceExhausted),
            (DataFusionError::Plan("x".into()), Kind::InvalidArgument),
            (DataFusionError::NotImplemented("x".into()), Kind::Unimplemented),
            (DataFusionError::Internal("x".into()), Kind::Internal),
            (DataFusionError::from(ArrowError::DivideByZero), Kind::InvalidArgument),
        ] {
            assert_eq!(QueryError::from(error).kind(), kind);
        }
    }
}

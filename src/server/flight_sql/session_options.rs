//! The messages of the Flight session protocol (`Flight.proto`), which `arrow-flight` does not generate, and what they do.
//!
//! Options: `catalog` (only `adlake`), `schema` (only `public`: other schemas are named in the statement), and every setting
//! `SET` knows; the engine validates those as it does for `SET`.

use super::{CATALOG, PUBLIC};
use crate::query::Session;
use prost::{Enumeration, Message, Oneof};
use std::collections::HashMap;

#[derive(Clone, PartialEq, Message)]
pub(super) struct SessionOptionValue {
    #[prost(oneof = "OptionValue", tags = "1, 2, 3, 4, 5")]
    pub option_value: Option<OptionValue>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum OptionValue {
    #[prost(string, tag = "1")]
    String(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(sfixed64, tag = "3")]
    Int64(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    StringList(StringListValue),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StringListValue {
    #[prost(string, repeated, tag = "1")]
    pub values: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SetSessionOptionsRequest {
    #[prost(map = "string, message", tag = "1")]
    pub session_options: HashMap<String, SessionOptionValue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub(super) enum ErrorValue {
    Unspecified = 0,
    InvalidName = 1,
    InvalidValue = 2,
    Error = 3,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OptionError {
    #[prost(enumeration = "ErrorValue", tag = "1")]
    pub value: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SetSessionOptionsResult {
    #[prost(map = "string, message", tag = "1")]
    pub errors: HashMap<String, OptionError>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetSessionOptionsResult {
    #[prost(map = "string, message", tag = "1")]
    pub session_options: HashMap<String, SessionOptionValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CloseSessionResult {
    /// 1 = closed.
    #[prost(int32, tag = "1")]
    pub status: i32,
}

/// `CloseSessionResult.Status.CLOSED`.
pub(super) const SESSION_CLOSED: i32 = 1;

/// Session keys of the two options that are not settings of `SET`.
const CATALOG_OPTION: &str = "catalog";
const SCHEMA_OPTION: &str = "schema";

/// What one option asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    /// Accepted; nothing else to do.
    Keep,
    /// A setting the engine decides on, as `SET key = value`.
    Setting(String),
    /// Back to the default, as `RESET key`.
    Reset,
    Refused(ErrorValue),
}

/// Decides on one option; pure.
pub(super) fn decide(name: &str, value: &SessionOptionValue) -> Change {
    let text = match &value.option_value {
        None => None,
        Some(OptionValue::String(text)) => Some(text.clone()),
        Some(OptionValue::Bool(flag)) => Some(flag.to_string()),
        Some(OptionValue::Int64(number)) => Some(number.to_string()),
        Some(OptionValue::Double(number)) => Some(number.to_string()),
        Some(OptionValue::StringList(_)) => return Change::Refused(ErrorValue::InvalidValue),
    };
    match (name, text) {
        (CATALOG_OPTION, None) => Change::Keep,
        (CATALOG_OPTION, Some(catalog)) if catalog == CATALOG => Change::Keep,
        (SCHEMA_OPTION, None) => Change::Keep,
        (SCHEMA_OPTION, Some(schema)) if schema == PUBLIC => Change::Keep,
        (CATALOG_OPTION | SCHEMA_OPTION, _) => Change::Refused(ErrorValue::InvalidValue),
        ("", _) => Change::Refused(ErrorValue::InvalidName),
        (_, Some(text)) => Change::Setting(text),
        (_, None) => Change::Reset,
    }
}

/// Everything `GetSessionOptions` shows.
pub(super) fn options_of(session: &Session) -> GetSessionOptionsResult {
    let text = |value: &str| SessionOptionValue { option_value: Some(OptionValue::String(value.to_owned())) };
    let mut session_options: HashMap<_, _> =
        session.settings().iter().map(|(key, value)| (key.clone(), text(value))).collect();
    session_options.insert(CATALOG_OPTION.to_owned(), text(CATALOG));
    session_options.insert(SCHEMA_OPTION.to_owned(), text(PUBLIC));
    GetSessionOptionsResult { session_options }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Origin;

    fn text(value: &str) -> SessionOptionValue {
        SessionOptionValue { option_value: Some(OptionValue::String(value.to_owned())) }
    }

    #[test]
    fn only_what_exists_can_be_the_current_catalog_or_schema() {
        assert_eq!(decide("catalog", &text("adlake")), Change::Keep);
        assert_eq!(decide("catalog", &text("other")), Change::Refused(ErrorValue::InvalidValue));
        assert_eq!(decide("schema", &text("public")), Change::Keep);
        assert_eq!(decide("schema", &text("nowhere")), Change::Refused(ErrorValue::InvalidValue));
    }

    #[test]
    fn other_options_are_settings_of_the_engine() {
        assert_eq!(decide("query.timeout", &text("5s")), Change::Setting("5s".to_owned()));
        assert_eq!(decide("query.timeout", &SessionOptionValue::default()), Change::Reset);
        let list = SessionOptionValue { option_value: Some(OptionValue::StringList(StringListValue::default())) };
        assert_eq!(decide("query.timeout", &list), Change::Refused(ErrorValue::InvalidValue));
    }

    #[test]
    fn the_current_catalog_and_schema_are_shown() {
        let session = Session::new("1", "ann", Origin::FlightSql);
        session.set("a", "b");
        let shown = options_of(&session).session_options;
        assert_eq!(shown.get("schema"), Some(&text("public")));
        assert_eq!(shown.get("a"), Some(&text("b")));
    }
}

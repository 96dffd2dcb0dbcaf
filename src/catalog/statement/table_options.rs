//! Options of CREATE TABLE about rows to come.

use arrow::datatypes::{DataType, Schema};

use super::options::{OptionValue, Options};
use crate::base::suggestion;
use crate::catalog::CatalogError;
use crate::catalog::table_options::{EXTRA_COLUMN, IngestOptions, Landing, UnknownFields};

/// Options that stored rows do not depend on.
pub const CHANGEABLE: [&str; 12] = [
    "lateness",
    "clock_skew",
    "retention",
    "on_error",
    "unknown_fields",
    "landing",
    "landing_format",
    "landing_rate",
    "landing_map",
    "landing_time_format",
    "landing_order",
    "mode",
];
const FORMATS: [&str; 6] = ["auto", "parquet", "csv", "tsv", "ndjson", "json"];
const LANDING_DETAILS: [&str; 5] =
    ["landing_format", "landing_rate", "landing_map", "landing_time_format", "landing_order"];

/// Takes `on_error`, `unknown_fields` and `landing…` out of the options.
pub fn take(options: &mut Options, columns: &Schema) -> Result<IngestOptions, CatalogError> {
    let on_error = options.take("on_error").map(|option| option.parse()).transpose()?.unwrap_or_default();
    let unknown_fields = match options.take("unknown_fields") {
        Some(option) => take_unknown_fields(&option, columns)?,
        None => UnknownFields::default(),
    };
    Ok(IngestOptions { on_error, unknown_fields, landing: take_landing(options, columns)? })
}

fn take_unknown_fields(option: &OptionValue, columns: &Schema) -> Result<UnknownFields, CatalogError> {
    let unknown_fields = option.parse()?;
    if unknown_fields == UnknownFields::Extra {
        match columns.field_with_name(EXTRA_COLUMN) {
            Ok(field) if matches!(field.data_type(), DataType::Map(..)) && field.is_nullable() => {}
            _ => {
                return Err(option.position.bad(format!(
                    "unknown_fields='extra' keeps them in a column of the table; declare {EXTRA_COLUMN} MAP<VARCHAR, VARCHAR>"
                )));
            }
        }
    }
    Ok(unknown_fields)
}

fn take_landing(options: &mut Options, columns: &Schema) -> Result<Option<Landing>, CatalogError> {
    let Some(landing) = options.take("landing") else {
        return match LANDING_DETAILS.iter().find_map(|key| options.take(key)) {
            Some(option) => Err(option.key_position.bad(format!("option '{}' needs landing='folder'", option.key))),
            None => Ok(None),
        };
    };
    if landing.text.trim().is_empty() {
        return Err(landing.position.bad("landing names no folder; leave it out for a table without one"));
    }
    let format = match options.take("landing_format") {
        Some(option) => take_format(&option)?,
        None => None,
    };
    let map = match options.take("landing_map") {
        Some(option) => take_map(&option, columns)?,
        None => Vec::new(),
    };
    Ok(Some(Landing {
        from: landing.text,
        format,
        rate: options.take("landing_rate").map(|option| option.parse()).transpose()?,
        map,
        time_format: options.take("landing_time_format").map(|option| option.text),
        order: options.take("landing_order").map(|option| option.parse()).transpose()?.unwrap_or_default(),
    }))
}

fn take_format(option: &OptionValue) -> Result<Option<String>, CatalogError> {
    let name = option.text.to_lowercase();
    if !FORMATS.contains(&name.as_str()) {
        let near = suggestion(&name, FORMATS);
        return Err(option.position.bad(format!("'{}' is not one of {}{near}", option.text, FORMATS.join(", "))));
    }
    Ok((name != "auto").then_some(name))
}

fn take_map(option: &OptionValue, columns: &Schema) -> Result<Vec<(String, String)>, CatalogError> {
    let mut map = Vec::new();
    for pair in option.list() {
        let Some((source, column)) = pair.split_once('=') else {
            return Err(option.position.bad(format!("landing_map: '{pair}' is not of the form source=column")));
        };
        let (source, column) = (source.trim(), column.trim());
        let known = columns.fields().iter().any(|field| field.name().eq_ignore_ascii_case(column));
        if !column.is_empty() && !known {
            let near = suggestion(column, columns.fields().iter().map(|field| field.name().as_str()));
            return Err(option.position.bad(format!("landing_map: the table has no column '{column}'{near}")));
        }
        map.push((source.to_owned(), column.to_owned()));
    }
    Ok(map)
}

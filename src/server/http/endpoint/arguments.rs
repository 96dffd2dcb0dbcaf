//! A request's path and query string as typed values for one endpoint.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::template::{Fill, filter_placeholder};
use super::{Endpoint, Facts};
use crate::base::suggestion;
use crate::server::http::problem::Problem;
use crate::server::http::query_string::unknown;
use crate::server::http::value;

/// The query parameter that adds predicates.
pub const FILTER: &str = "filter";

/// Values of all filters of one request together.
const FILTER_VALUES_MAX: usize = 100;

/// A request, checked: the statement and its values.
#[derive(Debug)]
pub struct Arguments {
    pub sql: String,
    pub values: BTreeMap<String, ScalarValue>,
}

/// Reads the request.
///
/// # Errors
/// 400 naming the parameter: unknown, missing, given twice, or of a value that is not accepted.
pub fn read(
    endpoint: &Endpoint,
    facts: &Facts,
    captured: &[(&str, String)],
    query: &[(String, String)],
) -> Result<Arguments, Problem> {
    refuse_unknown(endpoint, query)?;
    let mut values = BTreeMap::new();
    let mut sent = BTreeSet::new();
    for parameter in &endpoint.parameters {
        let name = parameter.name.as_str();
        let in_path = captured.iter().filter(|(captured, _)| *captured == name).map(|(_, value)| value);
        let in_query = query.iter().filter(|(given, _)| given == name).map(|(_, value)| value);
        let given: Vec<&String> = if parameter.in_path { in_path.collect() } else { in_query.collect() };
        let data_type = facts.parameter_type(parameter);
        match given.as_slice() {
            [text] => {
                let value = typed(name, text, &data_type)?;
                if let (false, Some(range)) = (parameter.range.holds(&value), parameter.range.text()) {
                    let detail = format!("parameter '{name}': {} is out of range; it takes {range}", shown(text));
                    return Err(Problem::parameter(name, detail));
                }
                values.insert(name.to_owned(), value);
                sent.insert(name);
            }
            [] => match &parameter.default {
                Some(default) => {
                    let literal = default.literal.clone();
                    values.extend(literal.map(|value| (name.to_owned(), value)));
                }
                None => {
                    let accepted = value::accepted(&data_type);
                    return Err(Problem::parameter(name, format!("parameter '{name}' is required: {accepted}")));
                }
            },
            [_, _, ..] => return Err(Problem::parameter(name, format!("parameter '{name}' is given more than once"))),
        }
    }
    if sent.contains("from") && sent.contains("to") {
        refuse_backwards(&values)?;
    }
    let counts = filters(endpoint, facts, query, &mut values)?;
    let sql = endpoint.query.join(|name| fill(endpoint, &values, name), &counts);
    Ok(Arguments { sql, values })
}

fn fill<'a>(endpoint: &'a Endpoint, values: &BTreeMap<String, ScalarValue>, name: &str) -> Fill<'a> {
    match endpoint.parameter(name).and_then(|parameter| parameter.default.as_ref()) {
        Some(default) if !values.contains_key(name) => Fill::Expression(&default.expression),
        _ => Fill::Bound,
    }
}

fn refuse_unknown(endpoint: &Endpoint, query: &[(String, String)]) -> Result<(), Problem> {
    let in_query = endpoint.parameters.iter().filter(|parameter| !parameter.in_path);
    let mut known: Vec<&str> = in_query.map(|parameter| parameter.name.as_str()).collect();
    if !endpoint.filters.is_empty() && !known.contains(&FILTER) {
        known.push(FILTER);
    }
    match query.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        Some((name, _)) => Err(unknown(name, &known)),
        None => Ok(()),
    }
}

fn typed(name: &str, text: &str, data_type: &DataType) -> Result<ScalarValue, Problem> {
    value::parse(text, data_type).map_err(|accepted| {
        Problem::parameter(name, format!("parameter '{name}': '{}' is not {accepted}", shown(text)))
    })
}

/// A value as an error message repeats it.
fn shown(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 100;
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// An interval sent the wrong way round is a mistake, not an empty one.
fn refuse_backwards(values: &BTreeMap<String, ScalarValue>) -> Result<(), Problem> {
    let (Some(from), Some(to)) = (values.get("from"), values.get("to")) else { return Ok(()) };
    let is_time = |value: &ScalarValue| matches!(value.data_type(), DataType::Timestamp(..) | DataType::Date32);
    let backwards = from.partial_cmp(to) == Some(std::cmp::Ordering::Greater);
    if is_time(from) && is_time(to) && backwards {
        return Err(Problem::parameter("from", "parameter 'from' is later than 'to'; the interval is [from, to)"));
    }
    Ok(())
}

/// `filter=column:value` pairs as bound values; how many there are of each declared column.
fn filters<'a>(
    endpoint: &'a Endpoint,
    facts: &Facts,
    query: &[(String, String)],
    values: &mut BTreeMap<String, ScalarValue>,
) -> Result<Vec<(&'a str, usize)>, Problem> {
    let mut counts: Vec<(&str, usize)> = endpoint.filters.iter().map(|column| (column.as_str(), 0)).collect();
    if counts.is_empty() {
        return Ok(counts);
    }
    let given: Vec<&String> = query.iter().filter(|(name, _)| name == FILTER).map(|(_, value)| value).collect();
    if given.len() > FILTER_VALUES_MAX {
        let detail = format!("{} filters were given; at most {FILTER_VALUES_MAX} are accepted", given.len());
        return Err(Problem::parameter(FILTER, detail));
    }
    for text in given {
        let Some((column, value)) = text.split_once(':') else {
            let detail = format!("parameter 'filter': '{}' is not column:value", shown(text));
            return Err(Problem::parameter(FILTER, detail));
        };
        let Some(index) = counts.iter().position(|(name, _)| *name == column) else {
            let near = suggestion(column, endpoint.filters.iter().map(String::as_str));
            let known = endpoint.filters.join(", ");
            let detail =
                format!("parameter 'filter': '{}' cannot be filtered on{near}; there are {known}", shown(column));
            return Err(Problem::parameter(FILTER, detail));
        };
        let parsed = value::parse(value, &facts.filter_type(column)).map_err(|accepted| {
            let detail = format!("parameter 'filter': column '{column}' takes {accepted}, not '{}'", shown(value));
            Problem::parameter(FILTER, detail)
        })?;
        values.insert(filter_placeholder(index, counts[index].1), parsed);
        counts[index].1 += 1;
    }
    Ok(counts)
}

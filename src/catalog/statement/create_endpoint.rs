//! `CREATE ENDPOINT name (parameter type [DEFAULT …] [CHECK (range)], …) WITH (path='/v1/…/{parameter}', filters='…', result='rows'|'object') AS query`.
//!
//! ```text
//! CREATE ENDPOINT clicks_of (ad_id VARCHAR, "from" TIMESTAMP WITH TIME ZONE DEFAULT now() - INTERVAL '1 hour')
//! WITH (path = '/v1/ads/{ad_id}/clicks', filters = 'country, device')
//! AS SELECT count(*) AS count FROM clicks WHERE ad_id = $ad_id AND event_time >= $from AND adlake_filters()
//! ```

use datafusion::sql::sqlparser::tokenizer::{Token, Whitespace};

use super::create::Body;
use super::cursor::{Cursor, Position, tokenize};
use super::options::{OptionValue, Options};
use super::query::{self, FILTERS_FUNCTION, StoredQuery};
use super::{names, parameter_range, partitioning, types};
use crate::base::suggestion;
use crate::catalog::{CatalogError, Definition, EndpointDefinition, EndpointParameter, EndpointResult, ParameterRange};

const OPTIONS: [&str; 3] = ["path", "filters", "result"];
/// Endpoints live below it.
const PATH_PREFIX: &str = "/v1/";
/// Paths below [`PATH_PREFIX`] that the server answers itself.
const PATHS_RESERVED: [&str; 2] = ["sql", "tables"];
/// `?filter=column:value` is the server's.
const PARAMETER_RESERVED: &str = "filter";

/// A parameter and where it was declared.
struct Declared {
    parameter: EndpointParameter,
    position: Position,
}

/// Reads what follows the endpoint's name.
pub fn body(cursor: &mut Cursor) -> Result<Body, CatalogError> {
    let description = leading_comment(cursor)?;
    let declared = parameters(cursor)?;
    let position = cursor.position();
    let mut options = Options::read(cursor)?;
    let path = options.take("path").ok_or_else(|| position.bad("an endpoint needs WITH (path='/v1/…')"))?;
    check_path(&path, &declared)?;
    let filters_option = options.take("filters");
    let result = match options.take("result") {
        Some(option) => option.parse()?,
        None => EndpointResult::default(),
    };
    options.finish("CREATE ENDPOINT", &OPTIONS)?;
    let filters = match &filters_option {
        Some(option) => filter_columns(option, &declared)?,
        None => Vec::new(),
    };
    cursor.expect_word("AS")?;
    let query = query::stored(cursor)?;
    check_parameters(&declared, &query)?;
    check_filters(filters_option.as_ref(), &query)?;
    let parameters = declared.into_iter().map(|declared| declared.parameter).collect();
    let definition =
        EndpointDefinition { path: path.text, parameters, filters, query: query.text, result, description };
    Ok(Body { definition: Definition::Endpoint(definition), reads: query.reads })
}

fn parameters(cursor: &mut Cursor) -> Result<Vec<Declared>, CatalogError> {
    let mut declared: Vec<Declared> = Vec::new();
    if !cursor.symbol(&Token::LParen) {
        return Ok(declared);
    }
    while !cursor.symbol(&Token::RParen) {
        let position = cursor.position();
        let parameter = parameter(cursor)?;
        if parameter.name == PARAMETER_RESERVED {
            return Err(position.bad("a parameter cannot be called 'filter': ?filter=column:value is there already"));
        }
        if declared.iter().any(|other| other.parameter.name == parameter.name) {
            return Err(position.bad(format!("parameter '{}' is declared twice", parameter.name)));
        }
        declared.push(Declared { parameter, position });
        if !cursor.symbol(&Token::Comma) {
            cursor.expect_symbol(&Token::RParen)?;
            break;
        }
    }
    Ok(declared)
}

fn parameter(cursor: &mut Cursor) -> Result<EndpointParameter, CatalogError> {
    let position = cursor.position();
    let name = names::identifier(cursor, "a parameter name")?;
    let allowed = |character: char| character.is_ascii_alphanumeric() || character == '_';
    if name.is_empty() || !name.chars().all(allowed) || name.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(position.bad(format!("'{name}' cannot be a parameter name: use letters, digits and '_'")));
    }
    let data_type = types::data_type(cursor)?;
    let mut default = None;
    if cursor.word("DEFAULT") {
        let from = cursor.offset();
        cursor.parse(|parser| parser.parse_expr())?;
        default = Some(cursor.slice(from, cursor.offset_behind()).trim().to_owned());
    }
    let range = match cursor.word("CHECK") {
        true => parameter_range::read(cursor, &name, &data_type, default.as_deref())?,
        false => ParameterRange::default(),
    };
    Ok(EndpointParameter { name, data_type, default, range })
}

fn check_path(path: &OptionValue, declared: &[Declared]) -> Result<(), CatalogError> {
    let at = path.position;
    let text = &path.text;
    let Some(rest) = text.strip_prefix(PATH_PREFIX).filter(|rest| !rest.is_empty() && !rest.ends_with('/')) else {
        return Err(at.bad(format!("path '{text}' must begin with '{PATH_PREFIX}' and go on, without '/' at its end")));
    };
    let mut names: Vec<&str> = Vec::new();
    for (index, segment) in rest.split('/').enumerate() {
        if index == 0 && PATHS_RESERVED.contains(&segment) {
            return Err(at.bad(format!("path '{text}': '{PATH_PREFIX}{segment}' belongs to the server")));
        }
        let Some(name) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
            check_segment(segment, text, at)?;
            continue;
        };
        let Some(found) = declared.iter().find(|declared| declared.parameter.name == name) else {
            let near = suggestion(name, declared.iter().map(|declared| declared.parameter.name.as_str()));
            return Err(at.bad(format!("path '{text}': no parameter is called '{name}'{near}")));
        };
        if found.parameter.default.is_some() {
            return Err(found.position.bad(format!("parameter '{name}' is in the path, so it cannot have a default")));
        }
        if names.contains(&name) {
            return Err(at.bad(format!("path '{text}' has '{{{name}}}' twice")));
        }
        names.push(name);
    }
    Ok(())
}

fn check_segment(segment: &str, path: &str, position: Position) -> Result<(), CatalogError> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.');
    let is_dots = segment.chars().all(|character| character == '.');
    if is_dots || !segment.chars().all(allowed) {
        return Err(position.bad(format!(
            "path '{path}': '{segment}' must be letters, digits, '_', '-' and '.', or one {{parameter}}"
        )));
    }
    Ok(())
}

fn filter_columns(option: &OptionValue, declared: &[Declared]) -> Result<Vec<String>, CatalogError> {
    let mut filters = Vec::new();
    for text in option.list() {
        let name = partitioning::column_name(&text);
        if filters.contains(&name) {
            return Err(option.position.bad(format!("filters names '{name}' twice")));
        }
        if declared.iter().any(|declared| declared.parameter.name == name) {
            return Err(option.position.bad(format!("'{name}' is a parameter and a filter; keep one")));
        }
        filters.push(name);
    }
    if filters.is_empty() {
        return Err(option.position.bad("filters names no column; leave the option out"));
    }
    Ok(filters)
}

/// Every `$name` is declared, every declared parameter is used.
fn check_parameters(declared: &[Declared], query: &StoredQuery) -> Result<(), CatalogError> {
    for used in &query.parameters {
        let name = &used.name;
        if !declared.iter().any(|declared| declared.parameter.name == *name) {
            let near = suggestion(name, declared.iter().map(|declared| declared.parameter.name.as_str()));
            return Err(used
                .position
                .bad(format!("no parameter is called '{name}'; write $name of a declared one{near}")));
        }
    }
    for Declared { parameter, position } in declared {
        if !query.parameters.iter().any(|used| used.name == parameter.name) {
            return Err(position
                .bad(format!("the query does not use parameter '{0}'; write ${0} where it belongs", parameter.name)));
        }
    }
    Ok(())
}

fn check_filters(option: Option<&OptionValue>, query: &StoredQuery) -> Result<(), CatalogError> {
    match (option, query.filters.first()) {
        (Some(option), None) => Err(option.key_position.bad(format!(
            "write {FILTERS_FUNCTION}() in the query where the filters apply, such as WHERE … AND {FILTERS_FUNCTION}()"
        ))),
        (None, Some(position)) => Err(position
            .bad(format!("{FILTERS_FUNCTION}() needs WITH (filters='column, …'): which columns may be filtered by"))),
        (Some(_), Some(_)) | (None, None) => Ok(()),
    }
}

/// The comments in front of CREATE, without their dashes, one line each.
fn leading_comment(cursor: &Cursor) -> Result<String, CatalogError> {
    let mut lines: Vec<String> = Vec::new();
    for token in tokenize(cursor.text())? {
        match token.token {
            Token::Whitespace(Whitespace::SingleLineComment { comment, .. }) => lines.push(comment.trim().to_owned()),
            Token::Whitespace(Whitespace::MultiLineComment(comment)) => {
                lines.extend(comment.lines().map(|line| line.trim().trim_start_matches('*').trim().to_owned()));
            }
            Token::Whitespace(_) => {}
            _ => break,
        }
    }
    Ok(lines.join("\n").trim().to_owned())
}

//! The layout options of tables and materialized views: `partition_by='day(event_time), country'`, `sort_by='ad_id'`.

use arrow::datatypes::{DataType, Schema};

use super::cursor::Position;
use super::options::{OptionValue, Options};
use crate::base::suggestion;
use crate::catalog::CatalogError;
use crate::storage::{Partitioning, Transform};

/// Functions of `partition_by`.
const TRANSFORMS: [(&str, Transform); 3] =
    [("hour", Transform::Hour), ("day", Transform::Day), ("month", Transform::Month)];

/// Where rows lie and in which order.
#[derive(Debug)]
pub struct Layout {
    pub partition_by: Vec<Partitioning>,
    pub sort_by: Vec<String>,
}

/// Takes `partition_by` and `sort_by`. With `columns` their names and types are checked; a materialized view's are known
/// only to the planner.
pub fn take_layout(options: &mut Options, columns: Option<&Schema>) -> Result<Layout, CatalogError> {
    let mut layout = Layout { partition_by: Vec::new(), sort_by: Vec::new() };
    if let Some(option) = options.take("partition_by") {
        for text in option.list() {
            let part = partitioning(&text, &option)?;
            if let Some(columns) = columns {
                check_partitioning(&part, columns, option.position)?;
            }
            if layout.partition_by.contains(&part) {
                return Err(option.position.bad(format!("partition_by names '{text}' twice")));
            }
            layout.partition_by.push(part);
        }
    }
    if let Some(option) = options.take("sort_by") {
        for name in option.list() {
            let name = column_name(&name);
            if let Some(columns) = columns {
                check_sortable(&name, columns, option.position)?;
            }
            if layout.sort_by.contains(&name) {
                return Err(option.position.bad(format!("sort_by names '{name}' twice")));
            }
            layout.sort_by.push(name);
        }
    }
    Ok(layout)
}

/// A column an option names; unknown ones are an error with the nearest spelling.
pub fn find_column<'a>(
    option: &str,
    name: &str,
    columns: &'a Schema,
    position: Position,
) -> Result<&'a arrow::datatypes::FieldRef, CatalogError> {
    columns.fields().iter().find(|field| field.name() == name).ok_or_else(|| {
        let near = suggestion(name, columns.fields().iter().map(|field| field.name().as_str()));
        position.bad(format!("{option} names the unknown column '{name}'{near}"))
    })
}

/// Column names inside option values follow the rule of identifiers: folded unless in double quotes.
pub fn column_name(text: &str) -> String {
    match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.to_owned(),
        None => text.to_lowercase(),
    }
}

fn partitioning(text: &str, option: &OptionValue) -> Result<Partitioning, CatalogError> {
    let Some((function, rest)) = text.split_once('(') else {
        return Ok(Partitioning { column: column_name(text), transform: Transform::Identity });
    };
    let function = function.trim().to_lowercase();
    let Some(column) = rest.strip_suffix(')').map(str::trim).filter(|column| !column.is_empty()) else {
        return Err(option.position.bad(format!("partition_by '{text}': expected a form such as day(event_time)")));
    };
    match TRANSFORMS.iter().find(|(name, _)| *name == function) {
        Some((_, transform)) => Ok(Partitioning { column: column_name(column), transform: *transform }),
        None => {
            let near = suggestion(&function, TRANSFORMS.iter().map(|(name, _)| *name));
            let near = if near.is_empty() { "; use hour, day or month".to_owned() } else { near };
            Err(option.position.bad(format!("partition_by has the unknown function '{function}'{near}")))
        }
    }
}

fn check_partitioning(part: &Partitioning, columns: &Schema, position: Position) -> Result<(), CatalogError> {
    let field = find_column("partition_by", &part.column, columns, position)?;
    let data_type = field.data_type();
    let fits = match part.transform {
        Transform::Identity => is_discrete(data_type),
        Transform::Hour => matches!(data_type, DataType::Timestamp(..)),
        Transform::Day | Transform::Month => matches!(data_type, DataType::Timestamp(..) | DataType::Date32),
    };
    if fits {
        return Ok(());
    }
    let hint = match part.transform {
        Transform::Identity => "use a text, whole number, boolean or date column, or day(column) of a timestamp",
        Transform::Hour => "hour() needs a timestamp",
        Transform::Day | Transform::Month => "day() and month() need a timestamp or a date",
    };
    Err(position.bad(format!("partition_by cannot use column '{}' of type {data_type}: {hint}", part.column)))
}

fn check_sortable(name: &str, columns: &Schema, position: Position) -> Result<(), CatalogError> {
    let field = find_column("sort_by", name, columns, position)?;
    if field.data_type().is_nested() {
        return Err(position.bad(format!("sort_by cannot use column '{name}' of type {}", field.data_type())));
    }
    Ok(())
}

/// Types with values that are equal or not, without rounding: fit for identity partitions and keys.
pub fn is_discrete(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::Boolean | DataType::Date32) || data_type.is_signed_integer()
}

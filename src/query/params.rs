//! Parameters: which types a statement's `$1` and `$name` have, and putting values in their place.
//!
//! A value is cast to the type its place asks for, and only when nothing of it is lost: `1.5` for a BIGINT is an error, not 1.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::inference::cast_types;
use super::{Params, QueryError};
use crate::base::suggestion;

/// Whether planning has to look for parameters at all.
pub(super) fn may_have_parameters(sql: &str, params: &Params) -> bool {
    !matches!(params, Params::None) || sql.contains('$')
}

/// The parameters of a plan: id (`$1`, `$name`) and type where the SQL tells. Positional ones come in order.
pub(super) fn parameters_of(plan: &LogicalPlan) -> Result<Vec<(String, Option<FieldRef>)>, QueryError> {
    let mut found: BTreeMap<(usize, String), Option<FieldRef>> = BTreeMap::new();
    for (id, field) in plan.get_parameter_fields()? {
        found.insert((position(&id).unwrap_or(usize::MAX), id), field);
    }
    Ok(found.into_iter().map(|((_, id), field)| (id, field)).collect())
}

/// The schema a client binds against: one field per positional parameter, then the named ones; NULL where the SQL does not
/// tell the type.
pub(super) fn parameter_schema(plan: &LogicalPlan) -> Result<SchemaRef, QueryError> {
    let found = parameters_of(plan)?;
    let cast_to = cast_types(plan)?;
    let count = found.iter().filter_map(|(id, _)| position(id)).max().unwrap_or(0);
    let types: HashMap<&str, &FieldRef> =
        found.iter().filter_map(|(id, field)| Some((id.as_str(), field.as_ref()?))).collect();
    let field = |id: &str| {
        let known = types.get(id).map(|field| field.data_type()).or_else(|| cast_to.get(id));
        Field::new(id, known.map_or(DataType::Null, plain), true)
    };
    let named = found.iter().filter(|(id, _)| position(id).is_none()).map(|(id, _)| field(id));
    let positional = (1..=count).map(|index| field(&format!("${index}")));
    let fields: Vec<Field> = positional.chain(named).collect();
    Ok(Arc::new(Schema::new(fields)))
}

/// A column's layout is no business of who binds a value: text is `Utf8`, bytes are `Binary`.
fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Dictionary(_, value) => plain(value),
        other => other.clone(),
    }
}

/// Puts values in the place of parameters. `declared` are named parameters in the order they were planned with.
///
/// # Errors
/// A missing or extra value, a value of the wrong type; each names the parameter.
pub(super) fn bind(plan: LogicalPlan, params: &Params, declared: &[FieldRef]) -> Result<LogicalPlan, QueryError> {
    let wanted = parameters_of(&plan)?;
    check_count(&wanted, params)?;
    check_names(&wanted, params, declared)?;
    if wanted.is_empty() {
        return Ok(plan);
    }
    let mut values: HashMap<String, ScalarAndMetadata> = HashMap::with_capacity(wanted.len());
    for (id, field) in &wanted {
        let (name, value) = value_of(id, params, declared)?;
        let value = match field {
            Some(field) => fit(value, field.data_type()).map_err(|reason| wrong(&name, &reason))?,
            None => value.clone(),
        };
        values.insert(id.trim_start_matches('$').to_owned(), ScalarAndMetadata::from(value));
    }
    Ok(plan.replace_params_with_values(&ParamValues::Map(values))?)
}

fn check_count(wanted: &[(String, Option<FieldRef>)], params: &Params) -> Result<(), QueryError> {
    let needed = wanted.iter().filter_map(|(id, _)| position(id)).max().unwrap_or(0);
    match params {
        Params::Positional(values) if values.len() != needed => Err(QueryError::Invalid {
            message: format!("statement has {needed} parameters, {} values were given", values.len()),
        }),
        Params::None if !wanted.is_empty() => Err(QueryError::Invalid {
            message: format!("statement has {} parameters, no values were given", wanted.len()),
        }),
        Params::None | Params::Positional(_) | Params::Named(_) => Ok(()),
    }
}

/// A value under a name that the statement does not have would be lost, and is most often a name misspelt.
fn check_names(
    wanted: &[(String, Option<FieldRef>)],
    params: &Params,
    declared: &[FieldRef],
) -> Result<(), QueryError> {
    let Params::Named(values) = params else { return Ok(()) };
    let asked = wanted.iter().map(|(id, _)| id.trim_start_matches('$'));
    let known: Vec<&str> = asked.chain(declared.iter().map(|field| field.name().as_str())).collect();
    match values.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let hint = suggestion(name, known.iter().copied());
            Err(QueryError::Invalid { message: format!("statement has no parameter ${name}{hint}") })
        }
    }
}

fn value_of<'p>(id: &str, params: &'p Params, declared: &[FieldRef]) -> Result<(String, &'p ScalarValue), QueryError> {
    let found = match (params, position(id)) {
        (Params::Positional(values), Some(index)) => (id.to_owned(), values.get(index - 1)),
        (Params::Named(values), Some(index)) => match declared.get(index - 1) {
            Some(field) => (format!("${}", field.name()), values.get(field.name())),
            None => (id.to_owned(), values.get(&id[1..])),
        },
        (Params::Named(values), None) => (id.to_owned(), values.get(id.trim_start_matches('$'))),
        (Params::None | Params::Positional(_), _) => (id.to_owned(), None),
    };
    match found {
        (name, Some(value)) => Ok((name, value)),
        (name, None) => Err(QueryError::Invalid { message: format!("no value was given for parameter {name}") }),
    }
}

fn wrong(name: &str, reason: &str) -> QueryError {
    QueryError::Invalid { message: format!("parameter {name}: {reason}") }
}

/// 1 for `$1`.
fn position(id: &str) -> Option<usize> {
    id.strip_prefix('$')?.parse().ok().filter(|index| *index > 0)
}

/// `value` as `wanted`, or why it is not one.
pub(super) fn fit(value: &ScalarValue, wanted: &DataType) -> Result<ScalarValue, String> {
    let own = value.data_type();
    if own == *wanted {
        return Ok(value.clone());
    }
    let refuse = || format!("'{value}' is not a valid {}", sql_name(wanted));
    if value.is_null() {
        return ScalarValue::try_from(wanted).map_err(|_| refuse());
    }
    let text = matches!(own, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let cast = value.cast_to(wanted).map_err(|_| refuse())?;
    if cast.is_null() {
        return Err(refuse());
    }
    let numbers = own.is_numeric() && wanted.is_numeric() && !(own.is_floating() && wanted.is_floating());
    if !text && numbers && cast.cast_to(&own).map_err(|_| refuse())? != *value {
        return Err(refuse());
    }
    match is_cut(value, &cast) {
        true => Err(format!("'{value}' is finer than a {}, which would lose a part of it", sql_name(wanted))),
        false => Ok(cast),
    }
}

/// Whether a moment, or the text of one, has lost its nanoseconds, or its time of day.
fn is_cut(value: &ScalarValue, cast: &ScalarValue) -> bool {
    let own = value.data_type();
    let finest = match cast.data_type() {
        DataType::Timestamp(_, zone) if !own.is_numeric() => DataType::Timestamp(TimeUnit::Nanosecond, zone),
        _ if matches!(own, DataType::Timestamp(..) | DataType::Date64) => own.clone(),
        _ => return false,
    };
    match (value.cast_to(&finest), cast.cast_to(&finest)) {
        (Ok(value), Ok(cast)) => value != cast,
        // Further away than nanoseconds can tell: nobody's value has any then.
        _ => false,
    }
}

/// A type as users write it.
pub(super) fn sql_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INTEGER".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::UInt8 => "TINYINT UNSIGNED".to_owned(),
        DataType::UInt16 => "SMALLINT UNSIGNED".to_owned(),
        DataType::UInt32 => "INTEGER UNSIGNED".to_owned(),
        DataType::UInt64 => "BIGINT UNSIGNED".to_owned(),
        DataType::Float32 => "REAL".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BYTEA".to_owned(),
        DataType::Date32 | DataType::Date64 => "DATE".to_owned(),
        DataType::Timestamp(_, None) => "TIMESTAMP".to_owned(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE".to_owned(),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            format!("DECIMAL({precision}, {scale})")
        }
        DataType::List(field) | DataType::LargeList(field) => format!("{}[]", sql_name(field.data_type())),
        DataType::Map(..) => "MAP<VARCHAR, VARCHAR>".to_owned(),
        DataType::Dictionary(_, value) => sql_name(value),
        other => other.to_string().to_uppercase(),
    }
}

/// Whether a plan has any parameter left.
pub(super) fn has_placeholder(plan: &LogicalPlan) -> Result<bool, QueryError> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found |= expr.exists(|expr| Ok(matches!(expr, Expr::Placeholder(_))))?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fit_only_without_loss() {
        let decimal = ScalarValue::Decimal128(Some(150), 10, 2);
        assert!(fit(&decimal, &DataType::Int64).is_err());
        assert_eq!(fit(&ScalarValue::Decimal128(Some(100), 10, 2), &DataType::Int64), Ok(ScalarValue::from(1_i64)));
        assert_eq!(fit(&ScalarValue::from("42"), &DataType::Int64), Ok(ScalarValue::from(42_i64)));
        assert_eq!(fit(&ScalarValue::Int64(Some(7)), &DataType::Int32), Ok(ScalarValue::Int32(Some(7))));
        assert!(fit(&ScalarValue::Int64(Some(i64::MAX)), &DataType::Int32).is_err());
        assert!(fit(&ScalarValue::from(1.5), &DataType::Int64).is_err());
        let (odd, double) = (ScalarValue::from((1_i64 << 53) + 1), DataType::Float64);
        assert_eq!(fit(&odd, &double), Err("'9007199254740993' is not a valid DOUBLE".to_owned()));
        assert_eq!(fit(&ScalarValue::from(1_i64 << 53), &double), Ok(ScalarValue::from(9_007_199_254_740_992.0)));
        assert_eq!(fit(&ScalarValue::Decimal128(Some(1), 10, 1), &double), Ok(ScalarValue::from(0.1)));
        assert_eq!(fit(&ScalarValue::from(0.1), &DataType::Float32), Ok(ScalarValue::from(0.1_f32)));
        assert_eq!(fit(&ScalarValue::Null, &DataType::Int64), Ok(ScalarValue::Int64(None)));
        assert_eq!(fit(&ScalarValue::from("x"), &DataType::Int64), Err("'x' is not a valid BIGINT".to_owned()));
    }

    #[test]
    fn moments_fit_whole() {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let nanos = |nanos: i64| ScalarValue::TimestampNanosecond(Some(nanos), Some("UTC".into()));
        let moment = |micros: i64| Ok(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())));
        assert_eq!(fit(&nanos(1_000), &micros), moment(1));
        assert!(fit(&nanos(1_001), &micros).unwrap_err().contains("is finer than a TIMESTAMP WITH TIME ZONE"));
        assert_eq!(fit(&ScalarValue::from("1970-01-01T00:00:00.000001Z"), &micros), moment(1));
        assert!(fit(&ScalarValue::from("1970-01-01T00:00:00.000001001Z"), &micros).is_err());
        assert!(fit(&ScalarValue::from("9999-01-01T00:00:00Z"), &micros).is_ok());
        let day = 86_400_000_000_i64;
        let at = |micros: i64| ScalarValue::TimestampMicrosecond(Some(micros), None);
        assert_eq!(fit(&at(day), &DataType::Date32), Ok(ScalarValue::Date32(Some(1))));
        assert!(fit(&at(day + 1), &DataType::Date32).is_err());
        assert!(fit(&ScalarValue::Date32(Some(1)), &micros).is_ok());
    }
}

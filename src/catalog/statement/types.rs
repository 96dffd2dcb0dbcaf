//! SQL types of columns and parameters → Arrow types. Only what a Delta table can hold, exactly as written: a length or
//! precision we would not enforce is refused instead of forgotten.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::sql::sqlparser::ast::{ArrayElemTypeDef, DataType as SqlType, ExactNumberInfo, TimezoneInfo};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::{Cursor, Position, is_word};
use crate::base::suggestion;
use crate::catalog::CatalogError;

/// What a user may write, for suggestions.
const TYPE_NAMES: [&str; 19] = [
    "VARCHAR",
    "TEXT",
    "STRING",
    "BIGINT",
    "INT",
    "INTEGER",
    "SMALLINT",
    "TINYINT",
    "BOOLEAN",
    "DOUBLE",
    "REAL",
    "FLOAT",
    "DECIMAL",
    "NUMERIC",
    "DATE",
    "TIMESTAMP",
    "TIMESTAMPTZ",
    "BYTEA",
    "VARBINARY",
];
/// Words in a column's name that say it holds money.
const MONEY_WORDS: [&str; 6] = ["micros", "price", "cost", "spend", "budget", "revenue"];
/// A name ending so is a quotient, not an amount: `price_ratio`.
const QUOTIENT_WORDS: [&str; 6] = ["ratio", "rate", "share", "percent", "factor", "score"];
const DECIMAL_PRECISION_MAX: u64 = 38;

/// Timestamps with a time zone: UTC microseconds.
pub fn timestamp_utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Reads a type.
pub fn data_type(cursor: &mut Cursor) -> Result<DataType, CatalogError> {
    let position = cursor.position();
    if is_word(cursor.peek(), "MAP") {
        return map(cursor);
    }
    let sql = cursor.parse(|parser| parser.parse_data_type())?;
    to_arrow(&sql, position)
}

/// `MAP<VARCHAR, VARCHAR>`, also in round brackets: what tables keep unknown fields in.
fn map(cursor: &mut Cursor) -> Result<DataType, CatalogError> {
    cursor.expect_word("MAP")?;
    let angled = cursor.symbol(&Token::Lt);
    if !angled {
        cursor.expect_symbol(&Token::LParen)?;
    }
    let position = cursor.position();
    let key = data_type(cursor)?;
    cursor.expect_symbol(&Token::Comma)?;
    let value = data_type(cursor)?;
    if (&key, &value) != (&DataType::Utf8, &DataType::Utf8) {
        return Err(position.unimplemented("of maps only MAP<VARCHAR, VARCHAR> is supported"));
    }
    cursor.expect_symbol(if angled { &Token::Gt } else { &Token::RParen })?;
    // The names are those Delta gives: the type read back is the type declared.
    let pair = vec![Field::new("key", key, false), Field::new("value", value, true)];
    Ok(DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(pair.into()), false)), false))
}

/// Refuses floating point for a column whose name says money: sums of it would be approximately right.
pub fn check_money(column: &str, data_type: &DataType, position: Position) -> Result<(), CatalogError> {
    let words: Vec<&str> = column.split('_').collect();
    let is_money = words.iter().any(|word| MONEY_WORDS.contains(word));
    let is_quotient = words.last().is_some_and(|word| QUOTIENT_WORDS.contains(word));
    if is_money && !is_quotient && data_type.is_floating() {
        return Err(position.bad(format!(
            "column '{column}' holds money, which must not be floating point: use BIGINT micros or DECIMAL(p, s)"
        )));
    }
    Ok(())
}

fn to_arrow(sql: &SqlType, position: Position) -> Result<DataType, CatalogError> {
    Ok(match sql {
        SqlType::Varchar(None) | SqlType::CharacterVarying(None) | SqlType::Text | SqlType::String(None) => {
            DataType::Utf8
        }
        SqlType::Varchar(_) | SqlType::CharacterVarying(_) | SqlType::Char(_) | SqlType::Character(_) => {
            return Err(position.bad(format!(
                "type {sql}: lengths are not kept; use VARCHAR, with CHECK (length(column) <= …) if the length matters"
            )));
        }
        SqlType::BigInt(None) | SqlType::Int8(None) | SqlType::Int64 => DataType::Int64,
        SqlType::Int(None) | SqlType::Integer(None) | SqlType::Int4(None) | SqlType::Int32 => DataType::Int32,
        SqlType::SmallInt(None) | SqlType::Int2(None) | SqlType::Int16 => DataType::Int16,
        SqlType::TinyInt(None) => DataType::Int8,
        SqlType::Boolean | SqlType::Bool => DataType::Boolean,
        SqlType::Double(ExactNumberInfo::None) | SqlType::DoublePrecision | SqlType::Float8 | SqlType::Float64 => {
            DataType::Float64
        }
        SqlType::Real | SqlType::Float(ExactNumberInfo::None) | SqlType::Float4 | SqlType::Float32 => DataType::Float32,
        SqlType::Decimal(number) | SqlType::Numeric(number) | SqlType::Dec(number) => decimal(*number, position)?,
        SqlType::Date => DataType::Date32,
        SqlType::Timestamp(precision, zone) => timestamp(*precision, zone, position)?,
        SqlType::TimestampNtz(precision) => timestamp(*precision, &TimezoneInfo::None, position)?,
        SqlType::Bytea | SqlType::Varbinary(None) | SqlType::Blob(None) | SqlType::Bytes(None) => DataType::Binary,
        SqlType::Array(ArrayElemTypeDef::SquareBracket(element, None) | ArrayElemTypeDef::AngleBracket(element)) => {
            // 'element' is what Delta calls it: the type read back is the type declared.
            DataType::List(Arc::new(Field::new("element", to_arrow(element, position)?, true)))
        }
        other => return Err(refused(other, position)),
    })
}

fn decimal(number: ExactNumberInfo, position: Position) -> Result<DataType, CatalogError> {
    let (precision, scale) = match number {
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::None => {
            return Err(position.bad("DECIMAL needs a precision and a scale, such as DECIMAL(18, 6)"));
        }
    };
    let is_valid =
        (1..=DECIMAL_PRECISION_MAX).contains(&precision) && u64::try_from(scale).is_ok_and(|scale| scale <= precision);
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(precision), Ok(scale)) if is_valid => Ok(DataType::Decimal128(precision, scale)),
        _ => Err(position.bad(format!(
            "DECIMAL({precision}, {scale}): the precision is 1 to {DECIMAL_PRECISION_MAX}, the scale 0 to the precision"
        ))),
    }
}

fn timestamp(precision: Option<u64>, zone: &TimezoneInfo, position: Position) -> Result<DataType, CatalogError> {
    if precision.is_some_and(|digits| digits != 6) {
        return Err(position.bad("timestamps are kept in microseconds; leave the precision out"));
    }
    Ok(match zone {
        TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => timestamp_utc(),
        TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => DataType::Timestamp(TimeUnit::Microsecond, None),
    })
}

fn refused(sql: &SqlType, position: Position) -> CatalogError {
    match sql {
        SqlType::Custom(name, _) => {
            let name = name.to_string();
            let near = suggestion(&name, TYPE_NAMES);
            position.bad(format!("unknown type '{name}'{near}"))
        }
        SqlType::Unspecified => position.syntax("expected a type"),
        SqlType::Struct(..) | SqlType::Map(..) => {
            position.unimplemented(format!("type {sql} is not supported yet: use one column per field"))
        }
        SqlType::Uuid | SqlType::JSON | SqlType::JSONB => {
            position.bad(format!("type {sql} is not supported; use VARCHAR"))
        }
        SqlType::Time(..) | SqlType::Interval { .. } | SqlType::Datetime(_) => {
            position.bad(format!("type {sql} is not supported; use TIMESTAMP WITH TIME ZONE, or BIGINT microseconds"))
        }
        other => position.bad(format!("type {other} is not supported; use one of {}", TYPE_NAMES.join(", "))),
    }
}

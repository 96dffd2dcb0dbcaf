//! The SQL name of a column's type, as replies and the OpenAPI document print it.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};

/// `BIGINT`, `DECIMAL(18, 2)`, `TIMESTAMP WITH TIME ZONE` …; types SQL has no word for print as Arrow names them.
pub fn name(data_type: &DataType) -> String {
    let plain = match data_type {
        DataType::Null => "NULL",
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 => "TINYINT",
        DataType::Int16 => "SMALLINT",
        DataType::Int32 => "INT",
        DataType::Int64 => "BIGINT",
        DataType::UInt8 => "TINYINT UNSIGNED",
        DataType::UInt16 => "SMALLINT UNSIGNED",
        DataType::UInt32 => "INT UNSIGNED",
        DataType::UInt64 => "BIGINT UNSIGNED",
        DataType::Float32 => "REAL",
        DataType::Float64 => "DOUBLE",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "VARBINARY",
        DataType::Date32 | DataType::Date64 => "DATE",
        DataType::Time32(_) | DataType::Time64(_) => "TIME",
        DataType::Interval(IntervalUnit::YearMonth | IntervalUnit::DayTime | IntervalUnit::MonthDayNano) => "INTERVAL",
        DataType::Timestamp(unit, zone) => return timestamp(*unit, zone.is_some()),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => return format!("DECIMAL({precision}, {scale})"),
        DataType::Dictionary(_, value) => return name(value),
        DataType::List(item) | DataType::LargeList(item) => return format!("{}[]", name(item.data_type())),
        other => return other.to_string(),
    };
    plain.to_owned()
}

fn timestamp(unit: TimeUnit, zoned: bool) -> String {
    let digits = match unit {
        TimeUnit::Second => "(0)",
        TimeUnit::Millisecond => "(3)",
        TimeUnit::Microsecond => "",
        TimeUnit::Nanosecond => "(9)",
    };
    format!("TIMESTAMP{digits}{}", if zoned { " WITH TIME ZONE" } else { "" })
}

//! `CommandGetXdbcTypeInfo`: the types of columns, as ODBC and JDBC name them.

use super::super::error::internal;
use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{Nullable, Searchable, XdbcDataType, XdbcDatetimeSubcode};
use tonic::Status;

/// A type without literal quotes.
fn plain(name: &str, data_type: XdbcDataType, column_size: i32) -> XdbcTypeInfo {
    XdbcTypeInfo {
        type_name: name.to_owned(),
        local_type_name: Some(name.to_owned()),
        data_type,
        sql_data_type: data_type,
        column_size: Some(column_size),
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::Full,
        auto_increment: Some(false),
        ..XdbcTypeInfo::default()
    }
}

fn number(name: &str, data_type: XdbcDataType, digits: i32) -> XdbcTypeInfo {
    XdbcTypeInfo {
        unsigned_attribute: Some(false),
        minimum_scale: Some(0),
        maximum_scale: Some(0),
        num_prec_radix: Some(10),
        ..plain(name, data_type, digits)
    }
}

fn quoted(name: &str, data_type: XdbcDataType, column_size: i32, prefix: &str) -> XdbcTypeInfo {
    XdbcTypeInfo {
        literal_prefix: Some(prefix.to_owned()),
        literal_suffix: Some("'".to_owned()),
        ..plain(name, data_type, column_size)
    }
}

fn time(name: &str, data_type: XdbcDataType, size: i32, subcode: Option<XdbcDatetimeSubcode>) -> XdbcTypeInfo {
    XdbcTypeInfo {
        sql_data_type: XdbcDataType::XdbcDatetime,
        datetime_subcode: subcode,
        ..quoted(name, data_type, size, &format!("{name} '"))
    }
}

/// Every type a table column can have.
fn types() -> Vec<XdbcTypeInfo> {
    let decimal = XdbcTypeInfo {
        create_params: Some(vec!["precision".to_owned(), "scale".to_owned()]),
        maximum_scale: Some(38),
        fixed_prec_scale: true,
        ..number("DECIMAL", XdbcDataType::XdbcDecimal, 38)
    };
    let text = XdbcTypeInfo { case_sensitive: true, ..quoted("VARCHAR", XdbcDataType::XdbcVarchar, i32::MAX, "'") };
    vec![
        plain("BOOLEAN", XdbcDataType::XdbcBit, 1),
        number("TINYINT", XdbcDataType::XdbcTinyint, 3),
        number("SMALLINT", XdbcDataType::XdbcSmallint, 5),
        number("INT", XdbcDataType::XdbcInteger, 10),
        number("BIGINT", XdbcDataType::XdbcBigint, 19),
        number("FLOAT", XdbcDataType::XdbcReal, 7),
        number("DOUBLE", XdbcDataType::XdbcDouble, 15),
        decimal,
        text,
        quoted("BYTEA", XdbcDataType::XdbcVarbinary, i32::MAX, "X'"),
        time("DATE", XdbcDataType::XdbcDate, 10, Some(XdbcDatetimeSubcode::XdbcSubcodeYear)),
        time("TIMESTAMP", XdbcDataType::XdbcTimestamp, 26, Some(XdbcDatetimeSubcode::XdbcSubcodeTimestamp)),
    ]
}

pub(in crate::server::flight_sql) fn type_info() -> Result<XdbcTypeInfoData, Status> {
    let mut builder = XdbcTypeInfoDataBuilder::new();
    types().into_iter().for_each(|info| builder.append(info));
    builder.build().map_err(|error| internal(format!("cannot build type information: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_type_can_be_asked_for() {
        let info = type_info().unwrap();
        assert_eq!(info.record_batch(None).unwrap().num_rows(), 12);
        let bigint = info.record_batch(XdbcDataType::XdbcBigint as i32).unwrap();
        assert_eq!(bigint.num_rows(), 1);
    }
}

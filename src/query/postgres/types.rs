//! `pg_type`, and which of its types a column of ours has.

use arrow::datatypes::DataType;

use super::columns::Cell;
use super::names::{OWNER_OID, PG_CATALOG_OID};

/// Name, number, number of its array, bytes (-1: any number, -2: text ended by zero), category, name for people.
type Row = (&'static str, i64, i64, i64, &'static str, &'static str);

const TYPES: [Row; 28] = [
    ("bool", 16, 1000, 1, "B", "boolean"),
    ("bytea", 17, 1001, -1, "U", "bytea"),
    ("char", 18, 1002, 1, "Z", "\"char\""),
    ("name", 19, 1003, 64, "S", "name"),
    ("int8", 20, 1016, 8, "N", "bigint"),
    ("int2", 21, 1005, 2, "N", "smallint"),
    ("int4", 23, 1007, 4, "N", "integer"),
    ("regproc", 24, 1008, 4, "N", "regproc"),
    ("text", 25, 1009, -1, "S", "text"),
    ("oid", 26, 1028, 4, "N", "oid"),
    ("json", 114, 199, -1, "U", "json"),
    ("float4", 700, 1021, 4, "N", "real"),
    ("float8", 701, 1022, 8, "N", "double precision"),
    ("unknown", 705, 0, -2, "X", "unknown"),
    ("bpchar", 1042, 1014, -1, "S", "character"),
    ("varchar", 1043, 1015, -1, "S", "character varying"),
    ("date", 1082, 1182, 4, "D", "date"),
    ("time", 1083, 1183, 8, "D", "time without time zone"),
    ("timestamp", 1114, 1115, 8, "D", "timestamp without time zone"),
    ("timestamptz", 1184, 1185, 8, "D", "timestamp with time zone"),
    ("interval", 1186, 1187, 16, "T", "interval"),
    ("timetz", 1266, 1270, 12, "D", "time with time zone"),
    ("numeric", 1700, 1231, -1, "N", "numeric"),
    ("regclass", 2205, 2210, 4, "N", "regclass"),
    ("regtype", 2206, 2211, 4, "N", "regtype"),
    ("uuid", 2950, 2951, 16, "U", "uuid"),
    ("void", 2278, 0, 4, "P", "void"),
    ("jsonb", 3802, 3807, -1, "U", "jsonb"),
];

/// Rows of `pg_type`: every type, then every array.
pub(super) fn rows() -> Vec<Vec<(&'static str, Cell)>> {
    let one = TYPES.iter().map(|(name, oid, array, size, category, _)| {
        let input = if *name == "bool" { "boolin".to_owned() } else { format!("{name}in") };
        let mut row = row((*oid, (*name).to_owned(), *size, category), input);
        row.push(("typarray", Cell::Number(*array)));
        row
    });
    let arrays = TYPES.iter().filter(|(_, _, array, ..)| *array != 0).map(|(name, oid, array, ..)| {
        let mut row = row((*array, format!("_{name}"), -1, &"A"), "array_in".to_owned());
        row.push(("typelem", Cell::Number(*oid)));
        row
    });
    one.chain(arrays).collect()
}

fn row((oid, name, size, category): (i64, String, i64, &&str), input: String) -> Vec<(&'static str, Cell)> {
    vec![
        ("oid", Cell::Number(oid)),
        ("typname", Cell::text(name)),
        ("typnamespace", Cell::Number(PG_CATALOG_OID)),
        ("typowner", Cell::Number(OWNER_OID)),
        ("typlen", Cell::Number(size)),
        ("typbyval", Cell::Flag((1..=8).contains(&size))),
        ("typtype", Cell::text(if *category == "P" { "p" } else { "b" })),
        ("typcategory", Cell::text(*category)),
        ("typinput", Cell::text(input)),
    ]
}

/// Number, modifier and size of the type that a column of ours is sent as.
pub(super) fn of_column(data_type: &DataType) -> (i64, i64, i64) {
    let plain = |oid: i64| (oid, -1, size(oid));
    match data_type {
        DataType::Boolean => plain(16),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => plain(21),
        DataType::Int32 | DataType::UInt16 => plain(23),
        DataType::Int64 | DataType::UInt32 => plain(20),
        DataType::UInt64 => (1700, (20 << 16) + 4, -1),
        DataType::Float16 | DataType::Float32 => plain(700),
        DataType::Float64 => plain(701),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale)
            if *scale >= 0 =>
        {
            (1700, (i64::from(*precision) << 16) + i64::from(*scale) + 4, -1)
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => plain(25),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => plain(17),
        DataType::Date32 | DataType::Date64 => plain(1082),
        DataType::Time32(_) | DataType::Time64(_) => plain(1083),
        DataType::Timestamp(_, None) => plain(1114),
        DataType::Timestamp(_, Some(_)) => plain(1184),
        DataType::Interval(_) | DataType::Duration(_) => plain(1186),
        DataType::Dictionary(_, values) => of_column(values),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => {
            let (of, ..) = of_column(item.data_type());
            let array = TYPES.iter().find(|(_, oid, ..)| *oid == of && of != 114).map(|(_, _, array, ..)| *array);
            plain(array.unwrap_or(114))
        }
        _ => plain(114),
    }
}

fn size(oid: i64) -> i64 {
    TYPES.iter().find(|(_, known, ..)| *known == oid).map_or(-1, |(_, _, _, size, ..)| *size)
}

/// The number of a type that people, or PostgreSQL, call so.
pub(super) fn oid_called(name: &str) -> Option<i64> {
    let name = name.to_ascii_lowercase();
    TYPES.iter().find(|(known, .., for_people)| *known == name || *for_people == name).map(|(_, oid, ..)| *oid)
}

/// The type that a cast to PostgreSQL's `name` gives here.
pub(super) fn ours(name: &str) -> Option<&'static str> {
    Some(match name {
        "bool" => "BOOLEAN",
        "bytea" => "BYTEA",
        "int2" => "SMALLINT",
        "int4" => "INTEGER",
        "int8" => "BIGINT",
        "float4" => "REAL",
        "float8" => "DOUBLE",
        "text" | "varchar" | "bpchar" => "VARCHAR",
        "date" => "DATE",
        "timestamp" => "TIMESTAMP",
        "timestamptz" => "TIMESTAMP WITH TIME ZONE",
        _ => return None,
    })
}

/// `format_type(oid, modifier)` as SQL.
pub(super) fn name_of(oid: &str, modifier: &str) -> String {
    let modifier = format!("CAST({modifier} AS BIGINT)");
    let ones =
        TYPES.iter().filter(|(name, ..)| *name != "numeric").map(|(_, oid, _, _, _, name)| (*oid, (*name).to_owned()));
    let arrays = TYPES
        .iter()
        .filter(|(_, _, array, ..)| *array != 0)
        .map(|(_, _, array, _, _, name)| (*array, format!("{name}[]")));
    let cases: String = ones.chain(arrays).map(|(oid, name)| format!(" WHEN {oid} THEN '{name}'")).collect();
    format!(
        "CASE {oid} WHEN 1700 THEN CASE WHEN {modifier} IS NULL OR {modifier} < 4 THEN 'numeric' ELSE concat('numeric(', \
         CAST(({modifier} - 4) / 65536 AS VARCHAR), ',', CAST(({modifier} - 4) % 65536 AS VARCHAR), ')') END{cases} \
         ELSE NULL END"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_types_that_are_listed() {
        for data_type in [DataType::Int64, DataType::Utf8View, DataType::Decimal128(10, 2), DataType::Date32] {
            let (oid, ..) = of_column(&data_type);
            assert!(TYPES.iter().any(|(_, known, ..)| *known == oid), "{data_type}");
        }
        assert_eq!(of_column(&DataType::Decimal128(10, 2)).1, (10 << 16) + 2 + 4);
        assert_eq!(oid_called("character varying"), Some(1043));
    }
}

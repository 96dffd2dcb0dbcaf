//! Types: what a column of ours is in PostgreSQL, and what its types are here.

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, IntervalUnit, TimeUnit};

/// A type of PostgreSQL that our values are sent as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    /// Digits and scale, where they are known.
    Numeric(Option<(u8, i8)>),
    Text,
    Bytea,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Interval,
    Json,
}

/// What a column is sent as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    One(Scalar),
    Array(Scalar),
}

/// Type, its array, and the bytes of a value (negative: any number).
const OIDS: [(Scalar, u32, u32, i16); 15] = [
    (Scalar::Bool, 16, 1000, 1),
    (Scalar::Int2, 21, 1005, 2),
    (Scalar::Int4, 23, 1007, 4),
    (Scalar::Int8, 20, 1016, 8),
    (Scalar::Float4, 700, 1021, 4),
    (Scalar::Float8, 701, 1022, 8),
    (Scalar::Numeric(None), 1700, 1231, -1),
    (Scalar::Text, 25, 1009, -1),
    (Scalar::Bytea, 17, 1001, -1),
    (Scalar::Date, 1082, 1182, 4),
    (Scalar::Time, 1083, 1183, 8),
    (Scalar::Timestamp, 1114, 1115, 8),
    (Scalar::TimestampTz, 1184, 1185, 8),
    (Scalar::Interval, 1186, 1187, 16),
    (Scalar::Json, 114, 199, -1),
];

/// Types that only clients have: their values are text here.
const ALSO_TEXT: [(u32, u32); 5] = [(1043, 1015), (1042, 1014), (19, 1003), (705, 0), (2950, 2951)];
/// Types of numbers that only clients have (oid).
const ALSO_INT8: u32 = 26;
/// `jsonb`, whose binary form has a version in front.
pub(super) const JSONB: u32 = 3802;
/// `uuid`, whose binary form has 16 bytes.
pub(super) const UUID: u32 = 2950;

impl Scalar {
    fn row(self) -> (u32, u32, i16) {
        let bare = match self {
            Self::Numeric(_) => Self::Numeric(None),
            other => other,
        };
        let found = OIDS.iter().find(|(scalar, ..)| *scalar == bare);
        found.map_or((25, 1009, -1), |(_, oid, array, size)| (*oid, *array, *size))
    }

    pub fn oid(self) -> u32 {
        self.row().0
    }

    fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Self::Bool,
            DataType::Int8 | DataType::Int16 | DataType::UInt8 => Self::Int2,
            DataType::Int32 | DataType::UInt16 => Self::Int4,
            DataType::Int64 | DataType::UInt32 => Self::Int8,
            DataType::UInt64 => Self::Numeric(Some((20, 0))),
            DataType::Float16 | DataType::Float32 => Self::Float4,
            DataType::Float64 => Self::Float8,
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale)
            | DataType::Decimal256(precision, scale) => Self::Numeric(Some((*precision, *scale))),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => Self::Text,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Self::Bytea
            }
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Time32(_) | DataType::Time64(_) => Self::Time,
            DataType::Timestamp(_, None) => Self::Timestamp,
            DataType::Timestamp(_, Some(_)) => Self::TimestampTz,
            DataType::Interval(_) | DataType::Duration(_) => Self::Interval,
            DataType::Dictionary(_, values) => return Self::of(values),
            DataType::RunEndEncoded(_, values) => return Self::of(values.data_type()),
            _ => return None,
        })
    }

    /// The one layout its values have before they are written.
    fn layout(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 => DataType::Int64,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Numeric(Some((precision, scale))) if precision <= DECIMAL128_MAX_PRECISION => {
                DataType::Decimal128(precision, scale)
            }
            Self::Numeric(Some((precision, scale))) => DataType::Decimal256(precision, scale),
            Self::Numeric(None) => DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0),
            Self::Text | Self::Json => DataType::Utf8,
            Self::Bytea => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
        }
    }
}

impl Shape {
    /// Of a column of this type; what PostgreSQL has nothing like is JSON.
    pub fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::FixedSizeList(item, _)
            | DataType::ListView(item)
            | DataType::LargeListView(item) => {
                Scalar::of(item.data_type()).map_or(Self::One(Scalar::Json), Self::Array)
            }
            DataType::Dictionary(_, values) => Self::of(values),
            other => Self::One(Scalar::of(other).unwrap_or(Scalar::Json)),
        }
    }

    pub fn oid(self) -> u32 {
        match self {
            Self::One(scalar) => scalar.row().0,
            Self::Array(scalar) => scalar.row().1,
        }
    }

    pub fn size(self) -> i16 {
        match self {
            Self::One(scalar) => scalar.row().2,
            Self::Array(_) => -1,
        }
    }

    /// `numeric(precision, scale)` as a type modifier; -1 = none.
    pub fn modifier(self) -> i32 {
        match self {
            Self::One(Scalar::Numeric(Some((precision, scale)))) if scale >= 0 => {
                ((i32::from(precision) << 16) | i32::from(scale)) + 4
            }
            Self::One(_) | Self::Array(_) => -1,
        }
    }

    /// The layout that values are written from; `None` = as they are, as JSON.
    pub fn layout(self) -> Option<DataType> {
        match self {
            Self::One(Scalar::Json) => None,
            Self::One(scalar) => Some(scalar.layout()),
            Self::Array(scalar) => Some(DataType::List(Arc::new(Field::new_list_field(scalar.layout(), true)))),
        }
    }

    /// The type that clients call `oid`; `None`: one we have not, or none.
    pub fn called(oid: u32) -> Option<Self> {
        if ALSO_TEXT.iter().any(|(one, _)| *one == oid) {
            return Some(Self::One(Scalar::Text));
        }
        if oid != 0 && ALSO_TEXT.iter().any(|(_, array)| *array == oid) {
            return Some(Self::Array(Scalar::Text));
        }
        match oid {
            ALSO_INT8 => return Some(Self::One(Scalar::Int8)),
            JSONB => return Some(Self::One(Scalar::Text)),
            _ => {}
        }
        OIDS.iter().find_map(|(scalar, one, array, _)| match oid {
            oid if oid == *one => Some(Self::One(*scalar)),
            oid if oid == *array => Some(Self::Array(*scalar)),
            _ => None,
        })
    }

    /// The type a parameter has that a client calls `oid`; `None`: the statement decides.
    pub fn parameter(oid: u32) -> Option<DataType> {
        match (oid, Self::called(oid)?) {
            // 'unknown' is what literals are: the place decides.
            (705, _) | (_, Self::One(Scalar::Numeric(_)) | Self::Array(Scalar::Numeric(_))) => None,
            (_, Self::One(Scalar::Json)) => Some(DataType::Utf8),
            (_, shape) => shape.layout(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_postgres_types() {
        let list = |item| DataType::List(Arc::new(Field::new_list_field(item, true)));
        for (ours, oid) in [
            (DataType::Int64, 20),
            (DataType::UInt64, 1700),
            (DataType::Utf8View, 25),
            (DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), 25),
            (DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())), 1184),
            (list(DataType::Int64), 1016),
            (list(list(DataType::Int64)), 114),
            (DataType::Struct(vec![Field::new("a", DataType::Int64, true)].into()), 114),
        ] {
            assert_eq!(Shape::of(&ours).oid(), oid, "{ours}");
        }
        assert_eq!(Shape::of(&DataType::Decimal128(10, 2)).modifier(), (10 << 16) + 2 + 4);
    }

    #[test]
    fn parameters_have_our_types() {
        assert_eq!(Shape::parameter(20), Some(DataType::Int64));
        assert_eq!(Shape::parameter(1043), Some(DataType::Utf8));
        assert_eq!(Shape::parameter(0), None);
        assert_eq!(Shape::parameter(1700), None);
        assert_eq!(Shape::parameter(99_999), None);
    }
}

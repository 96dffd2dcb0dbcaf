//! The typed row messages of `proto/adlake/v1/ingest.proto`: which field is which column.
//!
//! A test compares these lists with the compiled proto.

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `string`, UTF-8.
    Text,
    /// `int64`.
    Number,
    /// `int64`, microseconds since 1970, UTC.
    Time,
}

/// One field of a row message.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Number in the proto, at most 15.
    pub tag: u32,
    /// Name in the proto, which is the column's.
    pub name: &'static str,
    pub kind: Kind,
}

/// A row message.
pub trait Shape: Clone + Default + PartialEq + std::fmt::Debug + Send + Sync + 'static {
    /// By number.
    const FIELDS: &'static [Field];
}

const fn text(tag: u32, name: &'static str) -> Field {
    Field { tag, name, kind: Kind::Text }
}

const fn number(tag: u32, name: &'static str) -> Field {
    Field { tag, name, kind: Kind::Number }
}

const fn time(tag: u32, name: &'static str) -> Field {
    Field { tag, name, kind: Kind::Time }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Impressions;

impl Shape for Impressions {
    const FIELDS: &'static [Field] = &[
        text(1, "event_id"),
        time(2, "event_time"),
        text(4, "ad_id"),
        text(5, "campaign_id"),
        text(6, "user_id"),
        text(7, "ip"),
        text(8, "country"),
        text(9, "device"),
        number(10, "price_micros"),
    ];
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Clicks;

impl Shape for Clicks {
    const FIELDS: &'static [Field] = &[
        text(1, "event_id"),
        time(2, "event_time"),
        text(3, "impression_id"),
        text(4, "ad_id"),
        text(5, "campaign_id"),
        text(6, "user_id"),
        text(7, "ip"),
        text(8, "country"),
        text(9, "device"),
        number(10, "price_micros"),
    ];
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversions;

impl Shape for Conversions {
    const FIELDS: &'static [Field] = &[
        text(1, "event_id"),
        time(2, "event_time"),
        text(3, "click_id"),
        text(4, "ad_id"),
        text(5, "campaign_id"),
        text(6, "user_id"),
        text(7, "ip"),
        text(8, "country"),
        text(9, "device"),
        text(10, "product_id"),
        number(11, "revenue_micros"),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of a message of the proto: number, name, whether it is text.
    fn declared(message: &str) -> Vec<(u32, String, bool)> {
        let proto = include_str!("../../../proto/adlake/v1/ingest.proto");
        let body = proto.split(&format!("message {message} {{")).nth(1).unwrap().split('}').next().unwrap();
        let fields = body.lines().filter_map(|line| line.trim().strip_prefix("optional "));
        let field = |line: &str| {
            let (left, right) = line.split_once(" = ").unwrap();
            let (kind, name) = left.split_once(' ').unwrap();
            assert!(["string", "int64"].contains(&kind), "{line}");
            (right.trim_end_matches(';').parse().unwrap(), name.to_owned(), kind == "string")
        };
        fields.map(field).collect()
    }

    fn check<S: Shape>(message: &str) {
        let ours: Vec<_> =
            S::FIELDS.iter().map(|field| (field.tag, field.name.to_owned(), field.kind == Kind::Text)).collect();
        assert_eq!(ours, declared(message), "{message}");
        assert!(S::FIELDS.iter().all(|field| field.tag <= 15));
    }

    #[test]
    fn the_shapes_are_those_of_the_proto() {
        check::<Impressions>("Impression");
        check::<Clicks>("Click");
        check::<Conversions>("Conversion");
    }
}

//! Numbers of things: PostgreSQL's clients know schemas, relations and types by `oid`.

use crate::query::runtime::PUBLIC;
use crate::query::system::{INFORMATION_SCHEMA, SYSTEM};

/// The owner, in `pg_roles`.
pub(super) const OWNER_OID: i64 = 10;
pub(super) const PG_CATALOG_OID: i64 = 11;
/// The one database.
pub(super) const DATABASE_OID: i64 = 16_384;

/// Schemas with their numbers.
pub(super) const SCHEMAS: [(&str, i64); 4] =
    [(super::PG_CATALOG, PG_CATALOG_OID), (PUBLIC, 2200), (INFORMATION_SCHEMA, 13_000), (SYSTEM, 13_001)];

/// Relations of users have numbers from here on, and are found without their schema.
pub(super) const FIRST_PUBLIC: i64 = 1 << 30;

pub(super) fn schema_oid(schema: &str) -> i64 {
    SCHEMAS.iter().find(|(name, _)| *name == schema).map_or(0, |(_, oid)| *oid)
}

/// The number of a relation: the same in every process, and after a restart.
pub(super) fn relation_oid(schema: &str, name: &str) -> i64 {
    let hash = blake3::hash(format!("{schema}.{name}").as_bytes());
    let [a, b, c, d, ..] = *hash.as_bytes();
    let number = i64::from(u32::from_be_bytes([a, b, c, d]));
    match schema == PUBLIC {
        true => FIRST_PUBLIC | (number & (FIRST_PUBLIC - 1)),
        false => (1 << 28) | (number & ((1 << 28) - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_what_clients_read_them_into() {
        for name in ["a", "events_daily", "ä", ""] {
            let (own, other) = (relation_oid(PUBLIC, name), relation_oid(SYSTEM, name));
            assert!((FIRST_PUBLIC..=i64::from(i32::MAX)).contains(&own), "{own}");
            assert!(other < FIRST_PUBLIC && other > 100_000, "{other}");
        }
        assert_eq!(relation_oid(PUBLIC, "t"), relation_oid(PUBLIC, "t"));
    }
}

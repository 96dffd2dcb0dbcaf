//! What the rows of a view kept by the full strategy were made of. It is committed with them, and they are shown only while the view
//! is still made of the same.
//!
//! ```text
//! REFRESH ─ names and queries from the view down to its tables ─ fingerprint ─► in the commit of the rows
//! reading ─ those of today ─ another fingerprint? ─► as before the first refresh
//! ```
//! SEC-1: policies and masks belong to names, so for whom stored rows are follows from the names they came through. Where a view
//! below is replaced by one over other tables, today's names are not those any more, and the rows are nobody's until the next
//! refresh. So it is with MV-1: rows of another query are not the view's.
//!
//! Not here: the other strategies, whose fingerprints are of the plan (`rollup`).

use blake3::Hasher;

use crate::catalog::{CatalogSnapshot, Definition};
use crate::storage::{TableSnapshot, Transaction};

/// The Delta applications whose versions are the two halves of the fingerprint. Who writes the queries could look for two of one
/// fingerprint, so it has 128 bits of a cryptographic hash.
const HALVES: [&str; 2] = ["adlake.made_of:0", "adlake.made_of:1"];

/// A fingerprint of a view's query, and of the names and queries of everything below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MadeOf([i64; 2]);

impl MadeOf {
    /// That of the view called `name`. Options of views and columns of tables make no difference.
    pub fn today(catalog: &CatalogSnapshot, name: &str) -> Self {
        let mut hasher = Hasher::new();
        let mut text = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        for below in catalog.with_all_below(name) {
            text(below);
            match catalog.relations.get(below).map(|object| &object.definition) {
                Some(Definition::View(view)) => text(&view.query),
                Some(Definition::MaterializedView(view)) => text(&view.query),
                Some(Definition::Table(_) | Definition::Endpoint(_)) | None => text(""),
            }
        }
        let mut halves = [[0; 8]; 2];
        hasher.finalize_xof().fill(halves.as_flattened_mut());
        Self(halves.map(i64::from_le_bytes))
    }

    /// Put into the commit that brings rows made so; compaction and checkpoints keep it.
    pub fn transactions(self) -> [Transaction; 2] {
        [0, 1].map(|half| Transaction { app_id: HALVES[half].to_owned(), version: self.0[half] })
    }

    /// Whether the stored rows were made so. Rows that do not say were not: there are none, or they are an earlier program's.
    pub fn is_of(self, stored: &TableSnapshot) -> bool {
        HALVES.map(|half| stored.transaction_version(half)) == self.0.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::Timestamp;
    use crate::catalog::{Object, Statement, parse_statement};

    const TABLES: [&str; 2] = ["CREATE TABLE a (x BIGINT)", "CREATE TABLE b (x BIGINT)"];
    const VIEW: &str = "CREATE VIEW v AS SELECT * FROM a";

    fn made_of(view: &str, materialized: &str) -> MadeOf {
        let mut catalog = CatalogSnapshot::default();
        for sql in [TABLES[0], TABLES[1], view, materialized] {
            let Ok(Statement::Create(create)) = parse_statement(sql) else { panic!("{sql}") };
            let object = Object::new(*create, None, Timestamp(0));
            catalog.relations.insert(object.name.clone(), Arc::new(object));
        }
        MadeOf::today(&catalog, "m")
    }

    #[test]
    fn queries_and_names_count_at_every_depth_and_options_do_not() {
        let manual = "CREATE MATERIALIZED VIEW m WITH (refresh='manual', strategy='full') AS SELECT x FROM v";
        let of = made_of(VIEW, manual);
        assert_eq!(of, made_of(VIEW, &manual.replace("manual", "every 5 minutes")));
        assert_ne!(of, made_of(VIEW, &manual.replace("SELECT x", "SELECT x + 0 AS x")));
        assert_ne!(of, made_of(&VIEW.replace("FROM a", "FROM b"), manual));
        assert_ne!(of, made_of(&VIEW.replace("FROM a", "FROM a, b"), manual));
        assert_ne!(of, made_of("CREATE TABLE v (x BIGINT)", manual));
    }

    #[test]
    fn the_fingerprint_stays_what_it_is() {
        // Pinned: lakes have it in their logs.
        let of =
            made_of(VIEW, "CREATE MATERIALIZED VIEW m WITH (refresh='manual', strategy='full') AS SELECT x FROM v");
        assert_eq!(of, MadeOf([-2_838_752_185_501_574_387, -2_368_710_933_837_842_404]));
    }
}

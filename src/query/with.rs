//! How much a statement reads once every `WITH` query stands in the place of its name. In the text alone, before planning.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Ident, ObjectName, Query, Statement, Visit, Visitor};

/// Relations named, and those that a `WITH` query names as often as it is named itself.
pub(super) fn relations_read(statement: &Statement) -> u64 {
    let mut reader = Reader { open: vec![Scope::default()] };
    // It never breaks off.
    let _ = statement.visit(&mut reader);
    reader.open.iter().map(|scope| scope.read).fold(0, u64::saturating_add)
}

/// Queries being read, outermost first.
struct Reader {
    open: Vec<Scope>,
}

/// One query.
#[derive(Default)]
struct Scope {
    read: u64,
    /// What its `WITH` queries read that are behind us, by name.
    known: HashMap<String, u64>,
    /// Its `WITH` queries still to come, the next one last. They are visited first, in order.
    coming: Vec<String>,
    /// The name under which the query above knows this one; None: it is read where it stands.
    name: Option<String>,
}

impl Visitor for Reader {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let name = self.open.last_mut().and_then(|above| above.coming.pop());
        let mut coming: Vec<String> =
            query.with.iter().flat_map(|with| &with.cte_tables).map(|cte| folded(&cte.alias.name)).collect();
        coming.reverse();
        self.open.push(Scope { coming, name, ..Scope::default() });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        if let (Some(done), Some(above)) = (self.open.pop(), self.open.last_mut()) {
            match done.name {
                Some(name) => {
                    above.known.insert(name, done.read);
                }
                None => above.read = above.read.saturating_add(done.read),
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let name = match relation.0.as_slice() {
            [only] => only.as_ident().map(folded),
            _ => None,
        };
        let known = name.and_then(|name| self.open.iter().rev().find_map(|scope| scope.known.get(&name)).copied());
        if let Some(scope) = self.open.last_mut() {
            scope.read = scope.read.saturating_add(known.unwrap_or(0)).saturating_add(1);
        }
        ControlFlow::Continue(())
    }
}

/// The name as DataFusion's planner knows it: two that it takes for one are one here, and no others.
fn folded(name: &Ident) -> String {
    match name.quote_style {
        None => name.value.to_ascii_lowercase(),
        Some(_) => name.value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::parser::Statement as Parsed;

    use super::*;
    use crate::query::planner::parse;

    fn read(sql: &str) -> u64 {
        match parse(sql).unwrap() {
            Parsed::Statement(statement) => relations_read(&statement),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_with_query_counts_as_often_as_it_is_named() {
        assert_eq!(read("SELECT 1"), 0);
        assert_eq!(read("SELECT * FROM a JOIN b USING (k) WHERE k IN (SELECT k FROM c)"), 3);
        assert_eq!(read("WITH x AS (SELECT * FROM a, b) SELECT * FROM x, x AS y"), 6);
        assert_eq!(read("WITH x AS (SELECT * FROM a, b) SELECT * FROM c"), 1, "never named");
        assert_eq!(read("WITH x AS (SELECT * FROM a, b), y AS (SELECT * FROM x, x) SELECT * FROM y, y, x"), 17);
        assert_eq!(
            read("WITH x AS (WITH y AS (SELECT * FROM a) SELECT * FROM y, y) SELECT * FROM x, y"),
            6,
            "y is x's own"
        );
        assert_eq!(read("SELECT * FROM (WITH x AS (SELECT * FROM a, b) SELECT * FROM x, x) AS d, x"), 7);
        assert_eq!(read("WITH X AS (SELECT * FROM a, b) SELECT * FROM x, \"x\""), 6, "names are folded");
        assert_eq!(read("WITH \"X\" AS (SELECT * FROM a, b), x AS (SELECT * FROM a) SELECT * FROM \"X\", X"), 5);
        assert_eq!(read("WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x) SELECT * FROM x"), 2);
        let doubling: String = (1..200).map(|n| format!(", c{n} AS (SELECT * FROM c{0}, c{0})", n - 1)).collect();
        assert_eq!(read(&format!("WITH c0 AS (SELECT * FROM a){doubling} SELECT * FROM c199")), u64::MAX);
    }
}

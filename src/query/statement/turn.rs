//! Which queries run without a turn: those that look at one table of what the process knows by itself, and compute nothing of size.
//! They show what takes the turns.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Query, SetExpr, Statement as Sql, TableFactor, Visit, Visitor};

use crate::query::postgres::PG_CATALOG;
use crate::query::system;

/// Whether a query reads one such table, once, and has no part that could be dear: no join, subquery, WITH or table function.
pub(super) fn needs_no_turn(statement: &Statement) -> bool {
    let Statement::Statement(statement) = statement else { return false };
    let Sql::Query(query) = statement.as_ref() else { return false };
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    let [from] = select.from.as_slice() else { return false };
    let TableFactor::Table { name, args: None, .. } = &from.relation else { return false };
    let parts: Vec<&str> = name.0.iter().filter_map(|part| part.as_ident()).map(|part| part.value.as_str()).collect();
    let [schema, table] = parts.as_slice() else { return false };
    let of_process = [system::SYSTEM, system::INFORMATION_SCHEMA, PG_CATALOG];
    let is_live = of_process.iter().any(|known| schema.eq_ignore_ascii_case(known))
        && !system::KEPT.iter().any(|kept| table.eq_ignore_ascii_case(kept));
    is_live && from.joins.is_empty() && select.lateral_views.is_empty() && has_one_query(query)
}

fn has_one_query(query: &Query) -> bool {
    let mut queries = Queries(0);
    // It never breaks off.
    let _ = query.visit(&mut queries);
    queries.0 == 1
}

struct Queries(usize);

impl Visitor for Queries {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.0 += 1;
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::planner::parse;

    fn check(sql: &str, expected: bool) {
        assert_eq!(needs_no_turn(&parse(sql).unwrap()), expected, "{sql}");
    }

    #[test]
    fn one_table_of_the_process_needs_no_turn_and_nothing_else_goes_without() {
        check(
            "SELECT state, count(*) FROM system.queries AS q WHERE elapsed_ms > 1 GROUP BY 1 ORDER BY 2 LIMIT 3",
            true,
        );
        check("SELECT * FROM INFORMATION_SCHEMA.tables", true);
        check("SELECT oid FROM pg_catalog.pg_class WHERE relname = 'a'", true);
        for turn in [
            "SELECT count(*) FROM system.functions a, system.functions b",
            "SELECT count(*) FROM system.functions a JOIN system.functions b ON true",
            "SELECT * FROM system.functions UNION ALL SELECT * FROM system.functions",
            "SELECT (SELECT count(*) FROM system.functions) FROM system.functions",
            "SELECT name FROM system.functions WHERE name IN (SELECT 'a')",
            "WITH f AS (SELECT 1) SELECT * FROM system.functions",
            "SELECT * FROM (SELECT * FROM system.functions)",
            "SELECT * FROM system.rejects",
            "SELECT * FROM functions",
            "SELECT * FROM generate_series(1, 10)",
            "SELECT 1",
            "EXPLAIN ANALYZE SELECT * FROM system.functions",
        ] {
            check(turn, false);
        }
    }
}

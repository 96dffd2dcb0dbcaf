//! Statements about `pg_catalog` in the engine's grammar.
//!
//! Only statements that name something of PostgreSQL's are looked at, and only what is PostgreSQL's alone is changed in them:
//! other statements reach the engine letter by letter, so that places in errors are the user's.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Array, BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    ObjectName, ObjectNamePart, Query, Select, Statement, Value, VisitMut, VisitorMut,
};

use super::calls::{Asked, call};
use super::names::{relation_oid, schema_oid};
use super::shown::name_columns;
use super::{PG_CATALOG, empty, parse, tables, types};
use crate::query::runtime::PUBLIC;

/// The value of a setting of the connection.
pub type Setting<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Words without which nothing of PostgreSQL's is meant.
const WORDS: [&str; 13] = [
    "pg_",
    "::reg",
    "current_schema",
    "current_database",
    "current_catalog",
    "current_setting",
    "current_user",
    "session_user",
    "version(",
    "quote_ident",
    "set_config",
    "to_regclass",
    "has_table_privilege",
];

/// Collations that sort and compare by bytes.
const BYTEWISE: [&str; 3] = ["c", "default", "posix"];

/// Longest statement that is looked at: those of tools are short, and a text is parsed once more for it.
const BYTES_MAX: usize = 64 * 1024;
/// Longest text that is put in for what is PostgreSQL's, all together: calls inside calls multiply their arguments.
const PUT_BYTES_MAX: usize = 256 * 1024;

/// The statement with what is PostgreSQL's in it put into SQL of ours; `None`: as it is.
pub fn postgres_compatible(sql: &str, user: &str, setting: Setting<'_>) -> Option<String> {
    let lower = sql.to_ascii_lowercase();
    if sql.len() > BYTES_MAX || !WORDS.iter().any(|word| lower.contains(word)) {
        return None;
    }
    let Statement::Query(mut query) = parse::statement(sql)? else { return None };
    let mut translation = Translation { asked: Asked { user, setting }, changed: false, shadows: false, put_bytes: 0 };
    let _: ControlFlow<()> = query.visit(&mut translation);
    let Translation { changed, shadows, put_bytes, .. } = translation;
    (changed && !shadows && put_bytes <= PUT_BYTES_MAX).then(|| query.to_string())
}

struct Translation<'a> {
    asked: Asked<'a>,
    changed: bool,
    /// The statement gives a name of PostgreSQL's to a query of its own: then it stays as it is.
    shadows: bool,
    /// Written by `put` so far.
    put_bytes: usize,
}

impl Translation<'_> {
    fn put(&mut self, expr: &mut Expr, sql: &str) {
        self.put_bytes = self.put_bytes.saturating_add(sql.len());
        if self.put_bytes > PUT_BYTES_MAX {
            return;
        }
        if let Some(parsed) = parse::expression(sql) {
            *expr = parsed;
            self.changed = true;
        }
    }

    fn replace(&mut self, expr: &mut Expr, by: Expr) {
        *expr = by;
        self.changed = true;
    }

    /// Subqueries that can only be empty, and others that the engine cannot plan.
    fn subqueries(&mut self, expr: &mut Expr) {
        match expr {
            Expr::Subquery(query) if empty::is_empty(query) => self.put(expr, "CAST(NULL AS VARCHAR)"),
            Expr::Exists { subquery, negated } if empty::is_empty(subquery) => {
                let sql = if *negated { "true" } else { "false" };
                self.put(expr, sql);
            }
            Expr::InSubquery { subquery, negated, .. } if empty::is_empty(subquery) => {
                let sql = if *negated { "true" } else { "false" };
                self.put(expr, sql);
            }
            // Grafana asks whether a schema is in the search path.
            Expr::InSubquery { expr: of, subquery, negated } if asks_search_path(subquery) => {
                let sql = format!("({of} {} '{PUBLIC}')", if *negated { "<>" } else { "=" });
                self.put(expr, &sql);
            }
            Expr::Function(Function { args: FunctionArguments::Subquery(query), name, .. })
                if last_part(name) == "array" && empty::is_empty(query) =>
            {
                self.put(expr, "CAST(NULL AS VARCHAR)");
            }
            _ => {}
        }
    }

    fn function(&mut self, function: &Function) -> Option<String> {
        let name = last_part(&function.name);
        let is_ours = function.name.0.len() == 1 || first_part(&function.name) == PG_CATALOG;
        if !is_ours || function.over.is_some() {
            return None;
        }
        call(&name, &arguments(function)?, &self.asked)
    }

    fn cast(&mut self, inner: &Expr, data_type: &DataType) -> Option<String> {
        let name = data_type.to_string().to_ascii_lowercase().replace('"', "");
        let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
        let text = text_of(inner);
        Some(match (name, text) {
            ("regclass", Some(text)) => named_oid(text).to_string(),
            ("regclass", None) => name_of(inner, "pg_class", "relname"),
            ("regtype", Some(text)) => types::oid_called(text.rsplit('.').next()?)?.to_string(),
            ("regtype", None) => types::name_of(&inner.to_string(), "-1"),
            ("regnamespace", Some(text)) => schema_oid(text).to_string(),
            ("regnamespace", None) => name_of(inner, "pg_namespace", "nspname"),
            ("regproc" | "regprocedure", Some(text)) => {
                format!("'{}'", text.rsplit('.').next()?.replace('\'', "''"))
            }
            ("regproc" | "regprocedure" | "regrole" | "regoper" | "name" | "char" | "text" | "\"char\"", _)
                if name != "text" || data_type.to_string().contains('.') =>
            {
                format!("CAST({inner} AS VARCHAR)")
            }
            ("oid" | "xid" | "cid", _) => format!("CAST({inner} AS BIGINT)"),
            // Written with its schema.
            (name, _) if data_type.to_string().contains('.') => {
                let (one, brackets) = name.strip_suffix("[]").map_or((name, ""), |one| (one, "[]"));
                format!("CAST({inner} AS {}{brackets})", types::ours(one)?)
            }
            _ => return None,
        })
    }
}

impl VisitorMut for Translation<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let named = query.with.iter().flat_map(|with| &with.cte_tables);
        if named.into_iter().any(|named| tables::is_table(&named.alias.name.value.to_ascii_lowercase())) {
            self.shadows = true;
            return ControlFlow::Break(());
        }
        if empty::is_empty(query)
            && let Some(parsed) = empty::stand_in(query).and_then(|sql| parse::query(&sql))
        {
            *query = parsed;
            self.changed = true;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        name_columns(select);
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        let name = last_part(relation);
        // A function in the place of a table.
        if relation.0.len() == 2 && first_part(relation) == PG_CATALOG && name == "generate_series" {
            *relation = ObjectName::from(vec![Ident::new(&name)]);
            self.changed = true;
        }
        if relation.0.len() == 1 && tables::is_table(&name) {
            *relation = ObjectName::from(vec![Ident::new(PG_CATALOG), Ident::new(name)]);
            self.changed = true;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.subqueries(expr);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) => match self.function(function) {
                Some(sql) => self.put(expr, &sql),
                None if first_part(&function.name) == PG_CATALOG && function.name.0.len() == 2 => {
                    function.name = ObjectName::from(vec![Ident::new(last_part(&function.name))]);
                    self.changed = true;
                }
                None => {}
            },
            Expr::Identifier(word) if word.quote_style.is_none() => {
                if let "current_catalog" | "current_schema" | "session_user" | "current_user" | "current_role" | "user" =
                    word.value.to_ascii_lowercase().as_str()
                    && let Some(sql) = call(&word.value.to_ascii_lowercase(), &[], &self.asked)
                {
                    self.put(expr, &sql);
                }
            }
            // The order that everything has here.
            Expr::Collate { expr: inner, collation }
                if BYTEWISE.contains(&last_part(collation).to_ascii_lowercase().as_str()) =>
            {
                let inner = (**inner).clone();
                self.replace(expr, inner);
            }
            Expr::Cast { expr: inner, data_type, .. } => {
                if let Some(sql) = self.cast(&inner.clone(), &data_type.clone()) {
                    self.put(expr, &sql);
                }
            }
            Expr::BinaryOp { op, .. } => {
                if let BinaryOperator::PGCustomBinaryOperator(parts) = op
                    && let Some(plain) = parts.last().and_then(|last| operator(last))
                {
                    *op = plain;
                    self.changed = true;
                }
            }
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
                if let Some(list) = items(right) {
                    let by = Expr::InList { expr: left.clone(), list, negated: false };
                    self.replace(expr, by);
                }
            }
            Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => {
                if let Some(list) = items(right) {
                    let by = Expr::InList { expr: left.clone(), list, negated: true };
                    self.replace(expr, by);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// The number that a relation of this name has, or would have.
fn named_oid(text: &str) -> i64 {
    let name = text.replace('"', "");
    match name.rsplit_once('.') {
        Some((schema, name)) => relation_oid(schema, name),
        None if tables::is_table(&name) => relation_oid(PG_CATALOG, &name),
        None => relation_oid(PUBLIC, &name),
    }
}

/// The column `name` of the row of a table whose number `oid`, an expression, is; NULL when there is none.
///
/// Inside the subquery columns have names that nobody writes, so that those in `oid` are of the query around it.
fn name_of(oid: &Expr, table: &str, name: &str) -> String {
    format!(
        "(SELECT max(adlake_c.adlake_name) FROM (SELECT oid AS adlake_oid, {name} AS adlake_name FROM pg_catalog.{table}) \
         AS adlake_c WHERE adlake_c.adlake_oid = ({oid}))"
    )
}

/// The number of the relation that `text`, an expression, names; NULL when there is none. Names inside as for [`name_of`].
pub(super) fn class_oid(text: &str) -> String {
    let bare = format!("replace({text}, '\"', '')");
    format!(
        "(SELECT max(adlake_c.adlake_oid) FROM (SELECT c.oid AS adlake_oid, c.relname AS adlake_name, n.nspname AS adlake_schema \
         FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace) AS adlake_c \
         WHERE adlake_c.adlake_name = split_part({bare}, '.', -1) AND adlake_c.adlake_schema = \
         CASE WHEN strpos({bare}, '.') > 0 THEN split_part({bare}, '.', -2) ELSE '{PUBLIC}' END)"
    )
}

pub(super) fn last_part(name: &ObjectName) -> String {
    part(name.0.last())
}

fn first_part(name: &ObjectName) -> String {
    part(name.0.first())
}

fn part(part: Option<&ObjectNamePart>) -> String {
    match part.and_then(ObjectNamePart::as_ident) {
        Some(ident) if ident.quote_style.is_none() => ident.value.to_ascii_lowercase(),
        Some(ident) => ident.value.clone(),
        None => String::new(),
    }
}

/// Of a plain call; `None` where there is more to it, such as DISTINCT.
fn arguments(function: &Function) -> Option<Vec<String>> {
    match &function.args {
        FunctionArguments::None => Some(Vec::new()),
        FunctionArguments::Subquery(_) => None,
        FunctionArguments::List(list) => list
            .args
            .iter()
            .map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.to_string()),
                _ => None,
            })
            .collect(),
    }
}

fn operator(name: &str) -> Option<BinaryOperator> {
    Some(match name {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "=" => BinaryOperator::Eq,
        "<>" | "!=" => BinaryOperator::NotEq,
        _ => return None,
    })
}

/// The items of an array that is written out: `ARRAY['a', 'b']` or `'{a,b}'`, also with a type.
fn items(expr: &Expr) -> Option<Vec<Expr>> {
    match expr {
        Expr::Array(Array { elem, .. }) if !elem.is_empty() => Some(elem.clone()),
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => items(inner),
        Expr::Value(_) => {
            let inner = text_of(expr)?.strip_prefix('{')?.strip_suffix('}')?;
            inner.split(',').map(|item| plain_item(item.trim())).collect()
        }
        _ => None,
    }
}

/// An item of `'{a,b}'`; `None`: one with quotes, items of its own, or NULL, which are the engine's to read.
fn plain_item(item: &str) -> Option<Expr> {
    let is_plain = !item.is_empty() && !item.eq_ignore_ascii_case("null") && !item.contains(['"', '\\', '{', '}']);
    is_plain.then(|| parse::expression(&format!("'{}'", item.replace('\'', "''")))).flatten()
}

fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

fn asks_search_path(query: &Query) -> bool {
    let text = query.to_string();
    text.contains("current_setting('search_path')") && text.contains("generate_series")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(sql: &str) -> Option<String> {
        postgres_compatible(sql, "ann", &|name| (name == "search_path").then(|| "public".to_owned()))
    }

    fn check(sql: &str, expected: &str) {
        assert_eq!(translated(sql).as_deref(), Some(expected), "{sql}");
    }

    #[test]
    fn what_is_not_postgres_own_stays_letter_by_letter() {
        for sql in [
            "SELECT 1",
            "SELECT * FROM pg_events",
            "INSERT INTO t SELECT relname FROM pg_class",
            "SELECT pg_",
            "WITH pg_index AS (SELECT 1 AS a) SELECT a, version() FROM pg_index",
        ] {
            assert_eq!(translated(sql), None, "{sql}");
        }
    }

    #[test]
    fn what_would_grow_without_bound_stays_as_it_is() {
        let nested = |depth: usize| format!("SELECT {}'a'{}", "quote_ident(".repeat(depth), ")".repeat(depth));
        assert!(translated(&nested(2)).is_some());
        assert_eq!(translated(&nested(30)), None);
        assert_eq!(translated(&format!("SELECT version(), 1{}", " IS NULL".repeat(5_000))), None);
        assert!(translated(&format!("SELECT version(){}", ", 1".repeat(20_000))).is_some());
        // A string of the engine's dialect, and none of PostgreSQL's.
        for end in ["'a]'", "1"] {
            assert_eq!(translated(&format!("SELECT version(), q'[', {}1, {end}", "1+".repeat(30_000))), None);
        }
    }

    #[test]
    fn names_and_functions_are_ours() {
        check("SELECT oid FROM pg_class", "SELECT oid FROM pg_catalog.pg_class");
        check("SELECT current_schema()", r#"SELECT 'public' AS "current_schema""#);
        check("SELECT current_user", r#"SELECT 'ann' AS "current_user""#);
        check("SELECT pg_catalog.lower('A')", r#"SELECT lower('A') AS "lower""#);
        check(
            "SELECT oid::pg_catalog.int8, '{1}'::pg_catalog.int2[] FROM pg_class",
            "SELECT CAST(oid AS BIGINT) AS \"oid\", CAST('{1}' AS SMALLINT[]) AS \"?column?\" FROM pg_catalog.pg_class",
        );
        check("SELECT current_setting('search_path')", r#"SELECT 'public' AS "current_setting""#);
    }

    #[test]
    fn operators_and_lists_are_ours() {
        check(
            "SELECT oid FROM pg_class WHERE relname OPERATOR(pg_catalog.~) '^(t)$' COLLATE pg_catalog.default",
            "SELECT oid FROM pg_catalog.pg_class WHERE relname ~ '^(t)$'",
        );
        check(
            "SELECT oid FROM pg_class WHERE relkind = ANY (ARRAY['r', 'v'])",
            "SELECT oid FROM pg_catalog.pg_class WHERE relkind IN ('r', 'v')",
        );
        check(
            "SELECT oid FROM pg_class WHERE relkind <> ALL ('{i,I}')",
            "SELECT oid FROM pg_catalog.pg_class WHERE relkind NOT IN ('i', 'I')",
        );
    }

    #[test]
    fn what_means_something_else_stays() {
        for (sql, kept) in [
            ("SELECT ARRAY(SELECT relname FROM pg_class)", "ARRAY(SELECT relname"),
            ("SELECT oid FROM pg_class WHERE relname = ANY ('{}')", "ANY('{}')"),
            ("SELECT oid FROM pg_class WHERE relname = ANY ('{\"a,b\",c}')", "ANY('{\"a,b\",c}')"),
            ("SELECT oid FROM pg_class WHERE relname <> ALL ('{a,NULL}')", "ALL('{a,NULL}')"),
            ("SELECT oid FROM pg_class ORDER BY relname COLLATE \"de_DE\"", "COLLATE \"de_DE\""),
        ] {
            let text = translated(sql).unwrap();
            assert!(text.contains(kept), "{text}");
        }
        let empty = translated("SELECT ARRAY(SELECT indkey FROM pg_index) FROM pg_class").unwrap();
        assert!(!empty.contains("SELECT indkey"), "{empty}");
    }

    #[test]
    fn names_put_in_capture_none_of_the_query_around() {
        check(
            "SELECT oid::regclass FROM pg_class",
            "SELECT (SELECT max(adlake_c.adlake_name) FROM (SELECT oid AS adlake_oid, relname AS adlake_name FROM \
             pg_catalog.pg_class) AS adlake_c WHERE adlake_c.adlake_oid = (oid)) AS \"oid\" FROM pg_catalog.pg_class",
        );
    }

    #[test]
    fn what_can_only_be_empty_is() {
        check(
            "SELECT i.indkey, any_function(i.x), true FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid ORDER BY 1",
            "SELECT CAST(NULL AS VARCHAR) AS \"indkey\", CAST(NULL AS VARCHAR) AS \"any_function\", \
             CAST(NULL AS VARCHAR) AS \"bool\" WHERE false",
        );
        check(
            "SELECT relname FROM pg_class c WHERE EXISTS (SELECT 1 FROM pg_trigger t WHERE t.tgrelid = c.oid)",
            "SELECT relname FROM pg_catalog.pg_class c WHERE false",
        );
        let joined =
            translated("SELECT c.relname FROM pg_class c LEFT JOIN pg_description d ON d.objoid = c.oid").unwrap();
        assert!(joined.contains("LEFT JOIN pg_catalog.pg_description"), "{joined}");
        let counted = translated("SELECT count(*) FROM pg_index").unwrap();
        assert!(counted.contains("FROM pg_catalog.pg_index"), "{counted}");
    }
}

//! Names that PostgreSQL gives to columns without one.

use datafusion::sql::sqlparser::ast::{Expr, Ident, Select, SelectItem, Value};

use super::translate::last_part;

/// Most columns of a SELECT that are named: no two have the same name, and names are compared with each other.
pub(super) const COLUMNS_MAX: usize = 200;

/// Columns without a name get the one PostgreSQL gives them, and no two the same, which the engine asks for.
pub(super) fn name_columns(select: &mut Select) {
    if select.projection.len() > COLUMNS_MAX {
        return;
    }
    // What a wildcard gives is of its table, or of all.
    let of_wildcard = |qualifier: Option<String>| {
        select.projection.iter().any(|item| match item {
            SelectItem::Wildcard(_) => true,
            SelectItem::QualifiedWildcard(kind, _) => Some(kind.to_string()) == qualifier,
            _ => false,
        })
    };
    let given_twice: Vec<bool> = select
        .projection
        .iter()
        .map(|item| match item {
            SelectItem::UnnamedExpr(Expr::Identifier(_)) => of_wildcard(None),
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
                of_wildcard(parts.first().map(|qualifier| format!("{qualifier}.*")))
            }
            _ => false,
        })
        .collect();
    let mut used: Vec<String> = Vec::new();
    for (item, given_twice) in select.projection.iter_mut().zip(given_twice) {
        let (expr, name, given) = match item {
            SelectItem::UnnamedExpr(expr) => (expr.clone(), shown_name(expr), false),
            SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), alias.value.clone(), true),
            _ => continue,
        };
        let mut unique = name.clone();
        while used.contains(&unique) {
            unique.push('_');
        }
        used.push(unique.clone());
        let is_column = matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
        if given_twice {
            unique.push('_');
        }
        if unique != name || (!given && !is_column) {
            *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', unique) };
        }
    }
}

/// The name that PostgreSQL gives a column without one.
pub(super) fn shown_name(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(name) => name.value.clone(),
        Expr::CompoundIdentifier(parts) => parts.last().map_or_else(String::new, |name| name.value.clone()),
        Expr::Function(function) => last_part(&function.name),
        Expr::Cast { expr, .. } | Expr::Nested(expr) | Expr::Collate { expr, .. } => shown_name(expr),
        Expr::Case { .. } => "case".to_owned(),
        Expr::Exists { .. } => "exists".to_owned(),
        Expr::Array(_) => "array".to_owned(),
        Expr::Value(value) => match value.value {
            Value::Boolean(_) => "bool".to_owned(),
            _ => "?column?".to_owned(),
        },
        _ => "?column?".to_owned(),
    }
}

//! `ALTER TABLE … ADD COLUMN | SET | RESET`, `ALTER MATERIALIZED VIEW … SET | RESET`: the stored CREATE statement is edited,
//! so the text stays the definition.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef};

use super::apply;
use crate::base::quoted;
use crate::catalog::{
    AlterAddColumn, AlterOptions, CatalogError, Change, Create, Definition, ObjectKind, Plan, Statement,
    parse_statement, with_options,
};
use crate::query::engine::Inner;
use crate::query::params::sql_name;
use crate::query::placeholders::matching_parenthesis;
use crate::query::{QueryError, Reach};

/// The option that names a folder.
const LANDING: &str = "landing";

/// Adds a nullable column at the table's end; the answer is a sentence.
pub(in crate::query) async fn add_column(engine: &Arc<Inner>, alter: AlterAddColumn) -> Result<String, QueryError> {
    let AlterAddColumn { table, field } = alter;
    let current = engine.catalog.refresh().await?;
    let before = current.object(ObjectKind::Table, &table)?.clone();
    let Definition::Table(definition) = &before.definition else {
        return Err(QueryError::Internal { message: format!("'{table}' is no table") });
    };
    if definition.columns.fields().iter().any(|known| known.name().eq_ignore_ascii_case(field.name())) {
        let message = format!("table '{table}' has a column '{}' already", field.name());
        return Err(CatalogError::CannotChange { message }.into());
    }
    let mut after = with_column(&before.sql, &field)?;
    after.defined_by = before.defined_by;
    let change = Change::Widen { before, after: Box::new(after) };
    apply(engine, Plan { changes: vec![change], ..Plan::default() }).await?;
    Ok(format!("column {} added to table {table}", field.name()))
}

/// Sets and resets options that stored rows do not depend on; the answer is a sentence.
pub(in crate::query) async fn set_options(
    engine: &Arc<Inner>,
    alter: AlterOptions,
    reach: &Reach,
) -> Result<String, QueryError> {
    let AlterOptions { kind, name, changes } = alter;
    let current = engine.catalog.refresh().await?;
    let before = current.object(kind, &name)?.clone();
    let text = with_options(&before.sql, &changes)?;
    let after = match parse_statement(&text) {
        Ok(Statement::Create(create)) => create,
        Ok(_) => return Err(QueryError::Internal { message: format!("the text of '{name}' is no CREATE") }),
        // Its position would be one in a text the user does not see.
        Err(CatalogError::BadDefinition { message, .. }) => return Err(QueryError::Invalid { message }),
        Err(error) => return Err(error.into()),
    };
    // What others have allowed before may stay.
    if changes.iter().any(|(key, value)| key == LANDING && value.is_some()) {
        reach.check_definition(&after)?;
    }
    let after = Box::new(Create { defined_by: before.defined_by, ..*after });
    let change = Change::Widen { before, after };
    let said = change.to_string();
    apply(engine, Plan { changes: vec![change], ..Plan::default() }).await?;
    Ok(match said.split_once(": ") {
        Some((_, said)) => format!("{kind} {name}: {said}"),
        None => format!("{kind} {name}: nothing changed"),
    })
}

/// The CREATE TABLE statement with one more column, parsed again.
fn with_column(sql: &str, field: &FieldRef) -> Result<Create, QueryError> {
    let broken =
        |reason: &str| QueryError::Internal { message: format!("cannot add the column to the stored text: {reason}") };
    let close = matching_parenthesis(sql).ok_or_else(|| broken("its column list has no end"))?;
    let text = format!("{}\n  , {}\n{}", sql[..close].trim_end(), column_sql(field), &sql[close..]);
    let Statement::Create(create) = parse_statement(&text)? else { return Err(broken("it is no CREATE")) };
    let Definition::Table(definition) = &create.definition else { return Err(broken("it is no table")) };
    match definition.columns.fields().last() {
        Some(last) if last.name() == field.name() && last.data_type() == field.data_type() => Ok(*create),
        _ => Err(broken("the column came out differently")),
    }
}

fn column_sql(field: &Field) -> String {
    format!("{} {}", quoted(field.name()), sql_name(field.data_type()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::DataType;

    #[test]
    fn the_text_gains_the_column() {
        let field: FieldRef = Arc::new(Field::new("Ünit price", DataType::Decimal128(18, 2), true));
        let sql = "CREATE TABLE t (a BIGINT, -- (\n b VARCHAR, CHECK (a > 0) -- last\n) WITH (sort_by='a')";
        let created = with_column(sql, &Arc::new(field.as_ref().clone().with_name("unit_price"))).unwrap();
        let Definition::Table(table) = &created.definition else { panic!("no table") };
        let names: Vec<_> = table.columns.fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["a", "b", "unit_price"]);
        assert_eq!(table.checks.len(), 1);
        assert_eq!(table.sort_by, ["a"]);
    }
}

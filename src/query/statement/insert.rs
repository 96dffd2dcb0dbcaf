//! `INSERT INTO table [(columns)] query`: the query runs like any other; its rows, conformed to the table, go to `Commands`.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::sql::parser::Statement as SqlStatement;
use datafusion::sql::sqlparser::ast::{Expr, SelectItem, SetExpr, Statement, Value};

use super::Work;
use super::conform::{Mapping, conform};
use super::query::{Question, UseViews, physical};
use super::typed_values::write_for;
use crate::base::suggestion;
use crate::catalog::{Definition, TableDefinition};
use crate::query::engine::Inner;
use crate::query::inference::settle;
use crate::query::params;
use crate::query::planner::{ParameterTypes, Planner, parse};
use crate::query::stream::{self, Held};
use crate::query::tables::{Relations, references};
use crate::query::viewer::Viewer;
use crate::query::{Answer, CommandContext, Prepared, QueryError, StatementKind};

/// What was written.
pub(super) struct Insert {
    pub(super) table: String,
    pub(super) columns: Vec<String>,
    pub(super) source: String,
}

/// Inserts the rows of the source; returns when they are committed.
pub(super) async fn run(work: &Work, insert: Insert, context: CommandContext) -> Result<Answer, QueryError> {
    let engine = &work.engine;
    let table = target(engine, &insert.table).await?;
    let places = places(&insert, &table.columns)?;
    let mut question = Question::new(&insert.source, &work.params, &work.declared)?;
    write_for(&mut question.statement, &places, &table.columns);
    if question.types.is_empty() {
        question.types = value_types(&question.statement, &places, &table.columns);
    }
    let relations = Relations::pinned(engine, references(&question.statement)?, &work.viewer).await?;
    let plan = physical(engine, question, relations, work.now, UseViews::No).await?.plan;
    let schema = super::query::answer_schema(&plan.schema());
    let mapping = mapping(&insert, &schema, &table.columns, &places)?;
    let held = Held { task: work.task.clone(), ..Held::inside(&engine.shared, work.cancel.clone(), work.limit) };
    let rows = conform(stream::start(&engine.shared, plan, schema, held), mapping);
    let report = engine.commands()?.insert(&insert.table, rows, context).await?;
    let mut message = format!("{} rows inserted into {}", report.accepted, insert.table);
    if report.duplicates > 0 {
        message.push_str(&format!(", {} were there already", report.duplicates));
    }
    if report.rejected > 0 {
        message.push_str(&format!(", {} rejected (see system.rejects)", report.rejected));
    }
    Ok(work.done(Some(report.accepted), message))
}

/// Parameters of the source.
pub(super) async fn prepare(
    engine: &Arc<Inner>,
    insert: Insert,
    (schema, viewer): (SchemaRef, &Viewer),
) -> Result<Prepared, QueryError> {
    let table = target(engine, &insert.table).await?;
    let places = places(&insert, &table.columns)?;
    let mut statement = parse(&insert.source)?;
    write_for(&mut statement, &places, &table.columns);
    let types = value_types(&statement, &places, &table.columns);
    let relations = Relations::pinned(engine, references(&statement)?, viewer).await?;
    let state = engine.shared.state_at(engine.clock.now());
    let planning = async move {
        let plan = settle(Planner::new(&state, &relations).query(&statement, types)?)?;
        mapping(&insert, plan.schema().as_arrow(), &table.columns, &places)?;
        let parameters = params::parameter_schema(&plan)?;
        Ok(Prepared { kind: StatementKind::Update, schema, parameters, is_divisible: false })
    };
    engine.shared.cpu.spawn(planning).await?
}

async fn target(engine: &Arc<Inner>, name: &str) -> Result<TableDefinition, QueryError> {
    let mut catalog = engine.catalog.snapshot();
    if !catalog.relations.contains_key(name) {
        catalog = engine.catalog.refresh().await?;
    }
    let object = catalog.relation(name)?;
    match &object.definition {
        Definition::Table(table) => Ok(table.clone()),
        Definition::View(_) | Definition::MaterializedView(_) | Definition::Endpoint(_) => Err(QueryError::Invalid {
            message: format!("'{name}' is a {}; rows are inserted into tables only", object.kind),
        }),
    }
}

/// The table's column for each column of the source.
fn places(insert: &Insert, columns: &Schema) -> Result<Vec<usize>, QueryError> {
    if insert.columns.is_empty() {
        return Ok((0..columns.fields().len()).collect());
    }
    let mut places = Vec::with_capacity(insert.columns.len());
    for name in &insert.columns {
        let Some((place, _)) = columns.column_with_name(name) else {
            let hint = suggestion(name, columns.fields().iter().map(|field| field.name().as_str()));
            return Err(QueryError::Invalid {
                message: format!("table '{}' has no column '{name}'{hint}", insert.table),
            });
        };
        if places.contains(&place) {
            return Err(QueryError::Invalid { message: format!("column '{name}' is named twice") });
        }
        places.push(place);
    }
    Ok(places)
}

fn mapping(insert: &Insert, source: &Schema, columns: &Schema, places: &[usize]) -> Result<Mapping, QueryError> {
    let given = source.fields().len();
    if given != places.len() {
        let names: Vec<&str> = places.iter().map(|place| columns.field(*place).name().as_str()).collect();
        return Err(QueryError::Invalid {
            message: format!(
                "INSERT INTO {} gives {given} values per row for {} columns ({})",
                insert.table,
                places.len(),
                names.join(", ")
            ),
        });
    }
    let from = (0..columns.fields().len()).map(|column| places.iter().position(|place| *place == column)).collect();
    Mapping::new(source, columns, from)
}

/// A parameter that stands alone as a value of VALUES or SELECT has the type of the column it is for.
fn value_types(statement: &SqlStatement, places: &[usize], columns: &Schema) -> ParameterTypes {
    let mut types: Vec<Option<FieldRef>> = Vec::new();
    let SqlStatement::Statement(statement) = statement else { return types };
    let Statement::Query(query) = statement.as_ref() else { return types };
    types_of(&query.body, places, columns, &mut types);
    types
}

fn types_of(body: &SetExpr, places: &[usize], columns: &Schema, types: &mut ParameterTypes) {
    match body {
        SetExpr::Values(values) => {
            for row in &values.rows {
                row.content.iter().zip(places).for_each(|(value, place)| note(value, *place, columns, types));
            }
        }
        SetExpr::Select(select) => {
            for (item, place) in select.projection.iter().zip(places) {
                match item {
                    SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. } => {
                        note(value, *place, columns, types);
                    }
                    // How many columns others stand for is not known yet, nor therefore which the next one is for.
                    _ => return,
                }
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            types_of(left, places, columns, types);
            types_of(right, places, columns, types);
        }
        SetExpr::Query(query) => types_of(&query.body, places, columns, types),
        _ => {}
    }
}

fn note(value: &Expr, place: usize, columns: &Schema, types: &mut ParameterTypes) {
    let Expr::Value(value) = value else { return };
    let Value::Placeholder(id) = &value.value else { return };
    let Some(index) = id.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok()) else { return };
    if index == 0 || index > 65_535 {
        return;
    }
    if types.len() < index {
        types.resize(index, None);
    }
    types[index - 1] = columns.fields().get(place).cloned();
}

//! SHOW and DESCRIBE.
//!
//! What SHOW and DESCRIBE answer are queries on `system` tables, so the same things can be asked with WHERE and ORDER BY.

use std::sync::Arc;

use super::set::{MAX_STALENESS, REWRITE, SETTINGS, TIMEOUT, fixed};
use super::{Work, query, within};
use crate::base::suggestion;
use crate::catalog::{Definition, ObjectKind, ShowTarget};
use crate::query::engine::Inner;
use crate::query::runtime::PUBLIC;
use crate::query::viewer::Viewer;
use crate::query::{
    Answer, IPC_COMPRESSION, IpcCompression, Params, Prepared, QueryError, RESULT_ENDPOINTS, ResultEndpoints, Session,
};

/// What SHOW or DESCRIBE names.
pub(super) enum Shown {
    Target(ShowTarget),
    Name(String),
}

pub(super) async fn show(work: &mut Work, target: ShowTarget) -> Result<Answer, QueryError> {
    let sql = sql_of(&work.engine, Some(&work.session), &work.viewer, &Shown::Target(target))?;
    run(work, &sql).await
}

pub(super) async fn describe(work: &mut Work, name: &str) -> Result<Answer, QueryError> {
    let sql = sql_of(&work.engine, Some(&work.session), &work.viewer, &Shown::Name(name.to_owned()))?;
    run(work, &sql).await
}

/// The columns SHOW or DESCRIBE would answer.
pub(super) async fn prepare(engine: &Arc<Inner>, shown: Shown, viewer: &Viewer) -> Result<Prepared, QueryError> {
    query::prepare(engine, (&sql_of(engine, None, viewer, &shown)?, Vec::new()), &Params::None, viewer).await
}

async fn run(work: &mut Work, sql: &str) -> Result<Answer, QueryError> {
    let (cancel, limit) = (work.cancel.clone(), work.limit);
    within(cancel, limit, query::run(work, sql)).await
}

fn sql_of(
    engine: &Arc<Inner>,
    session: Option<&Session>,
    viewer: &Viewer,
    shown: &Shown,
) -> Result<String, QueryError> {
    Ok(match shown {
        Shown::Target(ShowTarget::Objects(kind)) => match kind {
            ObjectKind::Table => "SELECT name, \"rows\", bytes, files FROM system.tables \
                WHERE kind = 'table' ORDER BY name"
                .to_owned(),
            ObjectKind::MaterializedView => "SELECT name, \"rows\", committed_at FROM system.tables \
                WHERE kind = 'materialized view' ORDER BY name"
                .to_owned(),
            ObjectKind::View | ObjectKind::Endpoint => {
                format!("SELECT name, sql FROM system.objects WHERE kind = '{kind}' ORDER BY name")
            }
        },
        Shown::Target(ShowTarget::Security(table)) => format!("SELECT * FROM system.{table} ORDER BY 1, 2"),
        Shown::Target(ShowTarget::AllSettings) => {
            "SELECT key, value, origin FROM system.settings ORDER BY key".to_owned()
        }
        Shown::Target(ShowTarget::Setting(key)) => {
            let known = engine.settings.iter().map(|(known, ..)| known.as_str()).chain(SETTINGS);
            if !known.clone().any(|known| known == key) && fixed(key).is_none() {
                let hint = suggestion(key, known);
                return Err(QueryError::NotFound {
                    message: format!("setting '{key}' not found{hint}; SHOW ALL lists them"),
                });
            }
            let own = session.and_then(|session| session.get(key));
            let limit = || engine.config.timeout.to_string();
            let default = || match key.as_str() {
                TIMEOUT => Some(limit()),
                REWRITE => Some("on".to_owned()),
                MAX_STALENESS => Some("0 seconds".to_owned()),
                IPC_COMPRESSION => Some(IpcCompression::None.as_str().to_owned()),
                RESULT_ENDPOINTS => Some(ResultEndpoints::default().to_string()),
                _ => None,
            };
            match fixed(key).map(str::to_owned).or(own).or_else(default) {
                Some(value) => format!("SELECT {} AS value", quoted(&value)),
                None => format!("SELECT value FROM system.settings WHERE key = {}", quoted(key)),
            }
        }
        Shown::Name(name) => described(engine, name, viewer)?,
    })
}

/// The columns of a relation; of a materialized view also what each is computed from, and how its rows are kept true.
fn described(engine: &Arc<Inner>, name: &str, viewer: &Viewer) -> Result<String, QueryError> {
    let (schema, table) = name.rsplit_once('.').unwrap_or((PUBLIC, name));
    let catalog = engine.catalog.snapshot();
    if schema == PUBLIC && !viewer.may_see(table) {
        return Err(viewer.not_found(table, &catalog));
    }
    engine.columns.check(engine, schema, table).map_err(|error| match schema {
        PUBLIC => viewer.told(error, table, &catalog),
        _ => error,
    })?;
    let definition =
        (schema == PUBLIC).then(|| catalog.relations.get(table)).flatten().map(|object| &object.definition);
    let columns = "c.column_name, c.data_type, c.is_nullable";
    let of = format!("c.table_schema = {} AND c.table_name = {}", quoted(schema), quoted(table));
    let Some(Definition::MaterializedView(view)) = definition else {
        return Ok(format!(
            "SELECT {columns} FROM information_schema.columns AS c WHERE {of} ORDER BY c.ordinal_position"
        ));
    };
    // Errors name what the view is made of, which `system.lineage` has rows of for the same viewers.
    let strategy = match viewer.sees_whole(&catalog, table) {
        true => quoted(engine.designs.of(engine, &catalog, (table, view))?.strategy.name()),
        false => "CAST(NULL AS VARCHAR)".to_owned(),
    };
    let lines = format!(
        "FROM system.lineage WHERE object_name = {} AND object_kind = 'materialized view' AND column_name",
        quoted(table)
    );
    // A column such as count(*) is computed from no column, but from rows.
    Ok(format!(
        "SELECT {columns}, coalesce(l.reads, w.reads) AS reads, {} AS strategy FROM information_schema.columns AS c \
         LEFT JOIN (SELECT column_name, string_agg(reads_name || '.' || reads_column, ', ' ORDER BY reads_name, reads_column) \
         AS reads {lines} IS NOT NULL GROUP BY column_name) AS l ON l.column_name = c.column_name \
         CROSS JOIN (SELECT string_agg(reads_name, ', ' ORDER BY reads_name) AS reads {lines} IS NULL) AS w \
         WHERE {of} ORDER BY c.ordinal_position",
        strategy
    ))
}

/// `SHOW FUNCTIONS`, which reaches us as a query, as one we can plan; other text as it is.
pub(super) fn functions(sql: &str) -> &str {
    let mut words = sql.split_whitespace();
    let begins = words.next().is_some_and(|word| word.eq_ignore_ascii_case("show"));
    let is_it = begins && words.next().is_some_and(|word| word.eq_ignore_ascii_case("functions"));
    if is_it { "SELECT name, kind FROM system.functions ORDER BY name, kind" } else { sql }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

//! Tables and their columns, as DBeaver's tree and `DatabaseMetaData.getColumns` show them.
//!
//! User objects come from the catalog, their columns from the engine, system tables from `information_schema`. A view that
//! cannot be planned any more is listed without columns rather than hiding all others.

use super::catalogs::{SYSTEM_SCHEMAS, SYSTEM_TABLE, type_name};
use super::{Table, built};
use crate::base::quoted;
use crate::query::{Outcome, Request, Session};
use crate::server::flight_sql::columns::table_schema;
use crate::server::flight_sql::error::{classified, from_stream, internal};
use crate::server::flight_sql::service::Service;
use crate::server::flight_sql::{CATALOG, PUBLIC};
use arrow::array::cast::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use arrow_flight::sql::CommandGetTables;
use futures::TryStreamExt;
use std::sync::Arc;
use tonic::Status;

impl Service {
    /// `CommandGetTables`.
    pub(in crate::server::flight_sql) async fn tables(
        &self,
        command: CommandGetTables,
        session: &Arc<Session>,
    ) -> Result<Table, Status> {
        let with_columns = command.include_schema;
        let mut builder = command.into_builder();
        for (schema, table, kind) in self.relations(session).await? {
            let columns = if with_columns { self.columns(&schema, &table, session).await } else { Schema::empty() };
            let appended = builder.append(CATALOG, &schema, &table, kind, &columns);
            appended.map_err(|error| internal(format!("cannot describe table '{table}': {error}")))?;
        }
        built(builder.build())
    }

    /// Schema, name and table type of everything one can select from.
    async fn relations(&self, session: &Arc<Session>) -> Result<Vec<(String, String, &'static str)>, Status> {
        let snapshot = self.catalog().snapshot();
        let access = self.engine().access(session).map_err(|error| classified(&error))?;
        let may_see = |name: &str| access.as_ref().is_none_or(|access| access.may_see(name));
        let objects = snapshot.relations.values().filter(|object| may_see(&object.name));
        let mut relations: Vec<_> = objects
            .filter_map(|object| type_name(object.kind).map(|kind| (PUBLIC.to_owned(), object.name.clone(), kind)))
            .collect();
        for (schema, table) in self.system_tables(session).await? {
            relations.push((schema, table, SYSTEM_TABLE));
        }
        Ok(relations)
    }

    async fn system_tables(&self, session: &Arc<Session>) -> Result<Vec<(String, String)>, Status> {
        let schemas = SYSTEM_SCHEMAS.map(|schema| format!("'{schema}'")).join(", ");
        let sql =
            format!("SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema IN ({schemas})");
        let answer = self.engine().execute(Request::new(sql, session)).await.map_err(|error| classified(&error))?;
        let Outcome::Rows(rows) = answer.outcome else { return Err(internal("a query gave no rows")) };
        let batches: Vec<_> = rows.try_collect().await.map_err(from_stream)?;
        let mut names = Vec::new();
        for batch in batches {
            let text =
                |index: usize| cast(batch.column(index), &DataType::Utf8).map_err(|error| internal(error.to_string()));
            let (schemas, tables) = (text(0)?, text(1)?);
            for (schema, table) in schemas.as_string::<i32>().iter().zip(tables.as_string::<i32>().iter()) {
                names.extend(schema.zip(table).map(|(schema, table)| (schema.to_owned(), table.to_owned())));
            }
        }
        Ok(names)
    }

    async fn columns(&self, schema: &str, table: &str, session: &Arc<Session>) -> Schema {
        let sql = format!("SELECT * FROM {}.{}", quoted(schema), quoted(table));
        let columns = match schema == PUBLIC {
            true => self.engine().relation_schema_for(table, session).await,
            false => self.engine().prepare(&sql, session).await.map(|prepared| prepared.schema),
        };
        match columns {
            Ok(columns) => table_schema(&columns, schema, table),
            Err(error) => {
                tracing::warn!(schema, table, %error, "cannot describe the columns");
                Schema::empty()
            }
        }
    }
}

//! Tables and their columns, as DBeaver's tree and `DatabaseMetaData.getColumns` show them.
//!
//! User objects come from the catalog, their columns from the engine, system tables from `information_schema`. A view that
//! cannot be planned any more is listed without columns rather than hiding all others.

use super::catalogs::{SYSTEM_SCHEMAS, SYSTEM_TABLE, type_name};
use super::{Table, built};
use crate::query::{Outcome, Request, Session};
use crate::server::flight_sql::encode::described_schema;
use crate::server::flight_sql::error::{classified, from_stream, internal};
use crate::server::flight_sql::service::Service;
use crate::server::flight_sql::{CATALOG, PUBLIC};
use arrow::array::cast::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, TimeUnit};
use arrow_flight::sql::CommandGetTables;
use futures::TryStreamExt;
use std::sync::Arc;
use tonic::Status;

/// The SQL name of a type, as CREATE TABLE takes it; `None` when a table cannot have it.
pub(in crate::server::flight_sql) fn sql_type(data_type: &DataType) -> Option<String> {
    use DataType::*;
    let name = match data_type {
        Boolean => "BOOLEAN",
        Int8 => "TINYINT",
        Int16 => "SMALLINT",
        Int32 => "INT",
        Int64 => "BIGINT",
        UInt8 => "SMALLINT",
        UInt16 => "INT",
        UInt32 => "BIGINT",
        UInt64 => "DECIMAL(20, 0)",
        Float32 => "FLOAT",
        Float64 => "DOUBLE",
        Utf8 | LargeUtf8 | Utf8View => "VARCHAR",
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => "BYTEA",
        Date32 | Date64 => "DATE",
        Timestamp(_, None) => "TIMESTAMP",
        Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE",
        Decimal32(precision, scale) | Decimal64(precision, scale) | Decimal128(precision, scale) => {
            return Some(format!("DECIMAL({precision}, {scale})"));
        }
        List(field) | LargeList(field) | FixedSizeList(field, _) => {
            return sql_type(field.data_type()).map(|inner| format!("{inner}[]"));
        }
        _ => return None,
    };
    Some(name.to_owned())
}

/// The name of a type for people, also where CREATE TABLE has none.
fn shown_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Struct(_) => "STRUCT".to_owned(),
        DataType::Map(_, _) => "MAP".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".to_owned(),
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL".to_owned(),
        DataType::UInt64 => "BIGINT UNSIGNED".to_owned(),
        other => sql_type(other).unwrap_or_else(|| other.to_string().to_uppercase()),
    }
}

/// Precision and scale as JDBC counts them.
fn precision(data_type: &DataType) -> Option<(u32, i32)> {
    Some(match data_type {
        DataType::Int8 | DataType::UInt8 => (3, 0),
        DataType::Int16 | DataType::UInt16 => (5, 0),
        DataType::Int32 | DataType::UInt32 => (10, 0),
        DataType::Int64 => (19, 0),
        DataType::UInt64 => (20, 0),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            (u32::from(*precision), i32::from(*scale))
        }
        DataType::Timestamp(TimeUnit::Second, _) => (19, 0),
        DataType::Timestamp(TimeUnit::Millisecond, _) => (23, 3),
        DataType::Timestamp(TimeUnit::Microsecond, _) => (26, 6),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => (29, 9),
        _ => return None,
    })
}

/// Adds what Flight SQL keeps in column metadata (`ARROW:FLIGHT:SQL:…`).
fn described_column(field: &FieldRef, schema: &str, table: &str) -> Field {
    let mut metadata = field.metadata().clone();
    let mut put = |key: &str, value: String| metadata.insert(format!("ARROW:FLIGHT:SQL:{key}"), value);
    put("CATALOG_NAME", CATALOG.to_owned());
    put("SCHEMA_NAME", schema.to_owned());
    put("TABLE_NAME", table.to_owned());
    put("TYPE_NAME", shown_type(field.data_type()));
    if let Some((precision, scale)) = precision(field.data_type()) {
        put("PRECISION", precision.to_string());
        put("SCALE", scale.to_string());
    }
    put("IS_AUTO_INCREMENT", "0".to_owned());
    put("IS_CASE_SENSITIVE", "1".to_owned());
    put("IS_READ_ONLY", "0".to_owned());
    put("IS_SEARCHABLE", "1".to_owned());
    field.as_ref().clone().with_metadata(metadata)
}

fn described_columns(columns: &Schema, schema: &str, table: &str) -> Schema {
    let described = described_schema(columns);
    Schema::new(described.fields().iter().map(|field| described_column(field, schema, table)).collect::<Vec<_>>())
}

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
        let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let sql = format!("SELECT * FROM {}.{}", quote(schema), quote(table));
        let columns = match schema == PUBLIC {
            true => self.engine().relation_schema_for(table, session).await,
            false => self.engine().prepare(&sql, session).await.map(|prepared| prepared.schema),
        };
        match columns {
            Ok(columns) => described_columns(&columns, schema, table),
            Err(error) => {
                tracing::warn!(schema, table, %error, "cannot describe the columns");
                Schema::empty()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_tell_their_sql_type_and_precision() {
        let columns = Schema::new(vec![
            Field::new("price", DataType::Decimal128(10, 2), false),
            Field::new("name", DataType::Utf8View, true),
        ]);
        let described = described_columns(&columns, "public", "t");
        let price = described.field(0);
        assert_eq!(price.metadata().get("ARROW:FLIGHT:SQL:TYPE_NAME"), Some(&"DECIMAL(10, 2)".to_owned()));
        assert_eq!(price.metadata().get("ARROW:FLIGHT:SQL:SCALE"), Some(&"2".to_owned()));
        assert!(!price.is_nullable());
        assert_eq!(described.field(1).data_type(), &DataType::Utf8);
    }

    #[test]
    fn no_table_can_be_made_of_what_has_no_sql_type() {
        assert_eq!(sql_type(&DataType::Struct(arrow::datatypes::Fields::empty())), None);
        let list = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
        assert_eq!(sql_type(&list), Some("BIGINT[]".to_owned()));
    }
}

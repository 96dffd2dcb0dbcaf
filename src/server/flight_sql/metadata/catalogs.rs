//! Catalogs, schemas and table types: fixed sets.

use super::{Table, built};
use crate::catalog::ObjectKind;
use crate::server::flight_sql::{CATALOG, PUBLIC};
use arrow_flight::sql::{CommandGetCatalogs, CommandGetDbSchemas, CommandGetTableTypes};
use tonic::Status;

/// Schemas of the server's own tables.
pub(super) const SYSTEM_SCHEMAS: [&str; 2] = ["system", "information_schema"];
pub(super) const SYSTEM_TABLE: &str = "SYSTEM TABLE";

/// The table type of an object clients can select from.
pub(super) fn type_name(kind: ObjectKind) -> Option<&'static str> {
    match kind {
        ObjectKind::Table => Some("TABLE"),
        ObjectKind::View => Some("VIEW"),
        ObjectKind::MaterializedView => Some("MATERIALIZED VIEW"),
        ObjectKind::Endpoint => None,
    }
}

pub(in crate::server::flight_sql) fn catalogs(command: CommandGetCatalogs) -> Result<Table, Status> {
    let mut builder = command.into_builder();
    builder.append(CATALOG);
    built(builder.build())
}

pub(in crate::server::flight_sql) fn schemas(command: CommandGetDbSchemas) -> Result<Table, Status> {
    let mut builder = command.into_builder();
    for schema in [PUBLIC].into_iter().chain(SYSTEM_SCHEMAS) {
        builder.append(CATALOG, schema);
    }
    built(builder.build())
}

pub(in crate::server::flight_sql) fn table_types(command: CommandGetTableTypes) -> Result<Table, Status> {
    let mut builder = command.into_builder();
    for kind in [ObjectKind::Table, ObjectKind::View, ObjectKind::MaterializedView] {
        if let Some(name) = type_name(kind) {
            builder.append(name);
        }
    }
    builder.append(SYSTEM_TABLE);
    built(builder.build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;

    fn schema_names(catalog: Option<&str>, pattern: Option<&str>) -> Vec<String> {
        let command = CommandGetDbSchemas {
            catalog: catalog.map(str::to_owned),
            db_schema_filter_pattern: pattern.map(str::to_owned),
        };
        let batch = schemas(command).unwrap().batch.unwrap();
        batch.column(1).as_string::<i32>().iter().flatten().map(str::to_owned).collect()
    }

    #[test]
    fn an_absent_filter_means_all_and_patterns_are_sql_like() {
        assert_eq!(schema_names(None, None), ["information_schema", "public", "system"]);
        assert_eq!(schema_names(None, Some("p%")), ["public"]);
        assert_eq!(schema_names(None, Some("syste_")), ["system"]);
        assert_eq!(schema_names(Some("other"), None), [] as [&str; 0]);
    }
}

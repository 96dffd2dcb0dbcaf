//! `CommandStatementIngest` (ADBC `adbc_ingest`): Arrow rows into a table, all in one commit.
//!
//! `append`, `create`, `create_append` and `replace`. A replaced table is written beside the old one, under no name, and takes its
//! place in one catalog edit: readers see the old or the new table, never none and no other. Temporary tables answer `UNIMPLEMENTED`;
//! options of other servers are refused by name, because one that is ignored would seem to have been heard.

use super::batch_insert::{BatchInsert, columns_of, place, table_columns};
use super::columns::sql_type;
use super::error::{classified, internal, invalid, status, unimplemented};
use super::service::Service;
use super::{CATALOG, PUBLIC};
use crate::base::{Kind, quoted};
use crate::catalog::{Statement, parse_statement};
use crate::query::{Params, Session};
use crate::server::gate::may_insert;
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::sql::{CommandStatementIngest, TableExistsOption, TableNotExistOption};
use futures::{Stream, StreamExt};
use std::sync::Arc;
use tonic::Status;

/// What to do about the table, decided before any row is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Append,
    Create,
    Replace,
}

/// Decides by the client's options and whether the table exists; pure.
fn decide(command: &CommandStatementIngest, exists: bool) -> Result<Action, Status> {
    let table = &command.table;
    if command.temporary {
        return Err(unimplemented("temporary tables are not supported; ingest into a table of your own"));
    }
    if command.transaction_id.is_some() {
        return Err(unimplemented("transactions are not supported; one ingest is one commit by itself"));
    }
    if command.catalog.as_deref().is_some_and(|catalog| !catalog.is_empty() && catalog != CATALOG) {
        return Err(status(Kind::NotFound, format!("there is one catalog, '{CATALOG}'")));
    }
    if command.schema.as_deref().is_some_and(|schema| !schema.is_empty() && schema != PUBLIC) {
        return Err(status(Kind::NotFound, format!("tables are made in schema '{PUBLIC}' only")));
    }
    if let Some(option) = command.options.keys().min() {
        return Err(invalid(format!("an ingest has no option '{option}' here, nor any other; leave it out")));
    }
    let options = command.table_definition_options.unwrap_or_default();
    match (exists, options.if_exists(), options.if_not_exist()) {
        (true, TableExistsOption::Append, _) => Ok(Action::Append),
        (true, TableExistsOption::Fail | TableExistsOption::Unspecified, _) => {
            Err(status(Kind::AlreadyExists, format!("table '{table}' exists already; ingest with mode append")))
        }
        (true, TableExistsOption::Replace, _) => Ok(Action::Replace),
        (false, _, TableNotExistOption::Create) => Ok(Action::Create),
        (false, _, TableNotExistOption::Fail | TableNotExistOption::Unspecified) => Err(status(
            Kind::NotFound,
            format!("table '{table}' not found; create it first, or ingest with mode create"),
        )),
    }
}

/// The CREATE TABLE statement for rows of this schema.
fn create_table(table: &str, schema: &Schema) -> Result<String, Status> {
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let kind = sql_type(&crate::server::encode::wire_type(field.data_type())).ok_or_else(|| {
            invalid(format!("column '{}': a table cannot be made with type {}", field.name(), field.data_type()))
        })?;
        let null = if field.is_nullable() { "" } else { " NOT NULL" };
        columns.push(format!("{} {kind}{null}", quoted(field.name())));
    }
    Ok(format!("CREATE TABLE {} ({})", quoted(table), columns.join(", ")))
}

fn parsed(sql: &str) -> Result<Statement, Status> {
    parse_statement(sql).map_err(|error| classified(&error))
}

impl Service {
    /// Ingests all rows in one commit; returns how many the table gained.
    pub(super) async fn ingest(
        &self,
        command: CommandStatementIngest,
        session: &Arc<Session>,
        mut batches: impl Stream<Item = Result<RecordBatch, Status>> + Send + Unpin + 'static,
    ) -> Result<i64, Status> {
        let access = self.engine().access(session).map_err(|error| classified(&error))?;
        let (access, catalog) = (access.as_deref(), self.catalog().snapshot());
        let seen = access.is_none_or(|access| access.may_see(&command.table));
        let action = decide(&command, seen && catalog.relations.contains_key(&command.table))?;
        if action == Action::Append {
            may_insert(access, &command.table, &catalog).map_err(|fault| {
                self.noted(session, &command.table).ended(Err(fault.kind));
                fault.into_status()
            })?;
        } else if access.is_some_and(|access| !access.is_engineer()) {
            // Who makes a table may put rows into it.
            self.noted(session, &command.table).ended(Err(Kind::PermissionDenied));
            return Err(status(Kind::PermissionDenied, "making and replacing tables needs role engineer"));
        }
        let Some(first) = batches.next().await.transpose()? else {
            return Err(invalid("the rows to ingest have no schema; send at least the Arrow schema message"));
        };
        let table = &command.table;
        match action {
            Action::Append => self.append_named(table, first, batches, session).await,
            Action::Create => self.create_with(table, first, batches, session).await,
            Action::Replace => self.replace_with(table, first, batches, session).await,
        }
    }

    /// Another table of the same name, with these rows, or the one that is there.
    async fn replace_with(
        &self,
        table: &str,
        first: RecordBatch,
        rest: impl Stream<Item = Result<RecordBatch, Status>> + Send + Unpin + 'static,
        session: &Session,
    ) -> Result<i64, Status> {
        let Statement::Create(create) = parsed(&create_table(table, &first.schema())?)? else {
            return Err(internal("a CREATE TABLE is not one"));
        };
        let engine = self.engine();
        let beside = engine.make_beside(*create).await.map_err(|error| classified(&error))?;
        let filled = match inserting(table, columns_of(&beside)?, &first) {
            Ok(insert) => {
                self.fill(&insert, beside.clone(), session, futures::stream::iter([Ok(first)]).chain(rest)).await
            }
            Err(refused) => Err(refused),
        };
        match filled {
            Ok(rows) => engine.replace_table(&beside).await.map(|()| rows).map_err(|error| classified(&error)),
            Err(error) => {
                engine.delete_beside(&beside).await;
                Err(error)
            }
        }
    }

    /// A new table with these rows, or none.
    async fn create_with(
        &self,
        table: &str,
        first: RecordBatch,
        rest: impl Stream<Item = Result<RecordBatch, Status>> + Send + Unpin + 'static,
        session: &Arc<Session>,
    ) -> Result<i64, Status> {
        self.run_to_end(&create_table(table, &first.schema())?, Params::None, session).await?;
        let appended = self.append_named(table, first, rest, session).await;
        if appended.is_err() {
            self.drop_unfinished(table, session).await;
        }
        appended
    }

    async fn drop_unfinished(&self, table: &str, session: &Arc<Session>) {
        let undo = format!("DROP TABLE IF EXISTS {}", quoted(table));
        if let Err(error) = self.run_to_end(&undo, Params::None, session).await {
            tracing::warn!(table, %error, "could not drop the table of a failed ingest");
        }
    }

    async fn append_named(
        &self,
        table: &str,
        first: RecordBatch,
        rest: impl Stream<Item = Result<RecordBatch, Status>> + Send + Unpin + 'static,
        session: &Session,
    ) -> Result<i64, Status> {
        let insert = inserting(table, table_columns(self.catalog(), table)?, &first)?;
        self.append(&insert, session, futures::stream::iter([Ok(first)]).chain(rest)).await
    }
}

/// Columns by their names, in whatever order they come.
fn inserting(table: &str, columns: SchemaRef, first: &RecordBatch) -> Result<BatchInsert, Status> {
    let named: Vec<String> = first.schema().fields().iter().map(|field| field.name().clone()).collect();
    let order: Vec<usize> = (0..named.len()).collect();
    place(table.to_owned(), columns, &named, &order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, Field};
    use arrow_flight::sql::TableDefinitionOptions;

    fn command(exists: TableExistsOption, missing: TableNotExistOption) -> CommandStatementIngest {
        let options = TableDefinitionOptions { if_exists: exists.into(), if_not_exist: missing.into() };
        CommandStatementIngest { table: "t".to_owned(), table_definition_options: Some(options), ..Default::default() }
    }

    #[test]
    fn the_modes_of_adbc() {
        let create = command(TableExistsOption::Fail, TableNotExistOption::Create);
        assert_eq!(decide(&create, false).unwrap(), Action::Create);
        assert_eq!(decide(&create, true).unwrap_err().code(), tonic::Code::AlreadyExists);
        let append = command(TableExistsOption::Append, TableNotExistOption::Fail);
        assert_eq!(decide(&append, true).unwrap(), Action::Append);
        assert_eq!(decide(&append, false).unwrap_err().code(), tonic::Code::NotFound);
        let both = command(TableExistsOption::Append, TableNotExistOption::Create);
        assert_eq!(decide(&both, true).unwrap(), Action::Append);
        assert_eq!(decide(&both, false).unwrap(), Action::Create);
        let replace = command(TableExistsOption::Replace, TableNotExistOption::Create);
        assert_eq!(decide(&replace, true).unwrap(), Action::Replace);
        assert_eq!(decide(&replace, false).unwrap(), Action::Create);
    }

    #[test]
    fn temporary_tables_are_refused_not_ignored() {
        let mut temporary = command(TableExistsOption::Fail, TableNotExistOption::Create);
        temporary.temporary = true;
        assert_eq!(decide(&temporary, false).unwrap_err().code(), tonic::Code::Unimplemented);
    }

    #[test]
    fn unknown_options_are_refused_by_name() {
        let mut tuned = command(TableExistsOption::Append, TableNotExistOption::Create);
        tuned.options.insert("key1".to_owned(), "val1".to_owned());
        for exists in [true, false] {
            let refused = decide(&tuned, exists).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::InvalidArgument);
            assert!(refused.message().contains("'key1'"), "{}", refused.message());
        }
    }

    #[test]
    fn names_are_quoted_in_the_statement_made() {
        let schema =
            Schema::new(vec![Field::new("a\"b", DataType::Int64, false), Field::new("C", DataType::Utf8, true)]);
        assert_eq!(
            create_table("T x", &schema).unwrap(),
            r#"CREATE TABLE "T x" ("a""b" BIGINT NOT NULL, "C" VARCHAR)"#
        );
    }
}

//! `ALTER TABLE … ADD COLUMN`: one more column, null in every row already there. No file is touched.

use std::collections::BTreeMap;

use arrow::datatypes::{Field, FieldRef, Schema};
use deltalake_core::DeltaTable;
use uuid::Uuid;

use super::action::{self, Action, CommitInfo, ZONELESS_FEATURE};
use super::commit::RACES_MAX;
use super::log::Put;
use super::{Table, TableVersion};
use crate::storage::spec::{has_zoneless_timestamp, storable_field};
use crate::storage::{StorageError, TableSnapshot, TableSpec};

impl Table {
    /// Adds a nullable column at the end.
    pub async fn add_column(&self, field: FieldRef) -> Result<TableVersion, StorageError> {
        let _turn = self.turn().await?;
        let field = storable_field(&field)?;
        for _ in 0..RACES_MAX {
            let base = self.refresh().await?;
            check_addable(base.spec(), &field)?;
            let commit_id = Uuid::new_v4();
            let content = action::render(&self.adding(&base, &field, commit_id).await?)?;
            let version = TableVersion(base.version().0 + 1);
            if self.parts.put_commit(version, commit_id, content.clone()).await? == Put::Ours {
                self.adopt(version, content).await?;
                tracing::info!(table = %self.parts.path, %version, column = %field.name(), "column added");
                return Ok(version);
            }
        }
        Err(StorageError::Crowded { table: self.parts.path.clone() })
    }

    async fn adding(
        &self,
        base: &TableSnapshot,
        field: &FieldRef,
        commit_id: Uuid,
    ) -> Result<Vec<Action>, StorageError> {
        let at = self.parts.clock.now().max(base.committed_at());
        let info = BTreeMap::from([("column".to_owned(), serde_json::Value::from(field.name().as_str()))]);
        let mut actions = vec![Action::CommitInfo(CommitInfo::new("ADD COLUMN", at, commit_id, info))];
        let (metadata, protocol) = self.present_metadata(base.version()).await?;
        if has_zoneless_timestamp(field.data_type()) {
            actions.extend(zoneless_protocol(field, &protocol)?.map(Action::Protocol));
        }
        actions.push(Action::MetaData(with_column(&self.parts.path, metadata, field.clone())?));
        Ok(actions)
    }

    /// The table's metadata and protocol as they stand in the log, with everything we do not know about.
    async fn present_metadata(
        &self,
        version: TableVersion,
    ) -> Result<(serde_json::Value, serde_json::Value), StorageError> {
        let action = || format!("read the metadata of table files '{}'", self.parts.path);
        let mut table = DeltaTable::new(self.parts.log_store.clone());
        let loaded = table.load_version(version.0).await;
        let state = loaded.and_then(|()| table.snapshot()).map_err(|error| StorageError::delta(action(), error))?;
        let unreadable = |error| StorageError::Damaged { message: format!("cannot {}: {error}", action()) };
        let metadata = serde_json::to_value(state.metadata()).map_err(unreadable)?;
        let protocol = serde_json::to_value(state.protocol()).map_err(unreadable)?;
        Ok((metadata, protocol))
    }
}

fn check_addable(spec: &TableSpec, field: &Field) -> Result<(), StorageError> {
    let name = field.name();
    let refuse = |reason: &str| StorageError::Invalid { message: format!("cannot add column '{name}': {reason}") };
    if !field.is_nullable() {
        return Err(refuse("rows already there would have no value; leave out NOT NULL"));
    }
    if spec.physical_schema().fields().iter().any(|present| present.name().eq_ignore_ascii_case(name)) {
        return Err(refuse("the table has a column of that name"));
    }
    Ok(())
}

/// The metadata with one more column; everything else in it stays as it is.
fn with_column(
    table: &str,
    mut metadata: serde_json::Value,
    field: FieldRef,
) -> Result<serde_json::Value, StorageError> {
    let damaged = || StorageError::Damaged { message: format!("the schema of table files '{table}' is not readable") };
    let text = metadata["schemaString"].as_str().ok_or_else(damaged)?;
    let mut schema: serde_json::Value = serde_json::from_str(text).map_err(|_| damaged())?;
    let mut added = action::delta_schema(&Schema::new(vec![field]))?;
    let columns = schema["fields"].as_array_mut().ok_or_else(damaged)?;
    columns.append(added["fields"].as_array_mut().ok_or_else(damaged)?);
    metadata["schemaString"] = schema.to_string().into();
    Ok(metadata)
}

/// The protocol that a timestamp without time zone needs; `None` when the present one allows it.
fn zoneless_protocol(field: &Field, present: &serde_json::Value) -> Result<Option<serde_json::Value>, StorageError> {
    let features = |key: &str| -> Vec<String> {
        let names = present[key].as_array().into_iter().flatten();
        names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
    };
    let (reader, writer) = (features("readerFeatures"), features("writerFeatures"));
    if writer.iter().any(|name| name == ZONELESS_FEATURE) {
        return Ok(None);
    }
    match present["minWriterVersion"].as_i64() {
        Some(7) => Ok(Some(action::with_zoneless_timestamps(&reader, &writer))),
        // What writer version 2 implies has to be named from now on.
        Some(..=2) => {
            Ok(Some(action::with_zoneless_timestamps(&[], &["appendOnly".to_owned(), "invariants".to_owned()])))
        }
        _ => Err(StorageError::Invalid {
            message: format!(
                "cannot add column '{}': another program gave the table features that do not go with a timestamp without \
                 time zone; use TIMESTAMP WITH TIME ZONE",
                field.name()
            ),
        }),
    }
}

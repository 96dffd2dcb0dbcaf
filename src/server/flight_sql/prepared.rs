//! Prepared statements: an opaque handle per statement, kept on the server, bounded in number and idle time.
//!
//! A handle belongs to no connection, so it survives reconnecting to the same server; after a restart, expiry or eviction
//! it answers `NOT_FOUND: … prepare it again`. When there are too many, the one unused for longest makes room.
//!
//! A handle is its maker's: to any other caller it is unknown.
//!
//! Its result has the types of what is bound: `SELECT ?` with a number bound answers a number. Before anything is bound the
//! schema is that with text for each parameter that nothing tells the type of, as clients are told to bind.
//!
//! JDBC tells updates from queries by an empty dataset schema in the answer to `CreatePreparedStatement`.

use super::batch_insert;
use super::columns::result_schema;
use super::error::{invalid, status};
use super::parameters::{Rows, bind, collect_bound, shown_schema};
use super::service::Service;
use super::statements::{BOUND_BYTES_MAX, Finished, Planned, finished_info, record_count};
use super::ticket::StatementTicket;
use crate::auth::Identity;
use crate::base::{Clock, Kind, Span, Timestamp};
use crate::query::{Params, Prepared, Session, StatementKind};
use crate::telemetry::metrics;
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::{FlightDescriptor, FlightInfo};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tonic::Status;

/// All prepared statements of the server.
pub(super) struct PreparedStatements {
    state: Mutex<State>,
    count_max: usize,
    idle: Span,
    clock: Clock,
}

#[derive(Default)]
struct State {
    by_handle: HashMap<Bytes, Entry>,
    swept_at: Timestamp,
}

struct Entry {
    statement: Arc<PreparedStatement>,
    owner: Option<Identity>,
    used_at: Timestamp,
}

/// One prepared statement and the parameters last bound to it.
pub(super) struct PreparedStatement {
    pub sql: String,
    pub prepared: Prepared,
    bound: Mutex<Option<RecordBatch>>,
}

impl PreparedStatements {
    pub fn new(count_max: usize, idle: Span, clock: Clock) -> Self {
        Self { state: Mutex::default(), count_max: count_max.max(1), idle, clock }
    }

    /// Keeps a statement; returns its handle.
    pub fn add(&self, sql: String, prepared: Prepared, owner: Option<Identity>) -> Bytes {
        let handle = Bytes::from(uuid::Uuid::new_v4().to_string());
        let now = self.clock.now();
        let statement = Arc::new(PreparedStatement { sql, prepared, bound: Mutex::default() });
        let mut state = self.state.lock();
        self.sweep(&mut state, now);
        if state.by_handle.len() >= self.count_max {
            let oldest =
                state.by_handle.iter().min_by_key(|(_, entry)| entry.used_at).map(|(handle, _)| handle.clone());
            oldest.map(|handle| state.by_handle.remove(&handle));
        }
        state.by_handle.insert(handle.clone(), Entry { statement, owner, used_at: now });
        observe(state.by_handle.len());
        handle
    }

    /// The statement of `handle`, when it is `owner`'s.
    pub fn get(&self, handle: &Bytes, owner: &Option<Identity>) -> Result<Arc<PreparedStatement>, Status> {
        let now = self.clock.now();
        let mut state = self.state.lock();
        self.sweep(&mut state, now);
        let unknown =
            || status(Kind::NotFound, "this prepared statement is not known here (any more); prepare it again");
        let entry = state.by_handle.get_mut(handle).filter(|entry| entry.owner == *owner).ok_or_else(unknown)?;
        entry.used_at = now;
        Ok(entry.statement.clone())
    }

    /// Closing an unknown handle is fine: it is closed. Another's stays open.
    pub fn close(&self, handle: &Bytes, owner: &Option<Identity>) {
        let mut state = self.state.lock();
        if state.by_handle.get(handle).is_some_and(|entry| entry.owner == *owner) {
            state.by_handle.remove(handle);
        }
        observe(state.by_handle.len());
    }

    fn sweep(&self, state: &mut State, now: Timestamp) {
        let idle = self.idle.duration();
        if now.since(state.swept_at) < idle / 8 {
            return;
        }
        state.swept_at = now;
        state.by_handle.retain(|_, entry| now.since(entry.used_at) < idle);
    }
}

fn observe(count: usize) {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    metrics().set("flight_prepared_statements", "prepared statements kept", &[], f64::from(count));
}

impl PreparedStatement {
    /// The schema of its result before anything is bound; empty for one that changes something.
    pub fn dataset_schema(&self) -> SchemaRef {
        match self.prepared.kind {
            StatementKind::Query => result_schema(&self.prepared.schema),
            StatementKind::Update | StatementKind::Command => Arc::new(Schema::empty()),
        }
    }

    pub fn parameter_schema(&self) -> Schema {
        shown_schema(&self.prepared.parameters)
    }

    /// The rows to run with: the bound ones, or none for a statement without parameters.
    fn rows(&self) -> Result<Rows, Status> {
        let wanted = self.prepared.parameters.fields().len();
        match self.bound.lock().as_ref() {
            Some(batch) if wanted > 0 => Ok(Rows::bound(batch.clone())),
            None if wanted > 0 => Err(invalid(format!("this statement has {wanted} parameters; bind them first"))),
            _ => Ok(Rows::none()),
        }
    }
}

impl Service {
    pub(super) async fn prepare(&self, sql: String, session: &Arc<Session>) -> Result<Bytes, Status> {
        let prepared = self.plan(&sql, &Params::None, session).await?;
        Ok(self.prepared().add(sql, prepared, session.caller.clone()))
    }

    /// `DoPut` of parameters for a later `GetFlightInfo`.
    pub(super) async fn bind_parameters(
        &self,
        statement: &PreparedStatement,
        batches: impl Stream<Item = Result<RecordBatch, Status>> + Unpin,
    ) -> Result<(), Status> {
        let bound = collect_bound(batches, &statement.prepared.parameters, BOUND_BYTES_MAX).await?;
        *statement.bound.lock() = bound.filter(|batch| batch.num_rows() > 0);
        Ok(())
    }

    /// `GetFlightInfo` of a prepared statement; runs it when it changes something (see `statements`).
    pub(super) async fn plan_prepared(
        &self,
        statement: &PreparedStatement,
        session: &Arc<Session>,
        descriptor: FlightDescriptor,
    ) -> Result<FlightInfo, Status> {
        let rows = statement.rows()?;
        if statement.prepared.kind == StatementKind::Query {
            let schema = self.bound_schema(statement, &rows, session).await?;
            // With several rows of parameters it is several queries, one after the other.
            let is_divisible = statement.prepared.is_divisible && rows.len() == 1;
            let (sql, parameters) = (&statement.sql, rows.to_ipc()?);
            return self.query_info(Planned { sql, schema: &schema, parameters, is_divisible }, session, descriptor);
        }
        let finished = self.run_each(&statement.sql, &rows, session).await?;
        finished_info(&finished, descriptor)
    }

    /// `GetSchema` of a prepared statement: that of its result with what is bound now.
    pub(super) async fn prepared_schema(
        &self,
        statement: &PreparedStatement,
        session: &Arc<Session>,
    ) -> Result<SchemaRef, Status> {
        match statement.rows() {
            Ok(rows) => self.bound_schema(statement, &rows, session).await,
            Err(_nothing_bound) => Ok(statement.dataset_schema()),
        }
    }

    /// The schema of a statement's result with `rows` bound; planned anew where their types tell more than the statement does.
    async fn bound_schema(
        &self,
        statement: &PreparedStatement,
        rows: &Rows,
        session: &Arc<Session>,
    ) -> Result<SchemaRef, Status> {
        let is_query = statement.prepared.kind == StatementKind::Query;
        if !is_query || rows.are_as_told(&statement.prepared.parameters) {
            return Ok(statement.dataset_schema());
        }
        let planned = self.plan(&statement.sql, &rows.params(0)?, session).await?;
        Ok(result_schema(&planned.schema))
    }

    /// The ticket of a client that fetches a prepared query without `GetFlightInfo`.
    pub(super) async fn ticket_of(
        &self,
        statement: &PreparedStatement,
        session: &Arc<Session>,
    ) -> Result<StatementTicket, Status> {
        if statement.prepared.kind != StatementKind::Query {
            return Err(invalid("this statement returns no rows; run it as an update"));
        }
        let rows = statement.rows()?;
        let schema = self.bound_schema(statement, &rows, session).await?;
        Ok(StatementTicket {
            id: uuid::Uuid::new_v4().to_string(),
            sql: statement.sql.clone(),
            result: super::ticket::to_ipc(&schema, &[])?,
            parameters: rows.to_ipc()?,
            endpoint: None,
        })
    }

    /// `DoPut` of an update with the rows of parameters in the same stream; returns the rows affected. A stream without
    /// any takes those bound before, once: arrow-flight's own client binds in a call of its own.
    pub(super) async fn update_prepared(
        &self,
        statement: &PreparedStatement,
        session: &Arc<Session>,
        mut batches: impl Stream<Item = Result<RecordBatch, Status>> + Send + Unpin + 'static,
    ) -> Result<i64, Status> {
        if statement.prepared.kind == StatementKind::Query {
            return Err(invalid("this statement returns rows; run it as a query, not as an update"));
        }
        if statement.prepared.parameters.fields().is_empty() {
            return Ok(record_count(self.run_to_end(&statement.sql, Params::None, session).await?.rows));
        }
        let sent = batches.next().await.transpose()?;
        let first = sent.or_else(|| statement.bound.lock().take());
        let second = batches.next().await.transpose()?;
        let several = second.is_some() || first.as_ref().is_some_and(|batch| batch.num_rows() > 1);
        if several && let Some(insert) = batch_insert::recognise(&statement.sql, self.catalog())? {
            self.check_insert(session, &insert.table)?;
            let start = first.into_iter().chain(second).map(Ok);
            let all = futures::stream::iter(start).chain(batches);
            return self.append(&insert, session, all).await;
        }
        let mut total = 0;
        let mut waiting = futures::stream::iter(first.into_iter().chain(second).map(Ok)).chain(batches);
        while let Some(batch) = waiting.next().await {
            let rows = Rows::bound(bind(&statement.prepared.parameters, &batch?)?);
            if rows.len() == 0 {
                continue;
            }
            total += record_count(self.run_each(&statement.sql, &rows, session).await?.rows);
        }
        Ok(total)
    }

    /// Runs a statement once per row; an error says how many rows had taken effect.
    async fn run_each(&self, sql: &str, rows: &Rows, session: &Arc<Session>) -> Result<Finished, Status> {
        let mut finished = self.run_to_end(sql, rows.params(0)?, session).await?;
        for row in 1..rows.len() {
            let next = self.run_to_end(sql, rows.params(row)?, session).await.map_err(|error| {
                let message = format!(
                    "{} (in row {} of {}; the rows before it took effect)",
                    error.message(),
                    row + 1,
                    rows.len()
                );
                Status::with_metadata(error.code(), message, error.metadata().clone())
            })?;
            finished.rows = finished.rows.zip(next.rows).map(|(sum, more)| sum + more);
            finished.batches = next.batches;
        }
        Ok(finished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn prepared() -> Prepared {
        let schema = Arc::new(Schema::empty());
        Prepared { kind: StatementKind::Query, schema: schema.clone(), parameters: schema, is_divisible: false }
    }

    #[test]
    fn an_unknown_handle_says_prepare_again() {
        let statements = PreparedStatements::new(2, Span::from_secs(60), Clock::system());
        let refused = statements.get(&Bytes::from_static(b"x"), &None).err().unwrap();
        assert_eq!(refused.code(), tonic::Code::NotFound);
        assert!(refused.message().contains("prepare it again"), "{}", refused.message());
    }

    #[test]
    fn the_longest_unused_makes_room_and_idle_ones_expire() {
        let clock = Clock::manual(Timestamp(0));
        let statements = PreparedStatements::new(2, Span::from_secs(60), clock.clone());
        let add = || {
            clock.advance(Duration::from_secs(1));
            statements.add("SELECT 1".to_owned(), prepared(), None)
        };
        let (first, second) = (add(), add());
        clock.advance(Duration::from_secs(1));
        assert!(statements.get(&first, &None).is_ok());
        let third = statements.add("SELECT 1".to_owned(), prepared(), None);
        assert!(statements.get(&second, &None).is_err());
        assert!(statements.get(&first, &None).is_ok() && statements.get(&third, &None).is_ok());
        clock.advance(Duration::from_secs(61));
        assert!(statements.get(&first, &None).is_err());
    }

    #[test]
    fn a_stolen_handle_is_unknown() {
        let statements = PreparedStatements::new(2, Span::from_secs(60), Clock::system());
        let caller = |user: &str| Some(Identity::of_user(user));
        let handle = statements.add("SELECT 1".to_owned(), prepared(), caller("ann"));
        let refused = statements.get(&handle, &caller("bob")).err().unwrap();
        assert_eq!(refused.code(), tonic::Code::NotFound);
        statements.close(&handle, &caller("bob"));
        assert!(statements.get(&handle, &caller("ann")).is_ok());
    }
}

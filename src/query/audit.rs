//! What the audit is told of statements: those of callers, when they end, and those that were refused before they began. What
//! the process does by itself is nobody's.

use datafusion::common::TableReference;

use super::engine::Inner;
use super::running::{Run, State};
use super::runtime::PUBLIC;
use super::shape::shape;
use super::tables::references;
use super::{Origin, QueryError, Session, planner};
use crate::auth::{AuditEntry, AuditLog, AuditedText, Authenticator, Decision};
use crate::base::{Classify, Kind, Timestamp};
use crate::catalog::{CatalogSnapshot, Delete, Statement, parse_statement, redacted};

/// Characters of a statement's text kept.
const TEXT_KEPT: usize = 2_000;
/// The kind of what is no statement, or has not been read yet.
const UNKNOWN: &str = "unknown";

/// What kind of statement, and what it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct About {
    pub(super) action: &'static str,
    pub(super) objects: Vec<String>,
    /// It names what the caller may not know of.
    pub(super) hidden: bool,
}

impl Default for About {
    fn default() -> Self {
        Self { action: UNKNOWN, objects: Vec::new(), hidden: false }
    }
}

impl About {
    /// Of a call of an endpoint: what the endpoint reads is its maker's.
    pub(super) fn call(endpoint: &str) -> Self {
        Self { action: "call", objects: vec![endpoint.to_owned()], hidden: false }
    }

    /// Of a statement. What a query names is told when it is known ([`Run::note_names`]).
    pub(super) fn of(statement: &Statement) -> Self {
        let (action, objects) = match statement {
            Statement::Query(_) => ("query", Vec::new()),
            Statement::Insert { table, source, .. } => {
                let mut names = vec![table.clone()];
                // A list of values may be long, and names nothing.
                let is_list = source.get(..6).is_some_and(|word| word.eq_ignore_ascii_case("VALUES"));
                if !is_list {
                    names.extend(named_in(source).into_iter().filter(|name| name != table));
                }
                ("insert", names)
            }
            Statement::Delete(Delete { table, .. }) => ("delete", vec![table.clone()]),
            Statement::Create(create) => ("create", vec![create.name.clone()]),
            Statement::Drop(drop) => ("drop", vec![drop.name.clone()]),
            Statement::AlterAddColumn(alter) => ("alter", vec![alter.table.clone()]),
            Statement::AlterOptions(alter) => ("alter", vec![alter.name.clone()]),
            Statement::Refresh(refresh) => ("refresh", vec![refresh.view.clone()]),
            Statement::ExplainRefresh { view } => ("explain", vec![view.clone()]),
            Statement::Verify { view, .. } => ("verify", vec![view.clone()]),
            Statement::Advise { .. } => ("advise", Vec::new()),
            Statement::Replay(replay) => ("replay", vec![replay.table.clone()]),
            Statement::Kill { .. } => ("kill", Vec::new()),
            Statement::Copy(copy) => ("copy", vec![copy.table.clone()]),
            Statement::Maintain(maintain) => ("maintain", vec![maintain.table.clone()]),
            Statement::Security(_) => ("security", Vec::new()),
            Statement::Show(_) => ("show", Vec::new()),
            Statement::Describe { name } => ("describe", vec![name.clone()]),
            Statement::Set { .. } | Statement::Reset { .. } => ("set", Vec::new()),
        };
        Self { action, objects, hidden: false }
    }

    fn of_text(sql: &str) -> Self {
        match parse_statement(sql) {
            Ok(statement @ Statement::Query(_)) => Self { objects: named_in(sql), ..Self::of(&statement) },
            Ok(statement) => Self::of(&statement),
            Err(_) => Self::default(),
        }
    }

    /// Whether one of the names is there, for others.
    pub(super) fn names_any_of(&self, catalog: &CatalogSnapshot) -> bool {
        self.objects.iter().any(|name| catalog.relations.contains_key(name) || catalog.endpoints.contains_key(name))
    }
}

/// The tables and views a query names; none when it cannot be read.
fn named_in(query: &str) -> Vec<String> {
    let found = planner::parse(query).and_then(|statement| references(&statement)).unwrap_or_default();
    found.iter().map(name_of).collect()
}

/// Users' objects by their name alone.
pub(super) fn name_of(reference: &TableReference) -> String {
    match reference.schema() {
        None | Some(PUBLIC) => reference.table().to_owned(),
        Some(schema) => format!("{schema}.{}", reference.table()),
    }
}

/// A statement has ended.
pub(super) fn ended(authenticator: &Authenticator, run: &Run, state: State) {
    let (Some(log), Some(identity)) = (authenticator.audit(), &run.audited) else { return };
    let error = match state {
        State::Failed(kind) => Some(kind),
        State::Waiting | State::Planning | State::Running | State::Done => None,
    };
    let about = run.about.lock().clone();
    let entry = AuditEntry::of_caller(identity, run.started_at, run.origin.as_str(), about.action);
    log.record(AuditEntry {
        address: run.address,
        decision: Some(Decision::of(error, about.hidden)),
        objects: about.objects,
        error_kind: error.map(Kind::as_str),
        rows: Some(run.rows()),
        elapsed: run.elapsed(),
        statement: kept(log, run.origin, &run.sql),
        query_id: Some(run.id.0.clone()),
        ..entry
    });
}

/// A statement was refused before it was listed, or while it was only prepared.
pub(super) fn refused(engine: &Inner, (session, endpoint): (&Session, Option<&str>), sql: &str, error: &QueryError) {
    let (Ok(authenticator), Some(identity)) = (engine.authenticator(), &session.caller) else { return };
    let Some(log) = authenticator.audit() else { return };
    let kind = error.kind();
    // A text that is refused unread, for its length or its depth, is not read here either.
    let is_readable = engine.check_size(sql).is_ok();
    let about = match endpoint {
        Some(endpoint) => About::call(endpoint),
        None if is_readable => About::of_text(sql),
        None => About::default(),
    };
    let hidden = about.names_any_of(&engine.catalog.snapshot());
    let decision = match kind {
        // Beyond the caller's limits.
        Kind::ResourceExhausted => Decision::Denied,
        kind => Decision::of(Some(kind), hidden),
    };
    let now: Timestamp = engine.clock.now();
    let entry = AuditEntry::of_caller(identity, now, session.origin.as_str(), about.action);
    let text: String = redacted(sql.get(..sql.floor_char_boundary(TEXT_KEPT * 4)).unwrap_or_default()).into_owned();
    log.record(AuditEntry {
        address: session.address,
        decision: Some(decision),
        objects: about.objects,
        error_kind: Some(kind.as_str()),
        statement: kept(log, session.origin, &text),
        ..entry
    });
}

/// What is kept of a text without passwords. An endpoint's is its maker's, and the same for every call.
fn kept(log: &AuditLog, origin: Origin, text: &str) -> Option<String> {
    if origin == Origin::Endpoint {
        return None;
    }
    let cut = |text: &str| text.chars().take(TEXT_KEPT).collect::<String>();
    match log.statements() {
        AuditedText::Text => Some(cut(text)),
        AuditedText::Shape => Some(cut(&shape(text))),
        AuditedText::None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_name_what_they_are_about() {
        for (sql, action, objects) in [
            ("SELECT * FROM a JOIN system.queries ON true", "query", "a system.queries"),
            ("WITH a AS (SELECT 1) SELECT * FROM a, public.b", "query", "b"),
            ("INSERT INTO t SELECT * FROM s", "insert", "t s"),
            ("DELETE FROM t WHERE a = 1", "delete", "t"),
            ("CREATE TABLE t (a BIGINT)", "create", "t"),
            ("GRANT SELECT ON TABLE t TO ROLE r", "security", ""),
            ("KILL QUERY 'x'", "kill", ""),
            ("SELEC 1", "unknown", ""),
        ] {
            let about = About::of_text(sql);
            assert_eq!((about.action, about.objects.join(" ").as_str()), (action, objects), "{sql}");
        }
    }
}

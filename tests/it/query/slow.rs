//! Statements that take long: the warning in the log, and what system.queries says of them.

use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

use crate::lab::Lab;

const SLOW: &str = "SELECT is_slow, plan_digest IS NOT NULL FROM system.queries WHERE sql = ";

/// The fields of warnings, one line each.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!(" {}={value:?}", field.name()));
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn a_slow_statement_is_marked_and_logged() {
    let lab = Lab::with(&[("query.slow_after", "1 us")]).await;
    let warnings = Warnings::default();
    // What has no rows ends on this thread.
    let guard = tracing::subscriber::set_default(warnings.clone());
    lab.run("CREATE TABLE secrets (a BIGINT)").await;
    drop(guard);
    let logged = warnings.0.lock().unwrap().join("\n");
    for part in [
        "slow statement",
        "query_id=",
        "user=\"tester\"",
        "origin=\"internal\"",
        "state=\"done\"",
        "elapsed_ms=",
        "rows=0",
    ] {
        assert!(logged.contains(part), "{part}: {logged}");
    }
    assert!(!logged.contains("secrets"), "no text of statements: {logged}");
    lab.run("SELECT 1").await;
    assert_eq!(lab.rows(&format!("{SLOW}'SELECT 1'")).await, ["true|true"]);
    assert_eq!(lab.rows(&format!("{SLOW}'CREATE TABLE secrets (a BIGINT)'")).await, ["true|false"]);
}

#[tokio::test]
async fn plans_of_the_same_shape_have_the_same_digest() {
    let lab = Lab::with(&[("query.slow_after", "0 s")]).await;
    lab.run("CREATE TABLE t (a BIGINT)").await;
    lab.run("INSERT INTO t VALUES (1), (2)").await;
    for sql in ["SELECT a FROM t WHERE a > 1", "SELECT a FROM t WHERE a > 0", "SELECT a FROM t ORDER BY a DESC"] {
        lab.run(sql).await;
    }
    let digests = "SELECT count(*), count(DISTINCT plan_digest), bool_or(is_slow) FROM system.queries WHERE sql LIKE 'SELECT a FROM%'";
    assert_eq!(lab.rows(digests).await, ["3|2|false"]);
}

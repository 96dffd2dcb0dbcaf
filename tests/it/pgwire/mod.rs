//! PostgreSQL's protocol, asked by tokio-postgres over real connections.

mod catalog;
mod hostile;
mod messages;
mod people;
mod types;

use std::time::Duration;

use adlake::app::{App, Running};
use adlake::base::{Clock, Tasks, Timestamp};
use adlake::config;
use tempfile::TempDir;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// 2017-11-07T12:00:00Z, where the servers of these tests stand.
const NOON: Timestamp = Timestamp(1_510_056_000_000_000);

/// A served lake with a table `t (id, name)` of three rows.
pub(crate) struct Server {
    pub(crate) running: Running,
    _folder: TempDir,
}

impl Server {
    async fn start() -> Self {
        Self::with(&[]).await
    }

    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        // Other tests may have installed it before.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let fixed = [
            ("lake.sql", ""),
            ("http.port", "0"),
            ("flight.port", "0"),
            ("pgwire.enabled", "true"),
            ("pgwire.port", "0"),
            ("query.threads", "2"),
            ("auth.password_memory", "64 KiB"),
            ("auth.password_passes", "1"),
            ("auth.password_length_min", "8"),
        ];
        let mut overrides = crate::place::settings(folder.path());
        let all = fixed.into_iter().chain(settings.iter().copied());
        overrides.extend(all.map(|(key, value)| (key.into(), value.into())));
        let loaded = config::load(None, &[], &overrides).unwrap();
        let app = App::open(loaded, Clock::manual(NOON)).await.unwrap();
        let running = Box::pin(app.serve()).await.unwrap();
        Self { running, _folder: folder }
    }

    async fn with_table() -> Self {
        let server = Self::start().await;
        let client = server.client().await;
        client.batch_execute("CREATE TABLE t (id BIGINT NOT NULL, name VARCHAR)").await.unwrap();
        let rows = client.execute("INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, NULL)", &[]).await.unwrap();
        assert_eq!(rows, 3);
        server
    }

    fn port(&self) -> u16 {
        self.running.addresses.pgwire.unwrap().port()
    }

    fn address(&self, more: &str) -> String {
        format!("host=127.0.0.1 port={} dbname=adlake {more}", self.port())
    }

    async fn try_client(&self, more: &str) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(&self.address(more), NoTls).await?;
        // It ends with its client.
        Tasks::new().spawn("a client's connection", async move { drop(connection.await) });
        Ok(client)
    }

    async fn client(&self) -> Client {
        self.try_client("user=ann").await.unwrap()
    }

    async fn stop(self) {
        assert!(self.running.app.stop().await, "did not stop in time");
    }
}

/// The SQLSTATE of what went wrong.
fn state<T: std::fmt::Debug>(result: Result<T, tokio_postgres::Error>) -> String {
    result.unwrap_err().code().map(SqlState::code).unwrap_or("none").to_owned()
}

/// Rows of the simple protocol, as text.
async fn simple(client: &Client, sql: &str) -> Vec<Vec<Option<String>>> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()),
        _ => None,
    });
    rows.collect()
}

/// The one value of a statement of the simple protocol.
async fn one(client: &Client, sql: &str) -> String {
    simple(client, sql).await[0][0].clone().unwrap_or_else(|| "NULL".to_owned())
}

#[tokio::test]
async fn statements_run_by_both_protocols() {
    let server = Server::with_table().await;
    let client = server.client().await;
    assert_eq!(one(&client, "SELECT count(*) FROM t").await, "3");
    let rows = client.query("SELECT id, name FROM t WHERE id >= $1 ORDER BY id", &[&2_i64]).await.unwrap();
    let found: Vec<(i64, Option<String>)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(found, [(2, Some("two".to_owned())), (3, None)]);
    assert_eq!(client.execute("INSERT INTO t VALUES ($1, $2)", &[&4_i64, &"four"]).await.unwrap(), 1);
    assert_eq!(client.execute("DELETE FROM t WHERE id = $1", &[&4_i64]).await.unwrap(), 1);
    let both = simple(&client, "SELECT 1; SELECT 'a;b' -- ; c\n;").await;
    assert_eq!(both, [[Some("1".to_owned())], [Some("a;b".to_owned())]]);
    assert!(simple(&client, "").await.is_empty() && simple(&client, " ; ").await.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn statements_are_prepared_once_and_described() {
    let server = Server::with_table().await;
    let client = server.client().await;
    let statement = client.prepare("SELECT name, id * 2 AS twice FROM t WHERE id = $1 LIMIT $2").await.unwrap();
    let types: Vec<&str> = statement.params().iter().map(tokio_postgres::types::Type::name).collect();
    assert_eq!(types, ["int8", "int8"]);
    let columns: Vec<(&str, &str)> =
        statement.columns().iter().map(|column| (column.name(), column.type_().name())).collect();
    assert_eq!(columns, [("name", "text"), ("twice", "int8")]);
    for (id, name) in [(1_i64, "one"), (2, "two")] {
        let row = client.query_one(&statement, &[&id, &10_i64]).await.unwrap();
        assert_eq!((row.get::<_, String>(0), row.get::<_, i64>(1)), (name.to_owned(), id * 2));
    }
    let insert = client.prepare("INSERT INTO t VALUES ($1, $2)").await.unwrap();
    assert!(insert.columns().is_empty() && insert.params().len() == 2);
    server.stop().await;
}

#[tokio::test]
async fn portals_give_rows_in_parts() {
    let server = Server::with_table().await;
    let mut client = server.client().await;
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("SELECT value FROM generate_series(1, 20000)", &[]).await.unwrap();
    let mut count = 0;
    loop {
        let rows = transaction.query_portal(&portal, 7000).await.unwrap();
        assert!(rows.len() <= 7000);
        count += rows.len();
        if rows.is_empty() {
            break;
        }
        let last: i64 = rows[rows.len() - 1].get(0);
        assert_eq!(usize::try_from(last).unwrap(), count);
    }
    assert_eq!(count, 20_000);
    transaction.commit().await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn portals_end_with_the_block_that_failed() {
    let server = Server::with_table().await;
    let mut client = server.client().await;
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("SELECT value FROM generate_series(1, 20000)", &[]).await.unwrap();
    assert_eq!(transaction.query_portal(&portal, 5).await.unwrap().len(), 5);
    assert_eq!(state(transaction.simple_query("SELECT * FROM nowhere").await), "42P01");
    assert_eq!(state(transaction.query_portal(&portal, 5).await), "34000");
    transaction.rollback().await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn rows_are_those_that_were_announced() {
    let server = Server::with_table().await;
    let client = server.client().await;
    let (all, id) =
        (client.prepare("SELECT * FROM t").await.unwrap(), client.prepare("SELECT id FROM t").await.unwrap());
    let parameter = client.prepare("SELECT id FROM t WHERE id = $1").await.unwrap();
    client
        .batch_execute("DROP TABLE t; CREATE TABLE t (name VARCHAR, id BIGINT); INSERT INTO t VALUES ('a', 1)")
        .await
        .unwrap();
    assert_eq!(state(client.query(&all, &[]).await), "0A000");
    assert_eq!(client.query(&id, &[]).await.unwrap().len(), 1);
    assert_eq!(client.query(&parameter, &[&1_i64]).await.unwrap().len(), 1);
    client.batch_execute("DROP TABLE t; CREATE TABLE t (id VARCHAR)").await.unwrap();
    assert_eq!(state(client.query(&id, &[]).await), "0A000");
    server.stop().await;
}

#[tokio::test]
async fn parameters_that_the_engine_does_without_are_bound_all_the_same() {
    let server = Server::with_table().await;
    let client = server.client().await;
    let sql = "SELECT pg_get_expr($1, 'a'), id FROM t WHERE id = $2 AND pg_get_indexdef($3) IS NULL";
    let row = client.query_one(sql, &[&"x", &2_i64, &"y"]).await.unwrap();
    assert_eq!((row.get::<_, Option<String>>(0), row.get::<_, i64>(1)), (None, 2));
    let nothing = client.query("SELECT indexrelid FROM pg_index WHERE indrelid = $1", &[&"1"]).await.unwrap();
    assert!(nothing.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn errors_carry_their_code_and_place_and_end_nothing() {
    let server = Server::with_table().await;
    let client = server.client().await;
    for (sql, expected) in [
        ("SELECT 1 FROM t WHERE", "42000"),
        ("SELECT * FROM nowhere", "42P01"),
        ("CREATE TABLE t (id BIGINT)", "42P07"),
        ("UPDATE t SET id = 1", "0A000"),
        ("SELECT 9223372036854775807 + id FROM t", "42000"),
        ("COPY t FROM STDIN", "0A000"),
        ("SAVEPOINT a", "0A000"),
        ("DEALLOCATE nothing", "26000"),
    ] {
        assert_eq!(state(client.simple_query(sql).await), expected, "{sql}");
        assert_eq!(state(client.query(sql, &[]).await), expected, "{sql}, extended");
        assert_eq!(one(&client, "SELECT 1").await, "1");
    }
    let error = client.simple_query("SELECT 1,\n  nothing FROM t").await.unwrap_err();
    let message = error.as_db_error().unwrap();
    assert!(message.message().contains("nothing"), "{message:?}");
    let error = client.simple_query("SELECT id FORM t WHERE").await.unwrap_err();
    assert!(error.as_db_error().unwrap().position().is_some(), "{error:?}");
    assert_eq!(state(client.query("SELECT id FROM t WHERE id = $1", &[&"x"]).await), "none", "refused by the client");
    server.stop().await;
}

#[tokio::test]
async fn blocks_are_answered_honestly() {
    let server = Server::with_table().await;
    let mut client = server.client().await;
    let insert = "INSERT INTO t VALUES (9, 'nine')";
    let transaction = client.transaction().await.unwrap();
    transaction.execute(insert, &[]).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(one(&client, "SELECT count(*) FROM t WHERE id = 9").await, "1");
    let transaction = client.transaction().await.unwrap();
    transaction.execute(insert, &[]).await.unwrap();
    assert_eq!(state(transaction.rollback().await), "0A000", "what was changed stays, and that is said");
    assert_eq!(one(&client, "SELECT count(*) FROM t WHERE id = 9").await, "2");

    client.batch_execute("BEGIN").await.unwrap();
    assert_eq!(state(client.simple_query("SELECT * FROM nowhere").await), "42P01");
    assert_eq!(state(client.simple_query("SELECT 1").await), "25P02");
    client.batch_execute("ROLLBACK").await.unwrap();
    client.batch_execute("BEGIN READ ONLY").await.unwrap();
    assert_eq!(state(client.simple_query(insert).await), "25006");
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(state(client.batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE").await), "0A000");
    assert_eq!(one(&client, "SELECT count(*) FROM t WHERE id = 9").await, "2");
    server.stop().await;
}

#[tokio::test]
async fn a_transaction_that_is_read_only_is() {
    let server = Server::with_table().await;
    let client = server.client().await;
    let delete = "DELETE FROM t WHERE id = 99";
    for set in ["SET TRANSACTION READ ONLY", "SET transaction_read_only = on", "SET LOCAL transaction_read_only TO 't'"]
    {
        client.batch_execute("BEGIN").await.unwrap();
        client.batch_execute(set).await.unwrap();
        assert_eq!(one(&client, "SHOW transaction_read_only").await, "on", "{set}");
        assert_eq!(state(client.simple_query(delete).await), "25006", "{set}");
        client.batch_execute("ROLLBACK").await.unwrap();
        client.batch_execute(set).await.unwrap();
        assert_eq!(one(&client, "SHOW transaction_read_only").await, "off", "there was no block: {set}");
        assert_eq!(client.execute(delete, &[]).await.unwrap(), 0, "{set}");
    }
    let reader = server.try_client("user=ann options='-c default_transaction_read_only=t'").await.unwrap();
    assert_eq!(state(reader.simple_query(delete).await), "25006");
    let wrong = server.try_client("user=ann options='-c default_transaction_read_only=maybe'").await;
    assert_eq!(state(wrong.map(|_| ())), "22023");
    server.stop().await;
}

#[tokio::test]
async fn two_statements_are_not_taken_for_one() {
    let server = Server::with_table().await;
    let client = server.client().await;
    for (two, sqlstate) in [("SET application_name = 'x'; DELETE FROM t", "42000"), ("BEGIN; DELETE FROM t", "0A000")] {
        assert_eq!(state(client.query(two, &[]).await), sqlstate, "{two}");
    }
    assert_eq!(client.execute(";; SET application_name = 'x' ;", &[]).await.unwrap(), 0);
    assert_eq!(one(&client, "SELECT count(*) FROM t").await, "3");
    server.stop().await;
}

#[tokio::test]
async fn a_connection_is_a_session() {
    let server = Server::start().await;
    let (one_client, other) = (server.client().await, server.client().await);
    one_client.batch_execute("SET statement_timeout = '7s'; SET application_name = 'tests'").await.unwrap();
    assert_eq!(one(&one_client, "SHOW statement_timeout").await, "7 seconds");
    assert_eq!(one(&one_client, "SHOW application_name").await, "tests");
    assert_ne!(one(&other, "SHOW statement_timeout").await, "7 seconds");
    for (sql, value) in [
        ("SHOW search_path", "public"),
        ("SHOW standard_conforming_strings", "on"),
        ("SHOW TRANSACTION ISOLATION LEVEL", "read committed"),
        ("SHOW TimeZone", "UTC"),
        ("SHOW server_version", "15.0"),
    ] {
        assert_eq!(one(&other, sql).await, value, "{sql}");
    }
    assert_eq!(state(other.batch_execute("SET TIME ZONE 'Asia/Tokyo'").await), "0A000");
    one_client.batch_execute("DISCARD ALL").await.unwrap();
    assert_eq!(one(&one_client, "SHOW application_name").await, "");
    let with = server.try_client("user=ann options='-c statement_timeout=9s' application_name=x").await.unwrap();
    assert_eq!(one(&with, "SHOW statement_timeout").await, "9 seconds");
    assert_eq!(one(&with, "SELECT origin FROM system.queries WHERE sql LIKE 'SELECT origin%'").await, "pgwire");
    server.stop().await;
}

#[tokio::test]
async fn a_statement_is_cancelled_by_its_key_and_by_its_client_leaving() {
    let server = Server::start().await;
    let client = server.client().await;
    let endless = "SELECT count(*) FROM generate_series(1, 1000000000000)";
    let token = client.cancel_token();
    let running = client.simple_query(endless);
    let cancel = async {
        running_count(&server, 1).await;
        token.cancel_query(NoTls).await.unwrap();
    };
    let (ended, ()) = tokio::join!(running, cancel);
    assert_eq!(state(ended), "57014");
    assert_eq!(one(&client, "SELECT 1").await, "1", "the connection goes on");

    // Client and socket are gone with the end of this; a client that is only dropped still waits for its answer.
    let (leaving, connection) = tokio_postgres::connect(&server.address("user=ann"), NoTls).await.unwrap();
    tokio::select! {
        ended = leaving.simple_query(endless) => panic!("{ended:?}"),
        ended = connection => panic!("{ended:?}"),
        () = running_count(&server, 1) => {}
    }
    drop(leaving);
    running_count(&server, 0).await;
    server.stop().await;
}

/// Waits until so many statements run beside the one that looks.
async fn running_count(server: &Server, wanted: usize) {
    let client = server.client().await;
    let sql = "SELECT count(*) FROM system.queries WHERE state = 'running' AND sql LIKE '%generate_series%' AND sql NOT LIKE '%system.queries%'";
    for _ in 0..3000 {
        if one(&client, sql).await == wanted.to_string() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never {wanted} statements");
}

#[tokio::test]
async fn the_port_is_off_unless_asked_for() {
    let server = Server::with(&[("pgwire.enabled", "false")]).await;
    assert!(server.running.addresses.pgwire.is_none());
    server.stop().await;
    let server = Server::start().await;
    let client = server.client().await;
    assert_eq!(one(&client, "SELECT count(*) FROM system.listeners WHERE protocol = 'pgwire'").await, "1");
    server.stop().await;
}

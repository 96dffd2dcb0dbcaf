//! Who may connect, and what they see: the same as on every other port.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Server, one, simple, state};

async fn guarded() -> Server {
    let server = Server::with(&[("auth.mode", "on")]).await;
    let admin = server.try_client(&as_admin(&server)).await.unwrap();
    for sql in [
        "CREATE TABLE a (id BIGINT, secret VARCHAR)",
        "CREATE TABLE b (id BIGINT)",
        "INSERT INTO a VALUES (1, 'x'), (2, 'y')",
        "CREATE ROLE limited",
        "CREATE USER ann PASSWORD 'ann-password' ROLE limited",
        "GRANT SELECT (id) ON TABLE a TO ROLE limited",
    ] {
        admin.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
    server
}

fn as_admin(server: &Server) -> String {
    format!("user=admin password={}", server.running.first_token.clone().unwrap())
}

#[tokio::test]
async fn a_name_and_its_password_or_token_are_asked_for() {
    let server = guarded().await;
    let ann = server.try_client("user=ann password=ann-password").await.unwrap();
    assert_eq!(one(&ann, "SELECT current_user()").await, "ann");
    for wrong in ["user=ann password=wrong-password", "user=nobody password=ann-password", "user=ann password=''"] {
        assert_eq!(state(server.try_client(wrong).await.map(|_| ())), "28P01", "{wrong}");
    }
    let token = server.running.first_token.clone().unwrap();
    assert_eq!(state(server.try_client(&format!("user=ann password={token}")).await.map(|_| ())), "28P01");
    assert_eq!(state(server.try_client("user=ann password=ann-password dbname=other").await.map(|_| ())), "3D000");
    drop(ann);
    server.stop().await;
}

#[tokio::test]
async fn a_password_is_proved_without_being_sent() {
    let server = Server::with(&[("auth.mode", "on"), ("auth.scram_iterations", "4096")]).await;
    let token = server.running.first_token.clone().unwrap();
    let request = reqwest::Client::new().post(format!("http://{}/v1/sql", server.running.addresses.http));
    let make = serde_json::json!({ "sql": "CREATE USER ann PASSWORD 'ann-password' ROLE reader" });
    let made = request.bearer_auth(&token).json(&make).send().await.unwrap();
    assert_eq!(made.status(), 200);
    let ann = server.try_client("user=ann password=ann-password").await.unwrap();
    assert_eq!(one(&ann, "SELECT current_user()").await, "ann");
    for wrong in [
        "user=ann password=wrong-password".to_owned(),
        "user=nobody password=ann-password".to_owned(),
        as_admin(&server),
    ] {
        assert_eq!(state(server.try_client(&wrong).await.map(|_| ())), "28P01", "{wrong}");
    }
    drop(ann);
    server.stop().await;
}

#[tokio::test]
async fn who_does_not_prove_who_it_is_takes_nobodys_place() {
    let server = Server::with(&[("auth.mode", "on"), ("pgwire.max_connections", "1")]).await;
    let mut silent = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    silent.write_all(b"\0\0\0\x12\0\x03\0\0user\0ann\0\0").await.unwrap();
    assert_eq!(silent.read_u8().await.unwrap(), b'R', "it is asked for its password");
    let admin = server.try_client(&as_admin(&server)).await.unwrap();
    assert_eq!(one(&admin, "SELECT 1").await, "1");
    assert_eq!(state(server.try_client("user=admin password=wrong-password").await.map(|_| ())), "28P01");
    assert_eq!(state(server.try_client(&as_admin(&server)).await.map(|_| ())), "53300");
    drop((silent, admin));
    server.stop().await;
}

#[tokio::test]
async fn preparing_a_statement_is_a_request() {
    let server = Server::with(&[("auth.mode", "on"), ("auth.limits.requests_per_second", "*=3")]).await;
    let admin = server.try_client(&as_admin(&server)).await.unwrap();
    admin.batch_execute("CREATE USER ann PASSWORD 'ann-password' ROLE reader").await.unwrap();
    // The first request; the clock stands still.
    let ann = server.try_client("user=ann password=ann-password").await.unwrap();
    let kept = (ann.prepare("SELECT 1").await.unwrap(), ann.prepare("SELECT 2").await.unwrap());
    assert_eq!(state(ann.prepare("SELECT 3").await.map(|_| ())), "53000");
    drop((kept, ann, admin));
    server.stop().await;
}

#[tokio::test]
async fn only_what_may_be_seen_is_listed() {
    let server = guarded().await;
    let ann = server.try_client("user=ann password=ann-password").await.unwrap();
    assert_eq!(state(ann.simple_query("SELECT * FROM b").await), "42P01");
    let names = "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname = 'public' ORDER BY 1";
    let listed =
        |rows: Vec<Vec<Option<String>>>| rows.into_iter().map(|row| row[0].clone().unwrap()).collect::<Vec<_>>();
    assert_eq!(listed(simple(&ann, names).await), ["a"]);
    let columns = "SELECT attname FROM pg_attribute WHERE attrelid = 'a'::regclass ORDER BY attnum";
    assert_eq!(listed(simple(&ann, columns).await), ["id"]);
    assert_eq!(one(&ann, "SELECT to_regclass('b')").await, "NULL");
    assert_eq!(listed(simple(&ann, "SELECT tablename FROM pg_tables").await), ["a"]);
    assert_eq!(listed(simple(&ann, "SELECT rolname FROM pg_roles ORDER BY oid").await), ["adlake", "ann"]);
    let admin = server.try_client(&as_admin(&server)).await.unwrap();
    assert_eq!(listed(simple(&admin, names).await), ["a", "b"]);
    drop((ann, admin));
    server.stop().await;
}

#[tokio::test]
async fn who_is_dropped_gets_no_more_rows_either() {
    let server = guarded().await;
    let mut ann = server.try_client("user=ann password=ann-password").await.unwrap();
    let transaction = ann.transaction().await.unwrap();
    let portal = transaction.bind("SELECT value FROM generate_series(1, 20000)", &[]).await.unwrap();
    assert_eq!(transaction.query_portal(&portal, 5).await.unwrap().len(), 5);
    let admin = server.try_client(&as_admin(&server)).await.unwrap();
    admin.batch_execute("DROP USER ann").await.unwrap();
    assert_eq!(state(transaction.query_portal(&portal, 5).await), "28000");
    assert_eq!(state(transaction.prepare("SELECT 1").await.map(|_| ())), "25P02", "the block has failed");
    drop((transaction, admin));
    server.stop().await;
}

#[tokio::test]
async fn who_is_dropped_is_served_no_more() {
    let server = guarded().await;
    let ann = server.try_client("user=ann password=ann-password").await.unwrap();
    assert_eq!(one(&ann, "SELECT count(id) FROM a").await, "2");
    let admin = server.try_client(&as_admin(&server)).await.unwrap();
    admin.batch_execute("DROP USER ann").await.unwrap();
    assert_eq!(state(ann.simple_query("SELECT count(id) FROM a").await), "28000");
    drop((ann, admin));
    server.stop().await;
}

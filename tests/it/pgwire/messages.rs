//! Sequences of messages that no driver at hand sends.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Server;

/// A connection of user ann without a driver.
struct Bare(TcpStream);

impl Bare {
    async fn connect(server: &Server) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
        stream.write_all(b"\0\0\0\x12\0\x03\0\0user\0ann\0\0").await.unwrap();
        let mut bare = Self(stream);
        bare.said_until(READY).await;
        bare
    }

    async fn say(&mut self, messages: &[Vec<u8>]) {
        self.0.write_all(&messages.concat()).await.unwrap();
    }

    /// What is said until it holds `wanted`.
    async fn said_until(&mut self, wanted: &str) -> String {
        let (mut said, mut part) = (Vec::<u8>::new(), [0_u8; 4096]);
        loop {
            let text = String::from_utf8_lossy(&said).into_owned();
            if text.contains(wanted) {
                return text;
            }
            let reading = self.0.read(&mut part);
            let count = tokio::time::timeout(Duration::from_secs(60), reading).await.unwrap().unwrap();
            assert!(count > 0, "closed after {text:?}, without {wanted:?}");
            said.extend_from_slice(&part[..count]);
        }
    }

    /// What is said to messages and `Sync`.
    async fn asked(&mut self, messages: &[Vec<u8>]) -> String {
        self.say(messages).await;
        self.say(&[sync()]).await;
        self.said_until(READY).await
    }
}

/// `ReadyForQuery`, but for where the connection is.
const READY: &str = "Z\0\0\0\x05";

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[kind][..], &length.to_be_bytes(), body].concat()
}

fn parse(sql: &str) -> Vec<u8> {
    message(b'P', format!("\0{sql}\0\0\0").as_bytes())
}

fn bind() -> Vec<u8> {
    message(b'B', &[0; 8])
}

fn execute() -> Vec<u8> {
    message(b'E', &[0; 5])
}

fn flush() -> Vec<u8> {
    message(b'H', b"")
}

fn sync() -> Vec<u8> {
    message(b'S', b"")
}

#[tokio::test]
async fn who_asks_for_answers_gets_them_also_after_an_error() {
    let server = Server::with_table().await;
    let mut bare = Bare::connect(&server).await;
    bare.say(&[parse("SELECT 1"), flush()]).await;
    bare.said_until("1\0\0\0\x04").await;
    bare.say(&[parse("SELECT * FROM nowhere"), flush()]).await;
    bare.said_until("C42P01").await;
    bare.say(&[parse("SELECT 1"), flush()]).await;
    let skipped = bare.asked(&[]).await;
    assert!(!skipped.contains("1\0\0\0\x04"), "{skipped:?}");
    assert!(bare.asked(&[parse("SELECT 'a' AS b"), bind(), execute()]).await.contains("SELECT 1\0"));
    server.stop().await;
}

#[tokio::test]
async fn who_only_asks_is_answered_all_the_same() {
    let server = Server::start().await;
    let mut bare = Bare::connect(&server).await;
    bare.say(&vec![message(b'C', b"Snothing\0"); 20_000]).await;
    bare.said_until("3\0\0\0\x04").await;
    server.stop().await;
}

#[tokio::test]
async fn a_portal_runs_once() {
    let server = Server::with_table().await;
    let mut bare = Bare::connect(&server).await;
    let insert = "INSERT INTO t VALUES (4, 'four')";
    let twice = bare.asked(&[parse(insert), bind(), execute(), execute()]).await;
    assert!(twice.contains("INSERT 0 1") && twice.contains("C55000"), "{twice:?}");
    let rows = bare.asked(&[parse("SELECT id FROM t"), bind(), execute(), execute()]).await;
    assert!(rows.contains("SELECT 4\0") && rows.contains("SELECT 0\0"), "{rows:?}");
    let nothing = bare.asked(&[parse(" ; "), bind(), execute(), execute()]).await;
    assert_eq!(nothing.matches("I\0\0\0\x04").count(), 2, "{nothing:?}");
    server.stop().await;
}

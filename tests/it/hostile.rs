//! The ports meet bytes of any kind: known messages with some of their bytes changed, and noise. Each call is answered, none by a bug,
//! and the server serves on.
//!
//! `ADLAKE_CASES=10000` tries more of them; a failure is made smaller by proptest.

use std::time::Duration;

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, Any, Command, CommandGetDbSchemas,
    CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTables, CommandGetXdbcTypeInfo, CommandPreparedStatementQuery,
    CommandStatementIngest, CommandStatementQuery, CommandStatementUpdate, ProstMessageExt,
};
use arrow_flight::{Action, FlightData, FlightDescriptor, HandshakeRequest, Ticket};
use bytes::Bytes;
use futures::TryStreamExt;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestCaseError;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::pgwire::Server;

/// Tries of each property in CI.
const CASES: u32 = 200;
/// Longer than any of these statements runs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server of both ports, whose statements end soon.
async fn started() -> Server {
    Server::with(&[("query.timeout", "2s")]).await
}

/// Bytes for a message: one of the known ones, changed; or noise.
#[derive(Clone, Debug)]
enum Bits {
    Noise(Vec<u8>),
    Changed { known: Index, changes: Vec<(Index, u8)>, cut: Option<Index> },
}

impl Bits {
    fn bytes(&self, known: &[Vec<u8>]) -> Vec<u8> {
        match self {
            Self::Noise(noise) => noise.clone(),
            Self::Changed { known: which, changes, cut } => {
                let mut bytes = which.get(known).clone();
                for (at, value) in changes.iter().filter(|_| !bytes.is_empty()).cloned().collect::<Vec<_>>() {
                    let at = at.index(bytes.len());
                    bytes[at] = value;
                }
                if let Some(cut) = cut {
                    bytes.truncate(cut.index(bytes.len() + 1));
                }
                bytes
            }
        }
    }
}

fn bits() -> impl Strategy<Value = Bits> {
    let changes = prop::collection::vec((any::<Index>(), any::<u8>()), 0..4);
    let changed = (any::<Index>(), changes, prop::option::weighted(0.2, any::<Index>()));
    prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..64).prop_map(Bits::Noise),
        5 => changed.prop_map(|(known, changes, cut)| Bits::Changed { known, changes, cut }),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Method {
    Info,
    Schema,
    Poll,
    Get,
    Put,
    Action,
    Handshake,
    List,
}

const METHODS: [Method; 8] = [
    Method::Info,
    Method::Schema,
    Method::Poll,
    Method::Get,
    Method::Put,
    Method::Action,
    Method::Handshake,
    Method::List,
];

const ACTIONS: [&str; 12] = [
    "CreatePreparedStatement",
    "ClosePreparedStatement",
    "CreatePreparedSubstraitPlan",
    "BeginTransaction",
    "EndTransaction",
    "CancelQuery",
    "CancelFlightInfo",
    "RenewFlightEndpoint",
    "SetSessionOptions",
    "GetSessionOptions",
    "CloseSession",
    "nothing of the kind",
];

fn any_of(message: impl ProstMessageExt) -> Vec<u8> {
    message.as_any().encode_to_vec()
}

/// Messages as clients send them; what is made of them by a server is among them.
async fn known(client: &mut FlightServiceClient<Channel>) -> Vec<Vec<u8>> {
    let query = |query: &str| CommandStatementQuery { query: query.to_owned(), transaction_id: None };
    let mut known = vec![
        any_of(query("SELECT value FROM generate_series(1, 10)")),
        any_of(query("SELECT table_name FROM information_schema.tables WHERE table_name = $1")),
        any_of(CommandStatementUpdate { query: "SET statement_timeout = '1s'".to_owned(), transaction_id: None }),
        any_of(CommandGetTables { include_schema: true, table_types: vec!["TABLE".to_owned()], ..Default::default() }),
        any_of(CommandGetDbSchemas { catalog: None, db_schema_filter_pattern: Some("%".to_owned()) }),
        any_of(CommandGetSqlInfo { info: vec![0, 1, 500] }),
        any_of(CommandGetXdbcTypeInfo { data_type: Some(4) }),
        any_of(CommandGetPrimaryKeys { table: "t".to_owned(), ..Default::default() }),
        any_of(CommandStatementIngest { table: "u".to_owned(), ..Default::default() }),
        any_of(ActionCreatePreparedStatementRequest { query: "SELECT ?".to_owned(), transaction_id: None }),
    ];
    let info = client.get_flight_info(FlightDescriptor::new_cmd(known[0].clone())).await.unwrap().into_inner();
    known.extend(info.endpoint.iter().filter_map(|endpoint| Some(endpoint.ticket.clone()?.ticket.to_vec())));
    known.push(info.encode_to_vec());
    let prepare = Action::new("CreatePreparedStatement", known[9].clone());
    let made: Vec<_> = client.do_action(prepare).await.unwrap().into_inner().try_collect().await.unwrap();
    let Ok(Command::ActionCreatePreparedStatementRequest(_)) = Command::try_from(Any::decode(&*known[9]).unwrap())
    else {
        panic!("not the message that was made")
    };
    known.push(made[0].body.to_vec());
    let made = Any::decode(&*made[0].body).unwrap();
    let made: arrow_flight::sql::ActionCreatePreparedStatementResult = made.unpack().unwrap().unwrap();
    let handle = made.prepared_statement_handle;
    known.push(any_of(CommandPreparedStatementQuery { prepared_statement_handle: handle.clone() }));
    known.push(any_of(ActionClosePreparedStatementRequest { prepared_statement_handle: handle }));
    known
}

async fn call(
    client: &mut FlightServiceClient<Channel>,
    method: Method,
    bytes: Vec<u8>,
    name: &str,
) -> Result<(), Status> {
    let descriptor = || FlightDescriptor::new_cmd(bytes.clone());
    match method {
        Method::Info => client.get_flight_info(descriptor()).await.map(drop),
        Method::Schema => client.get_schema(descriptor()).await.map(drop),
        Method::Poll => client.poll_flight_info(descriptor()).await.map(drop),
        Method::Get => {
            let rows = client.do_get(Ticket::new(bytes)).await?.into_inner();
            rows.try_for_each(|_| async { Ok(()) }).await
        }
        Method::Put => {
            let first = FlightData {
                flight_descriptor: Some(descriptor()),
                data_header: Bytes::from(bytes.clone()),
                data_body: Bytes::from(bytes),
                ..Default::default()
            };
            let replies = client.do_put(futures::stream::iter([first])).await?.into_inner();
            replies.try_for_each(|_| async { Ok(()) }).await
        }
        Method::Action => {
            let results = client.do_action(Action::new(name, bytes)).await?.into_inner();
            results.try_for_each(|_| async { Ok(()) }).await
        }
        Method::Handshake => {
            let request = HandshakeRequest { protocol_version: 0, payload: bytes.into() };
            let replies = client.handshake(futures::stream::iter([request])).await?.into_inner();
            replies.try_for_each(|_| async { Ok(()) }).await
        }
        Method::List => {
            let flights = client.list_flights(arrow_flight::Criteria { expression: bytes.into() }).await?.into_inner();
            flights.try_for_each(|_| async { Ok(()) }).await
        }
    }
}

#[test]
fn flight_handlers_answer_whatever_they_are_sent() {
    let server = OnceCell::new();
    let start = || async {
        let server = started().await;
        let endpoint = Endpoint::from_shared(format!("http://{}", server.running.addresses.flight)).unwrap();
        let mut flight = FlightServiceClient::new(endpoint.connect().await.unwrap());
        let known = known(&mut flight).await;
        (server, flight, known)
    };
    crate::seeds::property(
        CASES,
        (select(METHODS.to_vec()), bits(), select(ACTIONS.to_vec())),
        |(method, bits, name)| {
            let (server, start) = (&server, &start);
            async move {
                let (_server, flight, known) = server.get_or_init(start).await;
                let mut client = flight.clone();
                let bytes = bits.bytes(known);
                let answer = tokio::time::timeout(PATIENCE, call(&mut client, method, bytes, name)).await;
                let answer = answer.map_err(|_| TestCaseError::fail("no answer"))?;
                if let Err(status) = answer {
                    let is_bug =
                        matches!(status.code(), Code::Internal | Code::Unknown | Code::Unavailable | Code::DataLoss);
                    prop_assert!(!is_bug, "{method:?} {name}: {status:?}");
                }
                Ok(())
            }
        },
    );
}

/// `Startup` of user ann, and messages of both protocols.
const STARTUP: &[u8] = b"\0\0\0\x12\0\x03\0\0user\0ann\0\0";
const MESSAGES: [&[u8]; 12] = [
    b"Q\0\0\0\x0dSELECT 1\0",
    b"Q\0\0\0\x1cSELECT 1; SHOW TimeZone\0",
    b"P\0\0\0\x1aa\0SELECT $1 + 1\0\0\x01\0\0\0\x14",
    b"P\0\0\0\x10\0SELECT 1\0\0\0",
    b"B\0\0\0\x16\0a\0\0\x01\0\0\0\x01\0\0\0\x011\0\x01\0\x01",
    b"B\0\0\0\x0c\0\0\0\0\0\0\0\0",
    b"D\0\0\0\x06P\0",
    b"D\0\0\0\x07Sa\0",
    b"E\0\0\0\x09\0\0\0\0\x01",
    b"C\0\0\0\x06P\0",
    b"S\0\0\0\x04",
    b"p\0\0\0\x09hello",
];

#[test]
fn pgwire_answers_whatever_it_is_sent() {
    let server = OnceCell::new();
    let messages = prop::collection::vec(bits(), 1..8);
    crate::seeds::property(CASES, (any::<bool>(), messages), |(is_open, messages)| {
        let server = &server;
        async move {
            let server = server.get_or_init(started).await;
            let known: Vec<Vec<u8>> = MESSAGES.iter().map(|message| message.to_vec()).collect();
            let mut bytes = if is_open { STARTUP.to_vec() } else { Vec::new() };
            messages.iter().for_each(|message| bytes.extend(message.bytes(&known)));
            let mut stream = TcpStream::connect(server.running.addresses.pgwire.unwrap()).await.unwrap();
            let mut answer = Vec::new();
            let talking = async {
                // The server may hang up before it has read all.
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                let _ = stream.read_to_end(&mut answer).await;
            };
            let in_time = tokio::time::timeout(PATIENCE, talking).await;
            prop_assert!(in_time.is_ok(), "the connection stays open");
            let text = String::from_utf8_lossy(&answer);
            prop_assert!(!text.contains("XX000"), "{text}");
            Ok(())
        }
    });
}

const WORDS: [&str; 72] = [
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "LIMIT",
    "HAVING",
    "WITH",
    "AS",
    "(",
    ")",
    "(",
    ")",
    ",",
    ",",
    "*",
    "t",
    "u",
    "id",
    "name",
    "at",
    "price",
    "tags",
    "1",
    "0",
    "-1",
    "'a'",
    "NULL",
    "true",
    "1.5",
    "9223372036854775807",
    "=",
    "<",
    "+",
    "-",
    "/",
    "%",
    "||",
    "AND",
    "OR",
    "NOT",
    "IS NULL",
    "IN",
    "LIKE",
    "BETWEEN",
    "CASE WHEN",
    "THEN",
    "END",
    "count(*)",
    "sum(price)",
    "min(at)",
    "avg(id)",
    "count(DISTINCT name)",
    "date_trunc('day', at)",
    "JOIN",
    "LEFT JOIN",
    "ON",
    "UNION ALL",
    "EXCEPT",
    "DISTINCT",
    "OVER",
    "PARTITION BY",
    "CAST(",
    "AS BIGINT)",
    "INTERVAL '1 day'",
    "$1",
    "?",
    "EXISTS",
    "EXPLAIN",
    "VALUES",
    "unnest(tags)",
    "[1]",
];

#[test]
fn any_words_are_answered_or_refused() {
    let lab = OnceCell::new();
    let start = || async {
        let lab = crate::lab::Lab::with(&[("query.timeout", "5s")]).await;
        lab.run("CREATE TABLE t (id BIGINT, name VARCHAR, at TIMESTAMPTZ, price DECIMAL(12, 2), tags VARCHAR[])").await;
        lab.run("INSERT INTO t VALUES (1, 'a', TIMESTAMPTZ '2026-01-01 00:00:00Z', 1.5, make_array('x')), (2, NULL, NULL, NULL, NULL)")
            .await;
        lab.run("CREATE VIEW u AS SELECT id, name FROM t").await;
        lab
    };
    crate::seeds::property(CASES * 5, prop::collection::vec(select(WORDS.to_vec()), 1..16), |words| {
        let (lab, start) = (&lab, &start);
        async move {
            let lab = lab.get_or_init(start).await;
            for sql in [
                words.join(" "),
                format!("SELECT {}", words.join(" ")),
                format!("SELECT * FROM t WHERE {}", words.join(" ")),
            ] {
                if let Err(error) = lab.try_run(&sql).await {
                    let kind = adlake::base::Classify::kind(&error);
                    prop_assert!(kind != adlake::base::Kind::Internal, "{sql}: {error}");
                }
            }
            Ok(())
        }
    });
}

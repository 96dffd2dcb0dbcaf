//! The Flight SQL server, asked by arrow-flight's own client over a real connection.

use adlake::app::{App, Running};
use adlake::base::{Clock, Timestamp};
use adlake::config;
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Int64Type, Schema};
use arrow_flight::decode::DecodedPayload;
use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{CommandGetTables, CommandStatementQuery, ProstMessageExt};
use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, Empty, FlightDescriptor, FlightInfo,
};
use bytes::Bytes;
use futures::TryStreamExt;
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

pub(crate) struct Server {
    running: Running,
    pub(crate) clock: Clock,
    pub(crate) client: FlightSqlServiceClient<Channel>,
    _folder: TempDir,
}

impl Server {
    /// With a table `t (id, name)` of three rows.
    pub(crate) async fn start() -> Self {
        // Other tests may have installed it before.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let fixed = [("lake.sql", ""), ("http.port", "0"), ("flight.port", "0"), ("storage.poll_interval", "0 s")];
        let mut overrides = crate::place::settings(folder.path());
        overrides.extend(fixed.map(|(key, value)| (key.into(), value.into())));
        let loaded = config::load(None, &[], &overrides).unwrap();
        let clock = Clock::manual(Timestamp(1_510_056_000_000_000));
        let running = App::open(loaded, clock.clone()).await.unwrap().serve().await.unwrap();
        let endpoint = Endpoint::from_shared(format!("http://{}", running.addresses.flight)).unwrap();
        let client = FlightSqlServiceClient::new(endpoint.connect().await.unwrap());
        let mut server = Self { running, clock, client, _folder: folder };
        server.client.execute_update("CREATE TABLE t (id BIGINT NOT NULL, name VARCHAR)".into(), None).await.unwrap();
        let insert = "INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, NULL)";
        assert_eq!(server.client.execute_update(insert.into(), None).await.unwrap(), 3);
        server
    }

    /// The rows behind every ticket of `info`.
    pub(crate) async fn fetch(&mut self, info: FlightInfo) -> Vec<RecordBatch> {
        let mut batches = Vec::new();
        for endpoint in info.endpoint {
            let rows = self.client.do_get(endpoint.ticket.unwrap()).await.unwrap();
            batches.extend(rows.try_collect::<Vec<_>>().await.unwrap());
        }
        batches
    }

    pub(crate) async fn query(&mut self, sql: &str) -> Vec<RecordBatch> {
        let info = self.client.execute(sql.to_owned(), None).await.unwrap();
        self.fetch(info).await
    }

    pub(crate) async fn stop(self) {
        // A connection kept open is waited for.
        drop(self.client);
        assert!(self.running.app.stop().await, "did not stop in time");
    }
}

pub(crate) fn integers(batches: &[RecordBatch]) -> Vec<i64> {
    batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

pub(crate) fn code(error: &FlightError) -> (Code, String, String) {
    let FlightError::Tonic(status) = error else { panic!("not a status: {error}") };
    let sqlstate = status.metadata().get("sqlstate").map(|value| value.to_str().unwrap().to_owned());
    (status.code(), sqlstate.unwrap_or_default(), status.message().to_owned())
}

#[tokio::test]
async fn queries_and_updates() {
    let mut server = Server::start().await;
    assert_eq!(integers(&server.query("SELECT id FROM t ORDER BY id DESC").await), [3, 2, 1]);
    let empty = server.query("SELECT id FROM t WHERE id > 3").await;
    assert!(integers(&empty).is_empty());
    let insert = "INSERT INTO t SELECT id + 10, name FROM t WHERE id < 3";
    assert_eq!(server.client.execute_update(insert.into(), None).await.unwrap(), 2);
    assert_eq!(integers(&server.query("SELECT count(*) FROM t").await), [5], "acknowledged is visible");
    server.stop().await;
}

#[tokio::test]
async fn prepared_statements_take_parameters() {
    let mut server = Server::start().await;
    let sql = "SELECT id FROM t WHERE id >= $1 ORDER BY id";
    let mut prepared = server.client.prepare(sql.to_owned(), None).await.unwrap();
    let [parameter] = prepared.parameter_schema().unwrap().fields().as_ref() else { panic!("one parameter") };
    assert_eq!(parameter.data_type(), &DataType::Int64);
    assert_eq!(prepared.dataset_schema().unwrap().field(0).name(), "id");
    for (from, expected) in [(2, vec![2, 3]), (3, vec![3]), (4, vec![])] {
        let bound = RecordBatch::try_from_iter([("1", Arc::new(Int64Array::from(vec![from])) as _)]).unwrap();
        prepared.set_parameters(bound).unwrap();
        let info = prepared.execute().await.unwrap();
        assert_eq!(integers(&server.fetch(info).await), expected);
    }
    prepared.close().await.unwrap();

    let mut insert = server.client.prepare("INSERT INTO t (id) VALUES ($1)".to_owned(), None).await.unwrap();
    let rows = RecordBatch::try_from_iter([("1", Arc::new(Int64Array::from(vec![7, 8])) as _)]).unwrap();
    insert.set_parameters(rows).unwrap();
    assert_eq!(insert.execute_update().await.unwrap(), 2);
    assert_eq!(integers(&server.query("SELECT id FROM t WHERE name IS NULL ORDER BY id").await), [3, 7, 8]);
    insert.close().await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_result_has_the_types_of_what_is_bound() {
    let mut server = Server::start().await;
    let mut prepared = server.client.prepare("SELECT ? AS a, ? AS b".to_owned(), None).await.unwrap();
    let kinds = |schema: &Schema| schema.fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>();
    assert_eq!(kinds(prepared.parameter_schema().unwrap()), [DataType::Utf8, DataType::Utf8]);
    assert_eq!(kinds(prepared.dataset_schema().unwrap()), [DataType::Utf8, DataType::Utf8]);
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(42), None]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec![None, Some("bar")]));
    prepared.set_parameters(RecordBatch::try_from_iter([("0", numbers), ("1", texts)]).unwrap()).unwrap();
    let info = prepared.execute().await.unwrap();
    let promised = info.clone().try_decode_schema().unwrap();
    assert_eq!(kinds(&promised), [DataType::Int64, DataType::Utf8]);
    let batches = server.fetch(info).await;
    assert!(batches.iter().all(|batch| *batch.schema() == promised), "sent as promised");
    let rows = concat_batches(&batches[0].schema(), &batches).unwrap();
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(42), None]);
    assert_eq!(rows.column(1).as_string::<i32>().iter().collect::<Vec<_>>(), [None, Some("bar")]);
    // The next binding may be of other types.
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    prepared.set_parameters(RecordBatch::try_from_iter([("0", texts.clone()), ("1", texts)]).unwrap()).unwrap();
    let info = prepared.execute().await.unwrap();
    assert_eq!(kinds(&info.try_decode_schema().unwrap()), [DataType::Utf8, DataType::Utf8]);
    prepared.close().await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn columns_of_results_tell_precision_and_type() {
    let mut server = Server::start().await;
    let sql = "SELECT CAST(1.25 AS DECIMAL(12, 2)) AS cost, 'x' AS word".to_owned();
    let info = server.client.execute(sql, None).await.unwrap();
    let promised = info.clone().try_decode_schema().unwrap();
    let told = |column: usize, key: &str| promised.field(column).metadata().get(&format!("ARROW:FLIGHT:SQL:{key}"));
    for (key, value) in [("PRECISION", "12"), ("SCALE", "2"), ("TYPE_NAME", "DECIMAL(12, 2)"), ("IS_READ_ONLY", "1")] {
        assert_eq!(told(0, key).map(String::as_str), Some(value), "{key}");
    }
    assert_eq!((told(1, "TYPE_NAME").map(String::as_str), told(1, "PRECISION")), (Some("VARCHAR"), None));
    let sent = server.fetch(info).await;
    assert_eq!(*sent[0].schema(), promised);
    server.stop().await;
}

#[tokio::test]
async fn the_actions_listed_are_those_there_are() {
    let mut server = Server::start().await;
    let client = server.client.inner_mut();
    let listed: Vec<_> = client.list_actions(Empty {}).await.unwrap().into_inner().try_collect().await.unwrap();
    let mut names: Vec<&str> = listed.iter().map(|action| action.r#type.as_str()).collect();
    names.sort_unstable();
    let expected = [
        "CancelFlightInfo",
        "CancelQuery",
        "ClosePreparedStatement",
        "CloseSession",
        "CreatePreparedStatement",
        "GetSessionOptions",
        "SetSessionOptions",
    ];
    assert_eq!(names, expected);
    for name in names.into_iter().chain(["RenewFlightEndpoint"]) {
        let refused = match client.do_action(Action { r#type: name.to_owned(), body: Bytes::new() }).await {
            Ok(answer) => answer.into_inner().try_collect::<Vec<_>>().await.err(),
            Err(status) => Some(status),
        };
        let is_refused = refused.is_some_and(|status| status.code() == Code::Unimplemented);
        assert_eq!(is_refused, !expected.contains(&name), "{name}");
    }
    server.stop().await;
}

fn polled(sql: &str) -> FlightDescriptor {
    let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_polled_until_it_is_complete() {
    let mut server = Server::start().await;
    let mut client = server.client.inner().clone();
    let mut asked = polled("SELECT id FROM t ORDER BY id");
    // A busy machine may plan for longer than the first call waits; so for all of them.
    let info = loop {
        let told = client.poll_flight_info(asked.clone()).await.unwrap().into_inner();
        match told.flight_descriptor {
            Some(again) => asked = again,
            None => break told.info.unwrap(),
        }
    };
    assert_eq!(integers(&server.fetch(info).await), [1, 2, 3]);

    let insert = "INSERT INTO t SELECT value, 'polled' FROM generate_series(1, 100000)";
    let mut told = client.poll_flight_info(polled(insert)).await.unwrap().into_inner();
    while let Some(again) = told.flight_descriptor.take() {
        assert!(told.info.as_ref().unwrap().endpoint.is_empty(), "nothing to fetch yet");
        assert_eq!(told.progress, None);
        told = client.poll_flight_info(again).await.unwrap().into_inner();
    }
    assert_eq!(told.progress, Some(1.0));
    assert_eq!(told.info.unwrap().total_records, 100_000);
    assert_eq!(
        integers(&server.query("SELECT count(*) FROM t WHERE name = 'polled'").await),
        [100_000],
        "it took effect once"
    );
    let refused = client.poll_flight_info(polled("SELECT nope FROM t")).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let forged = client.poll_flight_info(FlightDescriptor::new_cmd("adlake-poll-x")).await.unwrap_err();
    assert_eq!(forged.code(), Code::NotFound);
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_polled_statement_is_cancelled_by_its_info() {
    let mut server = Server::start().await;
    let mut client = server.client.inner().clone();
    let endless = "INSERT INTO t SELECT a.value, 'endless' FROM generate_series(1, 1000000) a CROSS JOIN generate_series(1, 1000000) b";
    let told = client.poll_flight_info(polled(endless)).await.unwrap().into_inner();
    let again = told.flight_descriptor.unwrap();
    assert!(told.expiration_time.is_some());
    let request = CancelFlightInfoRequest { info: told.info };
    let action = Action { r#type: "CancelFlightInfo".to_owned(), body: request.encode_to_vec().into() };
    let answers: Vec<_> = client.do_action(action).await.unwrap().into_inner().try_collect().await.unwrap();
    let answer = CancelFlightInfoResult::decode(answers[0].body.clone()).unwrap();
    assert_eq!(answer.status(), CancelStatus::Cancelling);
    assert_eq!(client.poll_flight_info(again).await.unwrap_err().code(), Code::Cancelled);
    let running = "SELECT count(*) FROM system.queries WHERE sql LIKE 'INSERT %endless%' AND state <> 'cancelled'";
    let ended = async {
        while integers(&server.query(running).await) != [0] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap();
    assert_eq!(integers(&server.query("SELECT count(*) FROM t").await), [3], "nothing of it is there");
    drop(client);
    server.stop().await;
}

/// Values, and the bytes their batches had on the wire.
async fn weighed(server: &mut Server, sql: &str) -> Result<(Vec<i64>, usize), FlightError> {
    let info = server.client.execute(sql.to_owned(), None).await?;
    let ticket = info.endpoint.into_iter().next().unwrap().ticket.unwrap();
    let messages = server.client.do_get(ticket).await?.into_inner();
    let (mut values, mut bytes) = (Vec::new(), 0);
    for message in messages.try_collect::<Vec<_>>().await? {
        bytes += message.inner.data_body.len();
        if let DecodedPayload::RecordBatch(batch) = message.payload {
            values.extend(integers(&[batch]));
        }
    }
    Ok((values, bytes))
}

#[tokio::test]
async fn batches_are_compressed_when_asked_for() {
    let mut server = Server::start().await;
    let sql = "SELECT value / 100 AS n, 'the same word in every row' AS s FROM generate_series(0, 49999) ORDER BY n";
    let (plain, plain_bytes) = weighed(&mut server, sql).await.unwrap();
    assert_eq!((plain.len(), plain.iter().sum::<i64>()), (50_000, 12_475_000));
    for codec in ["lz4", "zstd"] {
        server.client.execute_update(format!("SET adlake.ipc_compression = '{codec}'"), None).await.unwrap();
        let (values, bytes) = weighed(&mut server, sql).await.unwrap();
        assert_eq!(values, plain, "{codec}");
        assert!(bytes < plain_bytes / 2, "{codec}: {bytes} of {plain_bytes}");
        let shown = server.query("SHOW adlake.ipc_compression").await;
        assert_eq!(shown[0].column(0).as_string::<i32>().value(0), codec);
    }
    server.client.set_header("adlake.ipc_compression", "none");
    let (values, bytes) = weighed(&mut server, sql).await.unwrap();
    assert_eq!(values, plain);
    assert!(bytes > plain_bytes / 2, "a call's own wish comes first: {bytes} of {plain_bytes}");
    server.client.set_header("adlake.ipc_compression", "gzip");
    let refused = code(&weighed(&mut server, sql).await.unwrap_err());
    assert_eq!(
        (refused.0, refused.2.as_str()),
        (Code::InvalidArgument, "adlake.ipc_compression is 'none', 'lz4' or 'zstd', not 'gzip'")
    );
    let set = server.client.execute_update("SET adlake.ipc_compression = 'gzip'".to_owned(), None).await;
    assert_eq!(code(&set.unwrap_err()).0, Code::InvalidArgument);
    server.stop().await;
}

#[tokio::test]
async fn tables_are_listed() {
    let mut server = Server::start().await;
    let mut names = async |pattern: &str| {
        let request = CommandGetTables {
            table_name_filter_pattern: Some(pattern.to_owned()),
            db_schema_filter_pattern: Some("public".to_owned()),
            include_schema: true,
            ..CommandGetTables::default()
        };
        let info = server.client.get_tables(request).await.unwrap();
        let batches = server.fetch(info).await;
        let names = |batch: &RecordBatch| {
            let names = batch.column_by_name("table_name").unwrap().as_string::<i32>().clone();
            assert_eq!(batch.column_by_name("table_schema").unwrap().null_count(), 0, "schemas were asked for");
            names.iter().flatten().map(str::to_owned).collect::<Vec<_>>()
        };
        batches.iter().flat_map(names).collect::<Vec<String>>()
    };
    assert_eq!(names("%").await, ["t"]);
    assert!(names("no such%").await.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn errors_carry_code_and_sqlstate() {
    let mut server = Server::start().await;
    let error = server.client.execute("SELECT * FROM tt".to_owned(), None).await.unwrap_err();
    let (code_of, sqlstate, message) = code(&error);
    assert_eq!((code_of, sqlstate.as_str()), (Code::NotFound, "42P01"), "{message}");
    assert!(message.contains("'tt'") && message.contains("did you mean 't'?"), "{message}");
    let error = server.client.prepare("SELEC 1".to_owned(), None).await.unwrap_err();
    assert_eq!(code(&error).0, Code::InvalidArgument);
    let prepared = server.client.prepare("SELECT nope FROM t".to_owned(), None).await;
    assert_eq!(code(&prepared.unwrap_err()).0, Code::InvalidArgument);
    assert_eq!(integers(&server.query("SELECT 1").await), [1], "the connection lives on");
    let listed =
        "SELECT sql || ': ' || error_kind || ': ' || error FROM system.queries WHERE state = 'failed' ORDER BY sql";
    let listed = server.query(listed).await;
    let listed =
        listed.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten()).collect::<Vec<_>>();
    assert_eq!(listed.len(), 3, "{listed:?}");
    assert!(listed[0].starts_with("SELEC 1: invalid_argument: "), "{listed:?}");
    assert!(
        listed[1].starts_with("SELECT * FROM tt: not_found: ") && listed[1].ends_with("did you mean 't'?"),
        "{listed:?}"
    );
    assert!(listed[2].starts_with("SELECT nope FROM t: invalid_argument: line 1, column 8"), "{listed:?}");
    server.stop().await;
}

/// What the first message of a query's rows says beside the schema.
async fn as_of(server: &mut Server, sql: &str) -> String {
    let info = server.client.execute(sql.to_owned(), None).await.unwrap();
    let ticket = info.endpoint.into_iter().next().unwrap().ticket.unwrap();
    let mut messages = server.client.do_get(ticket).await.unwrap().into_inner();
    let first = messages.try_next().await.unwrap().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&first.app_metadata()).unwrap();
    told["data_as_of"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_says_how_old_it_is() {
    let mut server = Server::start().await;
    let manual =
        "CREATE MATERIALIZED VIEW v WITH (refresh='manual') AS SELECT name, count(*) AS n FROM t GROUP BY name";
    let all = "CREATE MATERIALIZED VIEW w WITH (strategy='full') AS SELECT DISTINCT name FROM t";
    for sql in [manual, all, "REFRESH MATERIALIZED VIEW v", "REFRESH MATERIALIZED VIEW w"] {
        server.client.execute_update(sql.to_owned(), None).await.unwrap();
    }
    server.clock.advance(Duration::from_secs(60));
    let changed = server.client.execute("INSERT INTO t VALUES (4, 'four')".to_owned(), None).await.unwrap();
    let changed: serde_json::Value = serde_json::from_slice(&changed.app_metadata).unwrap();
    assert_eq!(changed["data_as_of"], "2017-11-07T12:01:00.000000Z");
    assert!(changed["query_id"].is_string());
    server.clock.advance(Duration::from_secs(60));
    assert_eq!(as_of(&mut server, "SELECT * FROM v").await, "2017-11-07T12:02:00.000000Z");
    assert_eq!(as_of(&mut server, "SELECT * FROM w").await, "2017-11-07T12:00:00.000000Z", "of its last refresh");
    server.client.execute_update("SET adlake.max_staleness = '5 minutes'".to_owned(), None).await.unwrap();
    let lacking = "2017-11-07T12:01:00.000000Z";
    assert_eq!(as_of(&mut server, "SELECT * FROM v").await, lacking, "the first commit it has not absorbed");
    assert_eq!(as_of(&mut server, "SELECT name, count(*) FROM t GROUP BY name").await, lacking, "v answers that too");
    server.stop().await;
}

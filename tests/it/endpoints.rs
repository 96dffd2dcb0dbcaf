//! Results of several endpoints (`adlake.result_endpoints`), fetched by arrow-flight's own client.

use crate::flight::{Server, code, integers};
use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightEndpoint, FlightInfo, Ticket,
};
use futures::TryStreamExt;
use futures::future::try_join_all;
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use tonic::Code;
use tonic::transport::Channel;

const ROWS: i64 = 1_400_000;
/// Never ends by itself.
const ENDLESS: &str =
    "SELECT a.value AS divided FROM generate_series(1, 1000000) a CROSS JOIN generate_series(1, 1000000) b";

/// A server whose client wants so many endpoints.
async fn wanting(count: u32) -> Server {
    let mut server = Server::start().await;
    server.client.execute_update(format!("SET adlake.result_endpoints = {count}"), None).await.unwrap();
    server
}

fn ticket(endpoint: &FlightEndpoint) -> Ticket {
    endpoint.ticket.clone().unwrap()
}

async fn tickets(server: &mut Server, sql: &str) -> Vec<Ticket> {
    let info = server.client.execute(sql.to_owned(), None).await.unwrap();
    assert!(!info.ordered);
    info.endpoint.iter().map(ticket).collect()
}

/// The values of the first column that come by an endpoint.
async fn fetched(mut client: FlightSqlServiceClient<Channel>, ticket: Ticket) -> Result<Vec<i64>, FlightError> {
    let rows = client.do_get(ticket).await?;
    Ok(integers(&rows.try_collect::<Vec<_>>().await?))
}

/// An endpoint of which the first batch is read.
async fn opened(server: &mut Server, ticket: Ticket) -> FlightRecordBatchStream {
    let mut rows = server.client.do_get(ticket).await.unwrap();
    assert!(rows.try_next().await.unwrap().is_some());
    rows
}

/// The error that ends an endpoint of which something was read.
async fn end_of(rows: FlightRecordBatchStream) -> Code {
    code(&rows.try_collect::<Vec<_>>().await.unwrap_err()).0
}

async fn refused(server: &Server, ticket: Ticket) -> (Code, String) {
    let (code, _, message) = code(&fetched(server.client.clone(), ticket).await.unwrap_err());
    (code, message)
}

/// Returns when the endless query, which ran once, has ended.
async fn ended(server: &mut Server) {
    let runs = "SELECT count(*) FROM system.queries WHERE sql LIKE 'SELECT a.value AS divided%'";
    let cancelled = format!("{runs} AND state = 'cancelled'");
    let ended = async {
        while integers(&server.query(&cancelled).await) != [1] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap();
    assert_eq!(integers(&server.query(runs).await), [1]);
}

fn all(parts: Vec<Vec<i64>>) -> Vec<i64> {
    let mut all = parts.concat();
    all.sort_unstable();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_fetched_at_once_bring_every_row_once() {
    let mut server = wanting(4).await;
    let sql = format!("SELECT value FROM generate_series(1, {ROWS})");
    let tickets = tickets(&mut server, &sql).await;
    assert_eq!(tickets.len(), 4);
    let parts = try_join_all(tickets.into_iter().map(|ticket| fetched(server.client.clone(), ticket))).await.unwrap();
    let all = all(parts);
    assert_eq!((all.len(), all.iter().sum::<i64>()), (1_400_000, ROWS * (ROWS + 1) / 2));
    assert!(all.into_iter().eq(1..=ROWS));
    let listed =
        format!("SELECT count(*) FROM system.queries WHERE sql = '{sql}' AND state = 'done' AND \"rows\" = {ROWS}");
    assert_eq!(integers(&server.query(&listed).await), [1], "it ran once");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_fetched_one_after_another_bring_every_row_once() {
    let mut server = wanting(64).await;
    let queries = [
        (format!("SELECT value FROM generate_series(1, {ROWS})"), ROWS, ROWS * (ROWS + 1) / 2),
        // Its plan has several partitions, all of which have to be read.
        (
            format!("SELECT value % 100000 AS k, count(*) FROM generate_series(1, {ROWS}) GROUP BY 1"),
            100_000,
            99_999 * 100_000 / 2,
        ),
    ];
    for (sql, rows, sum) in queries {
        let mut parts = Vec::new();
        for ticket in tickets(&mut server, &sql).await {
            parts.push(fetched(server.client.clone(), ticket).await.unwrap());
        }
        assert_eq!(parts.len(), 64);
        assert!(parts[1..].iter().all(Vec::is_empty), "the first is read to the end of all");
        let all = all(parts);
        assert_eq!((all.len(), all.iter().sum::<i64>()), (usize::try_from(rows).unwrap(), sum), "{sql}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_rows_that_may_be_many_and_have_no_order_are_divided() {
    let mut server = wanting(3).await;
    let series = format!("SELECT value FROM generate_series(1, {ROWS})");
    for sql in [
        format!("{series} ORDER BY value"),
        format!("{series} ORDER BY value LIMIT 100000"),
        format!("{series} LIMIT 10"),
        format!("EXPLAIN {series}"),
        format!("SELECT sum(value) FROM generate_series(1, {ROWS})"),
        "SELECT query_id FROM system.queries".to_owned(),
        "SHOW TABLES".to_owned(),
        "INSERT INTO t VALUES (4, 'four')".to_owned(),
    ] {
        assert_eq!(tickets(&mut server, &sql).await.len(), 1, "{sql}");
    }
    let ordered = tickets(&mut server, &format!("{series} ORDER BY value LIMIT 100000")).await;
    for _ in 0..2 {
        let values = fetched(server.client.clone(), ordered[0].clone()).await.unwrap();
        assert!(values.into_iter().eq(1..=100_000), "as often as asked");
    }
    let limited = tickets(&mut server, &format!("{series} LIMIT 100000")).await;
    assert_eq!(limited.len(), 3);
    let parts = try_join_all(limited.into_iter().map(|ticket| fetched(server.client.clone(), ticket))).await.unwrap();
    let mut all = all(parts);
    all.dedup();
    assert_eq!(all.len(), 100_000);
    server.stop().await;
}

#[tokio::test]
async fn the_number_is_set_shown_and_checked() {
    let mut server = wanting(3).await;
    let sql = "SELECT id FROM t";
    let shown = server.query("SHOW adlake.result_endpoints").await;
    assert_eq!(shown[0].column(0).as_string::<i32>().value(0), "3");
    assert_eq!(tickets(&mut server, sql).await.len(), 3);
    assert_eq!(all(vec![integers(&server.query(sql).await)]), [1, 2, 3]);
    for wrong in ["0", "65", "'many'"] {
        let set = server.client.execute_update(format!("SET adlake.result_endpoints = {wrong}"), None).await;
        let (code, _, message) = code(&set.unwrap_err());
        assert_eq!(code, Code::InvalidArgument);
        assert!(message.starts_with("adlake.result_endpoints is a number from 1 to 64"), "{message}");
    }
    server.client.execute_update("RESET adlake.result_endpoints".to_owned(), None).await.unwrap();
    let shown = server.query("SHOW adlake.result_endpoints").await;
    assert_eq!(shown[0].column(0).as_string::<i32>().value(0), "1");
    assert_eq!(tickets(&mut server, sql).await.len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_query_is_divided_with_what_is_bound() {
    let mut server = wanting(3).await;
    let sql = "SELECT value FROM generate_series(1, 100000) WHERE value > $1".to_owned();
    let mut prepared = server.client.prepare(sql, None).await.unwrap();
    for (bound, endpoints, rows) in [(vec![40_000], 3, 60_000), (vec![99_998, 99_999], 1, 3)] {
        let bound = RecordBatch::try_from_iter([("1", Arc::new(Int64Array::from(bound)) as _)]).unwrap();
        prepared.set_parameters(bound).unwrap();
        let info = prepared.execute().await.unwrap();
        assert_eq!(info.endpoint.len(), endpoints);
        assert_eq!(integers(&server.fetch(info).await).len(), rows);
    }
    prepared.close().await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_fetched_once_and_in_time() {
    let mut server = wanting(2).await;
    let sql = "SELECT value FROM generate_series(1, 10000)";
    let first = tickets(&mut server, sql).await;
    assert_eq!(fetched(server.client.clone(), first[0].clone()).await.unwrap().len(), 10_000);
    let (code, message) = refused(&server, first[0].clone()).await;
    assert_eq!(code, Code::NotFound);
    assert!(message.ends_with("run the query again"), "{message}");
    assert!(fetched(server.client.clone(), first[1].clone()).await.unwrap().is_empty(), "nothing is left for it");
    let second = tickets(&mut server, sql).await;
    server.clock.advance(Duration::from_secs(3_599));
    assert_eq!(fetched(server.client.clone(), second[1].clone()).await.unwrap().len(), 10_000);
    server.clock.advance(Duration::from_secs(3_600));
    assert_eq!(refused(&server, second[0].clone()).await.0, Code::NotFound, "an hour after the last use");
    server.stop().await;
}

async fn cancel(server: &mut Server, info: FlightInfo) -> CancelStatus {
    let request = CancelFlightInfoRequest { info: Some(info) };
    let action = Action { r#type: "CancelFlightInfo".to_owned(), body: request.encode_to_vec().into() };
    let mut answers = server.client.do_action(action).await.unwrap();
    let answer = answers.message().await.unwrap().unwrap();
    CancelFlightInfoResult::decode(answer.body).unwrap().status()
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_ends_all_endpoints() {
    let mut server = wanting(3).await;
    let info = server.client.execute(ENDLESS.to_owned(), None).await.unwrap();
    let tickets: Vec<Ticket> = info.endpoint.iter().map(ticket).collect();
    let (first, second) =
        (opened(&mut server, tickets[0].clone()).await, opened(&mut server, tickets[1].clone()).await);
    assert_eq!(cancel(&mut server, info).await, CancelStatus::Cancelled);
    assert_eq!((end_of(first).await, end_of(second).await), (Code::Cancelled, Code::Cancelled));
    for ticket in tickets {
        assert_eq!(refused(&server, ticket).await.0, Code::Cancelled);
    }
    ended(&mut server).await;
    let info = server.client.execute(ENDLESS.to_owned(), None).await.unwrap();
    let never = ticket(&info.endpoint[0]);
    cancel(&mut server, info).await;
    assert_eq!(refused(&server, never).await.0, Code::Cancelled, "before anything was fetched");
    ended(&mut server).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_one_endpoint_ends_all() {
    let mut server = wanting(3).await;
    let tickets = tickets(&mut server, ENDLESS).await;
    let (first, second) =
        (opened(&mut server, tickets[0].clone()).await, opened(&mut server, tickets[1].clone()).await);
    drop(first);
    assert_eq!(end_of(second).await, Code::Cancelled);
    assert_eq!(refused(&server, tickets[2].clone()).await.0, Code::NotFound);
    ended(&mut server).await;
    server.stop().await;
}

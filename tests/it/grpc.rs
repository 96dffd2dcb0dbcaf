//! `adlake.v1.Ingest` with a client made from the proto, as any user makes one.

#[allow(clippy::all, clippy::allow_attributes_without_reason, clippy::too_many_lines, reason = "generated")]
pub mod client {
    include!(concat!(env!("OUT_DIR"), "/client/adlake.v1.rs"));
}

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int32Array, LargeStringArray, StringArray, StringViewArray};
use arrow::datatypes::Int32Type;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::StreamExt;
use serde_json::json;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use client::append_request::Payload;
use client::ingest_client::IngestClient;
use client::{AppendReply, AppendRequest, Click, Clicks, Conversion, Conversions, Impression, Impressions, OnBadRow};

use crate::http::Server;

/// 2017-11-07T11:00:00Z; the clocks of these servers stand at noon.
const ELEVEN: i64 = 1_510_052_400_000_000;

async fn channel(server: &Server) -> Channel {
    Channel::from_shared(format!("http://{}", server.flight())).unwrap().connect().await.unwrap()
}

async fn shipped() -> (Server, IngestClient<Channel>) {
    let server = Server::with(&[("lake.sql", concat!(env!("CARGO_MANIFEST_DIR"), "/sql"))]).await;
    let client = IngestClient::new(channel(&server).await);
    (server, client)
}

fn click(id: &str) -> Click {
    Click {
        event_id: Some(id.into()),
        event_time: Some(ELEVEN),
        ad_id: Some("a".into()),
        campaign_id: Some("c".into()),
        price_micros: Some(5),
        ..Click::default()
    }
}

fn clicks(rows: Vec<Click>) -> AppendRequest {
    let payload = Some(Payload::Clicks(Clicks { rows }));
    AppendRequest { table: "clicks".into(), payload, ..AppendRequest::default() }
}

fn numbered(id: u64, rows: Vec<Click>) -> AppendRequest {
    AppendRequest { request_id: id, ..clicks(rows) }
}

fn ipc(batch: &RecordBatch, compression: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

fn arrow(batch: &RecordBatch) -> AppendRequest {
    let payload = Some(Payload::ArrowIpc(ipc(batch, None)));
    AppendRequest { table: "clicks".into(), payload, ..AppendRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn typed_rows_of_every_table_are_committed_before_the_answer() {
    let (server, mut client) = shipped().await;
    let reply = client.append(numbered(9, vec![click("1"), click("2"), click("1")])).await.unwrap().into_inner();
    assert_eq!((reply.request_id, reply.accepted, reply.duplicates, reply.replayed), (9, 2, 1, false));
    assert!(reply.version > 0);
    let rows = server
        .rows("SELECT event_id, event_time, ad_id, campaign_id, user_id, price_micros FROM clicks ORDER BY 1")
        .await;
    assert_eq!(rows[0], json!(["1", "2017-11-07T11:00:00Z", "a", "c", null, 5]), "{rows}");

    let shown = Impression {
        event_id: Some("i".into()),
        event_time: Some(ELEVEN),
        ad_id: Some("a".into()),
        ..Impression::default()
    };
    let payload = Some(Payload::Impressions(Impressions { rows: vec![shown] }));
    let request = AppendRequest { table: "impressions".into(), payload, ..AppendRequest::default() };
    assert_eq!(client.append(request).await.unwrap().into_inner().accepted, 1);
    let bought = Conversion {
        event_id: Some("v".into()),
        event_time: Some(ELEVEN),
        ad_id: Some("a".into()),
        click_id: Some("1".into()),
        product_id: Some("p".into()),
        revenue_micros: Some(i64::MAX),
        ..Conversion::default()
    };
    let payload = Some(Payload::Conversions(Conversions { rows: vec![bought] }));
    let request = AppendRequest { table: "conversions".into(), payload, ..AppendRequest::default() };
    assert_eq!(client.append(request).await.unwrap().into_inner().accepted, 1);
    let row = server.rows("SELECT click_id, product_id, revenue_micros FROM conversions").await;
    assert_eq!(row, json!([["1", "p", i64::MAX]]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_are_rejected_alone() {
    let (server, mut client) = shipped().await;
    let no_key = Click { event_id: None, ..click("") };
    let negative = Click { price_micros: Some(-1), ..click("n") };
    let reply = client.append(clicks(vec![click("1"), no_key, negative, click("2")])).await.unwrap().into_inner();
    assert_eq!((reply.accepted, reply.rejected.len()), (2, 2), "{reply:?}");
    assert_eq!((reply.rejected[0].row, reply.rejected[0].field.as_deref()), (2, Some("event_id")), "{reply:?}");
    assert_eq!(reply.rejected[1].row, 3);
    let kept = server.rows("SELECT line, source FROM system.rejects ORDER BY line").await;
    assert_eq!(kept, json!([[2, "grpc"], [3, "grpc"]]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arrow_and_ndjson_payloads_of_any_layout() {
    let (server, mut client) = shipped().await;
    let ids: ArrayRef = Arc::new(StringViewArray::from(vec!["an id longer than twelve bytes", "b"]));
    let times: ArrayRef = Arc::new(arrow::array::TimestampMillisecondArray::from(vec![ELEVEN / 1_000; 2]));
    let ads: DictionaryArray<Int32Type> = vec!["a", "a"].into_iter().collect();
    let country: ArrayRef = Arc::new(LargeStringArray::from(vec![Some("KR"), None]));
    let price: ArrayRef = Arc::new(Int32Array::from(vec![7, 8]));
    let batch = RecordBatch::try_from_iter([
        ("event_id", ids),
        ("event_time", times),
        ("ad_id", Arc::new(ads) as ArrayRef),
        ("country", country),
        ("price_micros", price),
    ])
    .unwrap();
    assert_eq!(client.append(arrow(&batch)).await.unwrap().into_inner().accepted, 2);
    let again =
        AppendRequest { payload: Some(Payload::ArrowIpc(ipc(&batch, Some(CompressionType::ZSTD)))), ..arrow(&batch) };
    assert_eq!(client.append(again).await.unwrap().into_inner().duplicates, 2);
    let line = format!("{{\"event_id\":\"n\",\"event_time\":{},\"ad_id\":\"a\"}}\n", ELEVEN / 1_000);
    let lines = AppendRequest { payload: Some(Payload::Ndjson(line.into_bytes())), ..arrow(&batch) };
    assert_eq!(client.append(lines).await.unwrap().into_inner().accepted, 1);
    let rows = server.rows("SELECT event_id, country, price_micros FROM clicks ORDER BY 1").await;
    assert_eq!(rows, json!([["an id longer than twelve bytes", "KR", 7], ["b", null, 8], ["n", null, null]]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_ones_own_takes_typed_rows_by_name() {
    let (server, mut client) = shipped().await;
    server.run("CREATE TABLE own (ad_id VARCHAR, extra BIGINT, event_id VARCHAR)").await;
    let few = Click { event_id: Some("1".into()), ad_id: Some("a".into()), ..Click::default() };
    let request = AppendRequest { table: "own".into(), ..clicks(vec![few]) };
    assert_eq!(client.append(request).await.unwrap().into_inner().accepted, 1);
    assert_eq!(server.rows("SELECT * FROM own").await, json!([["a", null, "1"]]));
    let request = AppendRequest { table: "own".into(), ..clicks(vec![click("2")]) };
    refused(&mut client, request, Code::InvalidArgument, "campaign_id").await;
    server.stop().await;
}

async fn refused(client: &mut IngestClient<Channel>, request: AppendRequest, code: Code, says: &str) {
    let status = client.append(request).await.unwrap_err();
    assert_eq!(status.code(), code, "{status}");
    assert!(status.message().contains(says), "'{}' does not say '{says}'", status.message());
    assert!(status.metadata().get("error-kind").is_some(), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused_in_words() {
    let (server, mut client) = shipped().await;
    let wrong = |table: &str| AppendRequest { table: table.into(), ..clicks(vec![click("1")]) };
    refused(&mut client, wrong("click"), Code::NotFound, "did you mean 'clicks'?").await;
    refused(&mut client, wrong(""), Code::InvalidArgument, "table is empty").await;
    let empty = AppendRequest { payload: None, ..wrong("clicks") };
    refused(&mut client, empty, Code::InvalidArgument, "payload is not set").await;
    let negative = AppendRequest { producer_id: "p".into(), sequence: -1, ..wrong("clicks") };
    refused(&mut client, negative, Code::InvalidArgument, "sequence is -1").await;
    let unknown = AppendRequest { on_bad_row: 7, ..wrong("clicks") };
    refused(&mut client, unknown, Code::InvalidArgument, "on_bad_row is 7").await;

    let names: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let stranger = RecordBatch::try_from_iter([("event_ids", names.clone())]).unwrap();
    refused(&mut client, arrow(&stranger), Code::InvalidArgument, "event_ids").await;
    let list: ArrayRef = Arc::new(arrow::array::ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1)])]));
    let misfit = RecordBatch::try_from_iter([("event_id", names), ("price_micros", list)]).unwrap();
    refused(&mut client, arrow(&misfit), Code::InvalidArgument, "price_micros").await;
    let cut = AppendRequest { payload: Some(Payload::ArrowIpc(ipc(&misfit, None)[..100].to_vec())), ..wrong("clicks") };
    refused(&mut client, cut, Code::InvalidArgument, "Arrow IPC stream").await;
    assert_eq!(server.rows("SELECT count(*) FROM clicks").await, json!([[0]]));
    server.stop().await;
}

/// Requests as any bytes at all.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = AppendReply;
    type Encoder = RawEncoder;
    type Decoder = ReplyDecoder;

    fn encoder(&mut self) -> RawEncoder {
        RawEncoder
    }

    fn decoder(&mut self) -> ReplyDecoder {
        ReplyDecoder
    }
}

struct RawEncoder;

impl Encoder for RawEncoder {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put(into, item);
        Ok(())
    }
}

struct ReplyDecoder;

impl Decoder for ReplyDecoder {
    type Item = AppendReply;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<AppendReply>, Status> {
        Ok(prost::Message::decode(from).ok())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_protobuf_is_an_invalid_argument() {
    let (server, _) = shipped().await;
    let whole = Bytes::from(prost::Message::encode_to_vec(&clicks(vec![click("1"), click("2")])));
    for length in [1, whole.len() / 2, whole.len() - 1] {
        let mut client = tonic::client::Grpc::new(channel(&server).await);
        client.ready().await.unwrap();
        let path = "/adlake.v1.Ingest/Append".parse().unwrap();
        let status = client.unary(Request::new(whole.slice(..length)), path, Raw).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{length}: {status}");
    }
    // A field from a later version of the proto is ignored.
    let newer = [&whole[..], &[0xf8, 0x7f, 1]].concat();
    let mut client = tonic::client::Grpc::new(channel(&server).await);
    client.ready().await.unwrap();
    let path = "/adlake.v1.Ingest/Append".parse().unwrap();
    let reply = client.unary(Request::new(newer.into()), path, Raw).await.unwrap().into_inner();
    assert_eq!(reply.accepted, 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_answers_every_batch_and_outlives_bad_ones() {
    let (server, mut client) = shipped().await;
    let mut requests: Vec<AppendRequest> =
        (1..=100).map(|id| numbered(id, vec![click(&id.to_string()), click("same")])).collect();
    requests[49] = AppendRequest { table: "click".into(), ..numbered(50, vec![click("x")]) };
    requests[69] = AppendRequest { payload: None, ..numbered(70, Vec::new()) };
    let mut replies = client.append_stream(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let mut by_id = BTreeMap::new();
    while let Some(reply) = replies.message().await.unwrap() {
        assert!(by_id.insert(reply.request_id, reply).is_none(), "answered twice");
    }
    assert_eq!(by_id.keys().copied().collect::<Vec<_>>(), (1..=100).collect::<Vec<_>>());
    let unknown = by_id[&50].error.clone().unwrap();
    assert_eq!(unknown.code, Code::NotFound as i32, "{unknown:?}");
    assert!(by_id[&70].error.as_ref().unwrap().message.contains("payload is not set"));
    let accepted: u64 = by_id.values().map(|reply| reply.accepted).sum();
    let duplicates: u64 = by_id.values().map(|reply| reply.duplicates).sum();
    assert_eq!((accepted, duplicates), (99, 97), "98 batches of one new row, and one row they share");
    assert_eq!(server.rows("SELECT count(*), count(DISTINCT event_id) FROM clicks").await, json!([[99, 99]]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_one_producer_are_answered_in_order() {
    let (server, mut client) = shipped().await;
    let requests = (0..40_u64).map(|id| AppendRequest {
        producer_id: "edge-1".into(),
        sequence: i64::try_from(id).unwrap(),
        ..numbered(id, vec![click(&format!("p{id}"))])
    });
    let requests: Vec<_> = requests.collect();
    let replies = client.append_stream(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let ids: Vec<u64> = replies
        .map(|reply| {
            let reply = reply.unwrap();
            assert_eq!((reply.accepted, reply.error), (1, None));
            reply.request_id
        })
        .collect()
        .await;
    assert_eq!(ids, (0..40).collect::<Vec<_>>());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_no_answers_is_paused() {
    let settings = [("lake.sql", concat!(env!("CARGO_MANIFEST_DIR"), "/sql")), ("server.append_batches", "2")];
    let server = Server::with(&settings).await;
    // The client's window for answers: a few fit, then the server has to keep them.
    let narrow =
        Channel::from_shared(format!("http://{}", server.flight())).unwrap().initial_stream_window_size(64_u32);
    let mut client = IngestClient::new(narrow.connect().await.unwrap());
    let (send, requests) = tokio::sync::mpsc::channel(1);
    let mut replies = client.append_stream(ReceiverStream::new(requests)).await.unwrap().into_inner();
    // Large enough that HTTP/2's windows hold only a few.
    let batch = |id: u64| {
        let row = |row: u32| Click { user_id: Some("u".repeat(1_000)), ..click(&format!("{id}-{row}")) };
        numbered(id, (0..1_000).map(row).collect())
    };
    let mut sent = 0;
    while tokio::time::timeout(std::time::Duration::from_secs(3), send.send(batch(sent)))
        .await
        .is_ok_and(|sent| sent.is_ok())
    {
        sent += 1;
        assert!(sent < 60, "the server reads on although nobody reads its answers");
    }
    drop(send);
    let mut answered = 0;
    while let Some(reply) = replies.message().await.unwrap() {
        assert_eq!(reply.accepted, 1_000);
        answered += 1;
    }
    assert_eq!(answered, sent);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_answers_what_was_read_and_ends_open_streams() {
    let (server, mut client) = shipped().await;
    let (send, requests) = tokio::sync::mpsc::channel(1);
    let mut replies = client.append_stream(ReceiverStream::new(requests)).await.unwrap().into_inner();
    send.send(numbered(1, vec![click("1")])).await.unwrap();
    assert_eq!(replies.message().await.unwrap().unwrap().accepted, 1);
    let ended = async move {
        let status = replies.message().await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        drop((send, replies, client));
    };
    tokio::join!(server.stop(), ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn fail_refuses_the_whole_request() {
    let (server, mut client) = shipped().await;
    let request = AppendRequest { on_bad_row: OnBadRow::Fail.into(), ..clicks(vec![click("1"), Click::default()]) };
    refused(&mut client, request, Code::InvalidArgument, "line 2").await;
    assert_eq!(server.rows("SELECT count(*) FROM clicks").await, json!([[0]]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_sequence_gets_the_first_answer() {
    let (server, mut client) = shipped().await;
    let request = || AppendRequest { producer_id: "p".into(), sequence: 5, ..clicks(vec![click("1"), click("2")]) };
    let first = client.append(request()).await.unwrap().into_inner();
    let again = client.append(request()).await.unwrap().into_inner();
    assert_eq!((first.accepted, first.replayed), (2, false));
    assert_eq!(AppendReply { replayed: false, ..again.clone() }, first);
    assert!(again.replayed);
    let gap = AppendRequest { sequence: 9, ..request() };
    refused(&mut client, gap, Code::FailedPrecondition, "send 6 first").await;
    server.stop().await;
}

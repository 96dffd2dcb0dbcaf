//! Plain Flight `DoPut` to a table, with the client of arrow-flight.

use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int64Array, LargeStringArray, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::Int32Type;
use arrow::record_batch::RecordBatch;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::{FlightClient, FlightData, FlightDescriptor, PutResult};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use tonic::Code;
use tonic::transport::Channel;

use crate::http::Server;

const ELEVEN: i64 = 1_510_052_400_000_000;

async fn client(server: &Server) -> FlightClient {
    let channel = Channel::from_shared(format!("http://{}", server.flight())).unwrap();
    FlightClient::new(channel.connect().await.unwrap())
}

fn batch(ids: &[&str]) -> RecordBatch {
    let times = TimestampMicrosecondArray::from(vec![ELEVEN; ids.len()]);
    let columns: [(&str, ArrayRef); 2] =
        [("event_id", Arc::new(StringArray::from(ids.to_vec()))), ("event_time", Arc::new(times))];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// The messages of a put to `path`; `notes` are the batches' app_metadata.
async fn messages(path: &[&str], batches: Vec<RecordBatch>, notes: &[&str]) -> Vec<FlightData> {
    let descriptor = FlightDescriptor::new_path(path.iter().map(|part| (*part).to_owned()).collect());
    let schema = batches[0].schema();
    let encoder = FlightDataEncoderBuilder::new().with_schema(schema).with_flight_descriptor(Some(descriptor));
    let encoder = encoder.with_dictionary_handling(arrow_flight::encode::DictionaryHandling::Resend);
    let encoded = encoder.build(futures::stream::iter(batches.into_iter().map(Ok)));
    let mut messages: Vec<FlightData> = encoded.try_collect().await.unwrap();
    let mut notes = notes.iter();
    for message in &mut messages {
        let header = arrow::ipc::root_as_message(&message.data_header).unwrap().header_type();
        if header == arrow::ipc::MessageHeader::RecordBatch {
            message.app_metadata = notes.next().copied().unwrap_or_default().to_owned().into();
        }
    }
    messages
}

async fn put(server: &Server, messages: Vec<FlightData>) -> Result<Vec<Value>, FlightError> {
    let mut client = client(server).await;
    let results = client.do_put(futures::stream::iter(messages.into_iter().map(Ok))).await?;
    results
        .map(|result| result.map(|PutResult { app_metadata }| serde_json::from_slice(&app_metadata).unwrap()))
        .try_collect()
        .await
}

async fn refused(server: &Server, messages: Vec<FlightData>, code: Code, says: &str) {
    let Err(FlightError::Tonic(status)) = put(server, messages).await else { panic!("not refused: {says}") };
    assert_eq!(status.code(), code, "{status}");
    assert!(status.message().contains(says), "'{}' does not say '{says}'", status.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_batch_is_committed_and_answered() {
    let server = Server::with_clicks().await;
    let notes = ["{\"request_id\": 7}", "{\"request_id\": 8, \"producer_id\": \"p\", \"sequence\": 0}"];
    let sent = messages(&["clicks"], vec![batch(&["10", "11"]), batch(&["12", "10", "1"])], &notes).await;
    let mut answers = put(&server, sent).await.unwrap();
    answers.sort_by_key(|answer| answer["request_id"].as_u64());
    let accepted: u64 = answers.iter().map(|answer| answer["accepted"].as_u64().unwrap()).sum();
    let duplicates: u64 = answers.iter().map(|answer| answer["duplicates"].as_u64().unwrap()).sum();
    assert_eq!((answers.len(), accepted, duplicates), (2, 3, 2), "{answers:?}");
    assert_eq!(answers[0]["request_id"], 7);
    assert_eq!(answers[0]["rejected"], json!([]));
    assert!(answers[1]["version"].as_u64().unwrap() > 0);
    assert_eq!(server.rows("SELECT count(*) FROM clicks").await, json!([[7]]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn layouts_other_than_the_tables_are_cast() {
    let server = Server::with_clicks().await;
    let ads: DictionaryArray<Int32Type> = vec!["a", "b"].into_iter().collect();
    let columns: [(&str, ArrayRef); 5] = [
        ("event_id", Arc::new(LargeStringArray::from(vec!["20", "21"]))),
        ("event_time", Arc::new(Int64Array::from(vec![ELEVEN / 1_000; 2]))),
        ("ad_id", Arc::new(ads)),
        ("user_id", Arc::new(arrow::array::Int16Array::from(vec![1, 2]))),
        (
            "country",
            Arc::new(arrow::array::StringViewArray::from(vec![Some("a country of more than twelve bytes"), None])),
        ),
    ];
    let sent = messages(&["adlake", "public", "clicks"], vec![RecordBatch::try_from_iter(columns).unwrap()], &[]).await;
    assert_eq!(put(&server, sent).await.unwrap()[0]["accepted"], 2);
    let rows = server
        .rows("SELECT ad_id, user_id, country FROM clicks WHERE event_id >= '20' AND event_id < '3' ORDER BY event_id")
        .await;
    assert_eq!(rows, json!([["a", 1, "a country of more than twelve bytes"], ["b", 2, null]]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_batches_are_answered_to_those_who_listen_and_end_the_call_of_others() {
    let server = Server::with_clicks().await;
    let no_key = || {
        let columns: [(&str, ArrayRef); 1] = [("event_id", Arc::new(StringArray::from(vec!["30"])))];
        RecordBatch::try_from_iter(columns).unwrap()
    };
    let rejected = put(&server, messages(&["clicks"], vec![no_key()], &[]).await).await.unwrap();
    assert_eq!(rejected[0]["rejected"][0]["field"], "event_time", "a bad row is no error: {rejected:?}");

    let notes = ["{\"request_id\": 1, \"sequnce\": 1}", "{\"request_id\": 2}"];
    let answers =
        put(&server, messages(&["clicks"], vec![batch(&["31"]), batch(&["32"])], &notes).await).await.unwrap();
    assert!(answers[0]["error"]["message"].as_str().unwrap().contains("app_metadata"), "{answers:?}");
    assert_eq!((&answers[0]["error"]["code"], &answers[1]["accepted"]), (&json!(3), &json!(1)), "{answers:?}");

    let columns: [(&str, ArrayRef); 1] = [("event_ids", Arc::new(StringArray::from(vec!["x"])))];
    let stranger = RecordBatch::try_from_iter(columns).unwrap();
    refused(&server, messages(&["clicks"], vec![stranger], &[]).await, Code::InvalidArgument, "event_ids").await;
    refused(&server, messages(&["click"], vec![batch(&["1"])], &[]).await, Code::NotFound, "did you mean 'clicks'?")
        .await;
    refused(&server, messages(&["a", "b"], vec![batch(&["1"])], &[]).await, Code::InvalidArgument, "names one table")
        .await;
    let mut damaged = messages(&["clicks"], vec![batch(&["33"]), batch(&["34"])], &[]).await;
    damaged[2].data_body = damaged[2].data_body.slice(..8);
    refused(&server, damaged, Code::InvalidArgument, "Arrow").await;
    server.run("CREATE VIEW seen AS SELECT event_id FROM clicks").await;
    refused(
        &server,
        messages(&["seen"], vec![batch(&["1"])], &[]).await,
        Code::FailedPrecondition,
        "rows go into tables",
    )
    .await;
    server.stop().await;
}

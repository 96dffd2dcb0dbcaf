//! Many requests at once: group commit, idempotent producers, old events, limits.

use std::collections::BTreeMap;

use futures::future::join_all;
use proptest::prelude::*;

use super::*;

/// Room for a few thousand keys; an empty key set takes some of it.
const LITTLE_MEMORY: (&str, &str) = ("ingest.key_index_size", "256 KiB");

fn day(day: u32) -> String {
    format!("2017-11-{day:02}T11:00:00Z")
}

/// 2,500 events of one day, ids from `first`.
fn events(first: u32, of_day: u32) -> String {
    (first..first + 2_500).map(|id| click(id, &day(of_day))).collect()
}

async fn checksum(lake: &Process) -> Vec<String> {
    lake.sql("SELECT count(*), count(DISTINCT event_id), sum(CAST(event_id AS BIGINT)) FROM clicks").await
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_once_share_commits_and_events_are_taken_once() {
    let lake = Process::with_clicks().await;
    // Every event is in four of the requests.
    let bodies: Vec<String> = (0..64)
        .map(|request| (0..40).map(|row| click((request / 4) * 40 + row, "2017-11-07T11:00:00Z")).collect())
        .collect();
    let reports = join_all(bodies.iter().map(|body| lake.append("clicks", body))).await;
    let accepted: u64 = reports.iter().map(|report| report.accepted).sum();
    let duplicates: u64 = reports.iter().map(|report| report.duplicates).sum();
    assert_eq!((accepted, duplicates), (640, 3 * 640));
    assert_eq!(checksum(&lake).await, ["640 640 204480"]);
    let versions: std::collections::BTreeSet<u64> = reports.iter().map(|report| report.version.0).collect();
    assert!(versions.len() < 64, "64 requests made {} commits", versions.len());
    let commits = lake.sql("SELECT count(*) FROM system.commits WHERE operation = 'APPEND'").await;
    assert_eq!(commits, [versions.iter().filter(|version| **version > 0).count().to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_gets_its_first_answer() {
    let lake = Process::with_clicks().await;
    let body = click(1, &day(7)) + &click(2, &day(7)) + &click(1, &day(7)) + "{\"event_id\":null}\n";
    let first = lake.produce("edge-1", 5, &body).await.unwrap();
    assert_eq!((first.accepted, first.duplicates, first.rejected.len(), first.replayed), (2, 1, 1, false));
    let another = lake.another().await;
    for process in [&lake, &another] {
        let again = process.produce("edge-1", 5, &body).await.unwrap();
        assert_eq!((again.accepted, again.duplicates, again.version, again.replayed), (2, 1, first.version, true));
        assert_eq!(again.rejected[0].sentence(), first.rejected[0].sentence());
    }
    assert_eq!(
        lake.sql("SELECT count(*) FROM system.rejects").await,
        ["1"],
        "a repeated request rejects nothing again"
    );
    let gap = lake.produce("edge-1", 7, &body).await.unwrap_err();
    assert!(matches!(gap, IngestError::OutOfSequence { last: 5, .. }), "{gap}");
    assert!(gap.to_string().contains("send 6 first"), "{gap}");
    let next = another.produce("edge-1", 6, &click(3, &day(7))).await.unwrap();
    assert_eq!((next.accepted, next.replayed), (1, false));
    let negative = lake.produce("edge-1", -1, &body).await.unwrap_err();
    assert!(negative.to_string().contains("sequence is -1"), "{negative}");
    assert_eq!(another.count("clicks").await, 3);
    let before = lake.produce("edge-1", 2, &click(4, &day(7))).await.unwrap_err();
    assert!(
        matches!(before, IngestError::Forgotten { sequence: 2, last: 6, .. }),
        "never taken, so no success: {before}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_makes_requests_idempotent_without_an_event_key() {
    let lake = Process::start().await;
    lake.sql("CREATE TABLE clicks (event_id VARCHAR, event_time TIMESTAMP WITH TIME ZONE, ad_id VARCHAR, price_micros BIGINT)").await;
    let body = click(1, &day(7)).repeat(3);
    for _ in 0..3 {
        assert_eq!(lake.produce("p", 1, &body).await.unwrap().accepted, 3);
    }
    let nothing = lake.produce("p", 2, "").await.unwrap();
    assert_eq!((nothing.accepted, nothing.replayed), (0, false));
    assert!(lake.another().await.produce("p", 2, &body).await.unwrap().replayed, "an empty step is a step");
    assert_eq!(lake.count("clicks").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_sent_together_are_taken_in_order() {
    let lake = Process::with_clicks().await;
    // Nobody has written to the table yet, and the first steps take longest to decode.
    let rows = |step: u32| 30 - step;
    let bodies: Vec<String> =
        (0..30).map(|step| (0..rows(step) * 20).map(|row| click(step * 1_000 + row, &day(7))).collect()).collect();
    let steps = bodies.iter().enumerate().map(|(step, body)| lake.produce("p", i64::try_from(step).unwrap(), body));
    for report in join_all(steps).await {
        report.unwrap();
    }
    assert_eq!(lake.count("clicks").await, 20 * 30 * 31 / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_events_are_compared_with_the_lake_when_memory_is_short() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let lake = Process::over(folder.clone(), &[LITTLE_MEMORY]).await;
    lake.sql(CLICKS).await;
    let mut expected = 0;
    for of_day in 1..=7_u32 {
        assert_eq!(lake.append("clicks", &events(of_day * 10_000, of_day)).await.accepted, 2_500);
        expected += 2_500;
    }
    let restarted = Process::over(folder, &[LITTLE_MEMORY]).await;
    for process in [&lake, &restarted] {
        for of_day in 1..=7_u32 {
            let again = process.append("clicks", &events(of_day * 10_000, of_day)).await;
            assert_eq!((again.accepted, again.duplicates), (0, 2_500), "day {of_day}");
            let one = process.append("clicks", &click(of_day * 10_000 + 77, &day(of_day))).await;
            assert_eq!((one.accepted, one.duplicates), (0, 1), "day {of_day}");
        }
    }
    // New events of an old day, twice in one request and once more.
    let late = click(77, &day(1)).repeat(2);
    assert_eq!(restarted.append("clicks", &late).await.accepted, 1);
    assert_eq!(lake.append("clicks", &late).await.accepted, 0);
    assert_eq!(lake.count("clicks").await, expected + 1);
    let states = restarted.app.ingestor.states();
    let state = states.iter().find(|state| state.table == "clicks").unwrap();
    let keys = state.keys.as_ref().unwrap();
    assert!(keys.bytes <= 192 << 10 && keys.resident_from.is_some(), "{keys:?}");
    assert!(state.probes > 0 && state.probe_hits > 0, "{state:?}");
}

/// What a random client does: requests of (id, day), some of them together.
type Steps = Vec<(bool, Vec<Vec<(u32, u32)>>)>;

fn steps() -> impl Strategy<Value = Steps> {
    // An event's day follows from its id: a repeat is the same event.
    let event = (0..6_000_u32).prop_map(|id| (id, id % 7 + 1));
    let request = prop::collection::vec(event, 0..900);
    prop::collection::vec((prop::bool::weighted(0.15), prop::collection::vec(request, 1..4)), 1..8)
}

#[test]
fn however_events_come_each_is_taken_once() {
    crate::seeds::property(24, steps(), |steps| async move { check_steps(&steps).await });
}

async fn check_steps(steps: &Steps) -> Result<(), TestCaseError> {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    // Room for some of the days only.
    let memory = [("ingest.key_index_size", "320 KiB")];
    let mut lake = Process::over(folder.clone(), &memory).await;
    lake.sql(CLICKS).await;
    let mut wanted: BTreeMap<u32, u32> = BTreeMap::new();
    for (restart, requests) in steps {
        if *restart {
            lake = Process::over(folder.clone(), &memory).await;
        }
        let bodies: Vec<String> =
            requests.iter().map(|rows| rows.iter().map(|(id, of_day)| click(*id, &day(*of_day))).collect()).collect();
        let reports = join_all(bodies.iter().map(|body| lake.append("clicks", body))).await;
        let before = wanted.len();
        wanted.extend(requests.iter().flatten().copied());
        let accepted: u64 = reports.iter().map(|report| report.accepted).sum();
        prop_assert_eq!(accepted, (wanted.len() - before) as u64);
    }
    let rows =
        lake.sql("SELECT event_id, date_part('day', event_time) FROM clicks ORDER BY CAST(event_id AS INT)").await;
    prop_assert_eq!(rows, wanted.iter().map(|(id, of_day)| format!("{id} {of_day}")).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_queue_holds_is_refused_with_a_time_to_come_back() {
    let lake = Process::over(Arc::new(tempfile::tempdir().unwrap()), &[("ingest.queue_size", "8 KiB")]).await;
    lake.sql(CLICKS).await;
    let bodies: Vec<String> =
        (0..20).map(|request| (0..30).map(|row| click(request * 30 + row, &day(7))).collect()).collect();
    let mut waiting = bodies.clone();
    let mut refused = 0;
    while !waiting.is_empty() {
        let reports = join_all(waiting.iter().map(|body| lake.try_append("clicks", body))).await;
        let mut again = Vec::new();
        for (body, report) in waiting.into_iter().zip(reports) {
            match report {
                Ok(report) => assert_eq!(report.accepted, 30),
                Err(IngestError::Busy { retry_after, .. }) => {
                    assert!(!retry_after.duration().is_zero());
                    refused += 1;
                    again.push(body);
                }
                Err(error) => panic!("{error}"),
            }
        }
        waiting = again;
    }
    assert!(refused > 0, "20 requests of 2 KiB at once fitted into 8 KiB");
    assert_eq!(lake.count("clicks").await, 600);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_event_is_in_the_next_answer() {
    let lake = Process::with_clicks().await;
    for id in 1..=40 {
        assert_eq!(lake.append("clicks", &click(id, &day(7))).await.accepted, 1);
        assert_eq!(lake.count("clicks").await, id as usize);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn late_events_are_taken_and_listed() {
    let lake = Process::with_clicks().await;
    lake.append("clicks", &click(1, "2017-11-07T11:59:59Z")).await;
    lake.append("clicks", &(click(2, "2017-11-05T10:00:00Z") + &click(3, "2017-11-05T11:00:00Z"))).await;
    lake.append("clicks", &click(4, "2017-11-07T11:59:58Z")).await;
    let late = lake.sql("SELECT table_name, partition_start, events, oldest FROM system.late_events").await;
    assert_eq!(late, ["clicks 2017-11-05T00:00:00Z 2 2017-11-05T10:00:00Z"]);
    let state = lake.sql("SELECT watermark, late_events FROM system.ingest WHERE table_name = 'clicks'").await;
    assert_eq!(state, ["2017-11-07T11:59:59Z 2"]);
    let restarted = lake.another().await;
    restarted.append("clicks", &click(5, "2017-11-06T10:00:00Z")).await;
    assert_eq!(restarted.sql("SELECT count(*) FROM system.late_events").await, ["2"], "the watermark is resumed");
}

//! Two processes over one lake and a clock that the test moves.

use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use tempfile::TempDir;

use super::record::LeaseRecord;
use super::*;
use crate::base::{Clock, Span, Timestamp};
use crate::storage::{DocumentVersion, Documents, Fence, StorageError};
use crate::storage::{test_config, test_lake};

const SECOND: Duration = Duration::from_secs(1);

struct World {
    folder: TempDir,
    clock: Clock,
}

impl World {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: Clock::manual(Timestamp(1_700_000_000_000_000)) }
    }

    /// One more process; `port` tells its address.
    async fn process(&self, port: u16) -> Leases {
        let lake = test_lake(&self.folder, &test_config(), self.clock.clone()).await;
        let leases = Leases::new(&lake, self.clock.clone(), &config()).unwrap();
        leases.set_address(address(port));
        leases
    }

    async fn list(&self) -> Vec<LeaseRecord> {
        let lake = test_lake(&self.folder, &test_config(), self.clock.clone()).await;
        Leases::list(&lake).await.unwrap()
    }
}

fn config() -> LeaseConfig {
    LeaseConfig { ttl: Span::from_secs(5), renew: Span::from_millis(1_500), idle_release: Span::from_secs(60) }
}

fn address(port: u16) -> Address {
    Address { http: format!("http://10.0.0.{port}:8080"), grpc: format!("grpc://10.0.0.{port}:50051") }
}

fn held(number: u64) -> Acquired {
    Acquired::Held(Fence::of_lease(number))
}

fn is_held_by(answer: Acquired, port: u16) {
    assert!(matches!(&answer, Acquired::HeldBy { address: found, .. } if *found == address(port)), "{answer:?}");
}

#[tokio::test]
async fn one_holds_it_and_the_other_is_told_where() {
    let world = World::new();
    let (left, right) = (world.process(1).await, world.process(2).await);
    assert_eq!(left.held("clicks"), None);
    assert_eq!(left.acquire("clicks").await.unwrap(), held(1));
    assert_eq!(left.acquire("clicks").await.unwrap(), held(1), "held already: the same fence");
    assert_eq!(left.held("clicks"), Some(Fence::of_lease(1)));
    is_held_by(right.acquire("clicks").await.unwrap(), 1);
    assert_eq!(right.held("clicks"), None);
    assert_eq!(right.acquire("views").await.unwrap(), held(1), "another name is another lease");
}

#[tokio::test]
async fn of_many_at_once_one_gets_it() {
    let world = World::new();
    let mut processes = Vec::new();
    for port in 0..8 {
        processes.push(world.process(port).await);
    }
    let answers = futures::future::join_all(processes.iter().map(|process| process.acquire("clicks"))).await;
    let winners = answers.iter().filter(|answer| matches!(answer, Ok(Acquired::Held(_)))).count();
    let losers = answers.iter().filter(|answer| matches!(answer, Ok(Acquired::HeldBy { .. }))).count();
    assert_eq!((winners, losers), (1, 7), "{answers:?}");
}

#[tokio::test]
async fn a_renewed_lease_stays_and_an_abandoned_one_is_taken_over_after_ttl() {
    let world = World::new();
    let (left, right) = (world.process(1).await, world.process(2).await);
    left.acquire("clicks").await.unwrap();
    is_held_by(right.acquire("clicks").await.unwrap(), 1);
    for _ in 0..10 {
        world.clock.advance(SECOND);
        left.renew_all().await;
        assert_eq!(left.held("clicks"), Some(Fence::of_lease(1)));
        is_held_by(right.acquire("clicks").await.unwrap(), 1);
    }
    // From here on nobody renews: the holder stops before the observer takes over.
    world.clock.advance(Duration::from_millis(4_600));
    assert_eq!(left.held("clicks"), None, "the holder must stop before its lease can be taken");
    is_held_by(right.acquire("clicks").await.unwrap(), 1);
    world.clock.advance(Duration::from_millis(400));
    assert_eq!(right.acquire("clicks").await.unwrap(), held(2));
    // The old holder comes back: it finds out, and is sent away.
    left.renew_all().await;
    assert_eq!(left.held("clicks"), None);
    is_held_by(left.acquire("clicks").await.unwrap(), 2);
}

#[tokio::test]
async fn an_observer_that_has_just_come_waits_the_whole_ttl() {
    let world = World::new();
    world.process(1).await.acquire("clicks").await.unwrap();
    world.clock.advance(SECOND * 3600);
    let late = world.process(2).await;
    is_held_by(late.acquire("clicks").await.unwrap(), 1);
    world.clock.advance(Duration::from_millis(4_999));
    is_held_by(late.acquire("clicks").await.unwrap(), 1);
    world.clock.advance(Duration::from_millis(300));
    assert_eq!(late.acquire("clicks").await.unwrap(), held(2));
}

#[tokio::test]
async fn a_holder_that_overslept_keeps_what_nobody_took() {
    let world = World::new();
    let left = world.process(1).await;
    left.acquire("clicks").await.unwrap();
    world.clock.advance(SECOND * 20);
    assert_eq!(left.held("clicks"), None);
    left.renew_all().await;
    assert_eq!(left.held("clicks"), Some(Fence::of_lease(1)), "nobody came between");
    world.clock.advance(SECOND * 20);
    assert_eq!(left.acquire("clicks").await.unwrap(), held(2), "asked before the renewal: a new fence");
}

#[tokio::test]
async fn what_is_given_back_is_free_at_once() {
    let world = World::new();
    let (left, right) = (world.process(1).await, world.process(2).await);
    left.acquire("clicks").await.unwrap();
    left.acquire("views").await.unwrap();
    left.renew_all().await;
    left.release_all().await;
    assert_eq!(left.held("clicks"), None);
    assert_eq!(right.acquire("clicks").await.unwrap(), held(2));
    assert_eq!(right.acquire("views").await.unwrap(), held(2));
    is_held_by(left.acquire("clicks").await.unwrap(), 2);
    left.release("clicks").await.unwrap();
    assert_eq!(right.held("clicks"), Some(Fence::of_lease(2)), "who does not hold it gives nothing back");
}

#[tokio::test]
async fn an_unused_lease_is_given_back_and_a_used_one_is_not() {
    let world = World::new();
    let (left, right) = (world.process(1).await, world.process(2).await);
    left.acquire("clicks").await.unwrap();
    left.acquire("views").await.unwrap();
    for _ in 0..61 {
        world.clock.advance(SECOND);
        left.renew_all().await;
        assert!(left.held("clicks").is_some());
    }
    assert_eq!(right.acquire("views").await.unwrap(), held(2));
    is_held_by(right.acquire("clicks").await.unwrap(), 1);
}

#[tokio::test]
async fn a_renewal_whose_answer_was_lost_is_no_loss() {
    let world = World::new();
    let left = world.process(1).await;
    left.acquire("clicks").await.unwrap();
    // The renewal landed, but this process never heard of it.
    let record = LeaseRecord { renewals: 1, ..world.list().await.remove(0) };
    let file = world.folder.path().join("documents/leases/clicks").join(format!("{:020}.json", 2));
    let header = format!("{{\"put\":\"{}\"}}\n", uuid::Uuid::new_v4());
    std::fs::write(file, [header.as_bytes(), &record.encode().unwrap()].concat()).unwrap();
    world.clock.advance(SECOND * 2);
    left.renew_all().await;
    assert_eq!(left.held("clicks"), Some(Fence::of_lease(1)));
    assert_eq!(world.list().await[0].renewals, 2);
    left.release("clicks").await.unwrap();
    assert_eq!(world.list().await[0].holder, None);
}

#[tokio::test]
async fn the_list_says_who_holds_what() {
    let world = World::new();
    let (left, right) = (world.process(1).await, world.process(2).await);
    assert_eq!(world.list().await, []);
    left.acquire("clicks").await.unwrap();
    right.acquire("views").await.unwrap();
    for _ in 0..20 {
        world.clock.advance(SECOND);
        left.renew_all().await;
    }
    let list = world.list().await;
    let shown: Vec<_> =
        list.iter().map(|lease| (lease.name.as_str(), &lease.address, lease.fence, lease.renewals)).collect();
    assert_eq!(shown, [("clicks", &address(1), 1, 20), ("views", &address(2), 1, 0)]);
    assert_eq!(list[0].renewed_at, world.clock.now());
    let files = std::fs::read_dir(world.folder.path().join("documents/leases/clicks")).unwrap().count();
    assert!(files <= 4, "{files} versions of a lease are kept");
}

#[test]
fn a_config_in_which_one_lost_renewal_ends_a_lease_is_refused() {
    let wrong = LeaseConfig { renew: Span::from_secs(2), ..config() };
    let error = wrong.check().unwrap_err().to_string();
    assert!(error.contains("lease.renew (2 seconds)") && error.contains("a third of lease.ttl (5 seconds)"), "{error}");
}

#[tokio::test]
async fn the_stored_form_is_pinned() {
    let stored = r#"{"format":1,"holder":"00000000-0000-0000-0000-000000000007","http":"https://a:1","grpc":"grpc+tls://a:2","fence":3,"renewals":4,"renewed_at":5,"process":{"machine":"m","pid":6,"started":7}}"#;
    let documents = Documents::new(Arc::new(InMemory::new()), "leases/clicks");
    documents.put_after(DocumentVersion(0), stored.into()).await.unwrap();
    let (_, content) = documents.latest().await.unwrap().unwrap();
    let record = LeaseRecord::decode("clicks", &content).unwrap();
    assert_eq!((record.fence, record.renewals, &*record.address.grpc), (3, 4, "grpc+tls://a:2"));
    assert_eq!(record.encode().unwrap(), stored);
    let earlier = stored.replace("https://", "").replace("grpc+tls://", "");
    let address = LeaseRecord::decode("clicks", earlier.as_bytes()).unwrap().address;
    assert_eq!((&*address.http, &*address.grpc), ("http://a:1", "grpc://a:2"), "written by a process that knew no TLS");
    let later = stored.replace("\"format\":1", "\"format\":2");
    let error = LeaseRecord::decode("clicks", later.as_bytes()).unwrap_err();
    assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
}

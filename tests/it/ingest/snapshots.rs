//! Snapshot tables: each load is the new state of its keys.

use super::*;

async fn products() -> Process {
    let lake = Process::start().await;
    lake.sql("CREATE TABLE products (id BIGINT NOT NULL, market VARCHAR NOT NULL, name VARCHAR) WITH (kind='snapshot', key='id, market')")
        .await;
    lake
}

async fn state(lake: &Process) -> Vec<String> {
    lake.sql("SELECT id, market, name FROM products ORDER BY id, market").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_replaces_its_keys_and_keeps_the_others() {
    let lake = products().await;
    let first = lake.file("1.csv", "id,market,name\n1,KR,one\n2,KR,two\n2,US,zwei\n");
    assert_eq!(counts(&lake.load("products", &first, &[]).await.unwrap()), (FileStatus::Loaded, 3, 0, 0));
    let second = lake.file("2.csv", "id,market,name\n2,KR,early\n3,KR,three\n2,KR,late\n,KR,bad\n");
    let report = lake.load("products", &second, &[]).await.unwrap();
    assert_eq!(counts(&report), (FileStatus::Loaded, 2, 1, 1), "the last row of a key wins");
    assert_eq!(state(&lake).await, ["1 KR one", "2 KR late", "2 US zwei", "3 KR three"]);
    // An old state, loaded again, must not come back.
    assert_eq!(lake.load("products", &first, &[]).await.unwrap().status, FileStatus::AlreadyLoaded);
    assert_eq!(state(&lake).await[1], "2 KR late");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_inserts_upsert_too() {
    let lake = products().await;
    let report = lake
        .append(
            "products",
            "{\"id\":1,\"market\":\"KR\",\"name\":\"a\"}\n{\"id\":1,\"market\":\"KR\",\"name\":\"b\"}\n",
        )
        .await;
    assert_eq!((report.accepted, report.duplicates), (1, 1));
    lake.sql("INSERT INTO products VALUES (1, 'KR', 'c'), (4, 'KR', 'd')").await;
    assert_eq!(state(&lake).await, ["1 KR c", "4 KR d"]);
    let nothing = lake.append("products", "").await;
    assert_eq!(nothing.accepted, 0);
    assert_eq!(state(&lake).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_lose_no_key() {
    let one = products().await;
    let other = one.another().await;
    let row = |id: u64, name: &str| format!("{{\"id\":{id},\"market\":\"KR\",\"name\":\"{name}\"}}\n");
    for id in 0..8 {
        let (left, right) = (row(id, "left"), row(id + 1, "right"));
        let (left, right) = tokio::join!(one.append("products", &left), other.append("products", &right));
        assert_eq!((left.accepted, right.accepted), (1, 1));
    }
    assert_eq!(state(&one.another().await).await.len(), 9);
}

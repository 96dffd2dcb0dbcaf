//! How old an answer is (`data_as_of`), and how old a session lets it be (`adlake.max_staleness`).

use std::time::Duration;

use adlake::base::Timestamp;
use adlake::query::Outcome;
use futures::TryStreamExt;

use crate::process::{NOON, Process, texts};

const SALES: &str = "CREATE TABLE sales (ts TIMESTAMP WITH TIME ZONE NOT NULL, shop VARCHAR, amount BIGINT) \
     WITH (event_time='ts', lateness='100000 days')";
const BY_SHOP: &str = "SELECT shop, sum(amount) AS total FROM sales GROUP BY shop";

/// The moment `seconds` after noon.
fn after(seconds: i64) -> Timestamp {
    Timestamp(NOON.0 + seconds * 1_000_000)
}

/// Looks at logs each time, so that moments are exact.
async fn lake(folder: &tempfile::TempDir) -> Process {
    let lake = Process::over(folder, &[("storage.poll_interval", "0 s")]).await;
    lake.run(SALES).await;
    lake
}

async fn sell(lake: &Process, shop: &str, amount: i64) {
    lake.run(&format!("INSERT INTO sales VALUES (TIMESTAMPTZ '2017-11-07T11:00:00Z', '{shop}', {amount})")).await;
}

/// Rows of a query in order, and the moment they are true for.
async fn asked(lake: &Process, sql: &str) -> (Vec<String>, Timestamp) {
    let answer = lake.answer(&lake.session, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let Outcome::Rows(rows) = answer.outcome else { panic!("{sql} gave no rows") };
    let mut rows = texts(&rows.try_collect::<Vec<_>>().await.unwrap(), "|", "∅");
    rows.sort();
    (rows, answer.data_as_of)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_may_do_without_what_a_view_has_not_absorbed_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    lake.run(&format!("CREATE MATERIALIZED VIEW by_shop WITH (refresh='manual') AS {BY_SHOP}")).await;
    sell(&lake, "a", 1).await;
    lake.run("REFRESH MATERIALIZED VIEW by_shop").await;
    lake.clock.set(after(60));
    sell(&lake, "a", 10).await;
    lake.clock.set(after(120));
    sell(&lake, "b", 100).await;
    lake.clock.set(after(180));
    let fresh = (vec!["a|11".to_owned(), "b|100".to_owned()], after(180));
    for query in ["SELECT * FROM by_shop", BY_SHOP] {
        lake.run("RESET adlake.max_staleness").await;
        lake.clock.set(after(180));
        assert_eq!(asked(&lake, query).await, fresh, "{query}: nobody has asked for less");
        lake.run("SET adlake.max_staleness = '90 seconds'").await;
        assert_eq!(asked(&lake, query).await, fresh, "{query}: what is lacking is older than that");
        lake.run("SET adlake.max_staleness = '2 minutes'").await;
        // Everything committed before the first sale that is lacking is there.
        let stale = (vec!["a|1".to_owned()], after(60));
        assert_eq!(asked(&lake, query).await, stale, "{query}");
        lake.clock.set(after(181));
        assert_eq!(asked(&lake, query).await.0, fresh.0, "{query}: a second later it is too old");
        lake.run("SET adlake.max_staleness = 0").await;
        assert_eq!(asked(&lake, query).await.0, fresh.0, "{query}");
    }
}

/// Rows that went are lacking as rows that came are.
#[tokio::test(flavor = "multi_thread")]
async fn stored_rows_are_no_answer_about_other_rows() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    lake.run("SET adlake.max_staleness = '1 hour'").await;
    sell(&lake, "a", 1).await;
    lake.run(&format!("CREATE MATERIALIZED VIEW by_shop WITH (refresh='manual') AS {BY_SHOP}")).await;
    assert_eq!(asked(&lake, "SELECT * FROM by_shop").await, (vec!["a|1".to_owned()], NOON), "nothing is stored yet");
    lake.run("REFRESH MATERIALIZED VIEW by_shop").await;
    lake.clock.set(after(60));
    sell(&lake, "a", 10).await;
    assert_eq!(asked(&lake, "SELECT * FROM by_shop").await, (vec!["a|1".to_owned()], after(60)));
    // Tables themselves are read as they are, whatever is allowed.
    assert_eq!(
        asked(&lake, "SELECT sum(amount), max(ts) FROM sales WHERE amount > 0").await.0,
        ["11|2017-11-07T11:00:00Z"]
    );
    // What is written is computed from the newest rows.
    lake.run("CREATE TABLE copied (shop VARCHAR, total BIGINT)").await;
    lake.run("INSERT INTO copied SELECT * FROM by_shop").await;
    assert_eq!(lake.run("SELECT * FROM copied").await, ["a|11"]);
    assert!(lake.run("VERIFY MATERIALIZED VIEW by_shop").await.is_empty());
}

/// Where a range of time begins inside a window, the rest of the window is read from the table as it is now.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_two_moments_are_not_put_together() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    let by_hour = "SELECT date_trunc('hour', ts) AS hour, sum(amount) AS total FROM sales GROUP BY 1";
    lake.run(&format!("CREATE MATERIALIZED VIEW by_hour WITH (refresh='manual') AS {by_hour}")).await;
    sell(&lake, "a", 1).await;
    lake.run("REFRESH MATERIALIZED VIEW by_hour").await;
    lake.clock.set(after(60));
    sell(&lake, "a", 10).await;
    lake.run("INSERT INTO sales VALUES (TIMESTAMPTZ '2017-11-07T10:45:00Z', 'a', 100)").await;
    lake.run("SET adlake.max_staleness = '1 hour'").await;
    let since = |time: &str| format!("SELECT sum(amount) FROM sales WHERE ts >= TIMESTAMPTZ '2017-11-07T{time}Z'");
    assert_eq!(asked(&lake, &since("10:00:00")).await, (vec!["1".to_owned()], after(60)), "whole windows");
    assert_eq!(asked(&lake, &since("10:30:00")).await, (vec!["111".to_owned()], after(60)), "not 1 and 100");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_view_is_true_for_the_moment_its_refresh_began_to_read() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    let shops = "CREATE MATERIALIZED VIEW shops WITH (strategy='full') AS SELECT DISTINCT shop FROM sales";
    lake.run(shops).await;
    assert_eq!(asked(&lake, "SELECT * FROM shops").await, (Vec::new(), Timestamp(0)), "it holds nothing yet");
    sell(&lake, "a", 1).await;
    lake.clock.set(after(10));
    lake.run("REFRESH MATERIALIZED VIEW shops").await;
    lake.clock.set(after(20));
    sell(&lake, "b", 1).await;
    assert_eq!(asked(&lake, "SELECT * FROM shops").await, (vec!["a".to_owned()], after(10)));
    let joined = "SELECT count(*) FROM shops JOIN sales ON shops.shop = sales.shop";
    assert_eq!(asked(&lake, joined).await, (vec!["1".to_owned()], after(10)), "the oldest of what is read");
    assert_eq!(asked(&lake, "SELECT count(*) FROM sales").await.1, after(20));
    // Files are put together without bringing rows: the moment stays.
    lake.run("OPTIMIZE TABLE shops").await;
    let another = Process::over(&folder, &[]).await;
    another.clock.set(lake.clock.now());
    assert_eq!(asked(&another, "SELECT * FROM shops").await.1, after(10), "it is kept in the lake");
    // A view on it is no newer; one that is refreshed from it neither.
    lake.run("CREATE VIEW named AS SELECT upper(shop) AS shop FROM shops").await;
    assert_eq!(asked(&lake, "SELECT * FROM named").await.1, after(10));
    lake.run("CREATE MATERIALIZED VIEW again WITH (strategy='full') AS SELECT DISTINCT shop FROM shops").await;
    lake.clock.set(after(30));
    lake.run("REFRESH MATERIALIZED VIEW again").await;
    assert_eq!(asked(&lake, "SELECT * FROM again").await.1, after(10));
    lake.run("REFRESH MATERIALIZED VIEW shops").await;
    assert_eq!(asked(&lake, "SELECT * FROM shops").await, (vec!["a".to_owned(), "b".to_owned()], after(30)));
}

/// A commit of another process that was not looked at yet is not claimed.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_no_newer_than_the_look_at_its_table() {
    let folder = tempfile::tempdir().unwrap();
    let writer = lake(&folder).await;
    let reader = Process::over(&folder, &[("storage.poll_interval", "1 hour")]).await;
    assert_eq!(asked(&reader, "SELECT * FROM sales").await, (Vec::new(), NOON));
    writer.clock.set(after(5));
    sell(&writer, "a", 1).await;
    reader.clock.advance(Duration::from_secs(10));
    assert_eq!(asked(&reader, "SELECT * FROM sales").await, (Vec::new(), NOON));
    assert_eq!(asked(&writer, "SELECT shop FROM sales").await, (vec!["a".to_owned()], after(5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_length_of_time_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    let refused = [
        ("SET adlake.max_staleness = '5'", "write a number and a unit"),
        ("SET adlake.max_staleness = 'soon'", "write a number and a unit"),
        ("SET adlake.max_staleness = '-5 minutes'", "is negative"),
        ("SET adlake.max_stalness = '5 minutes'", "did you mean 'adlake.max_staleness'?"),
    ];
    for (sql, reason) in refused {
        let error = lake.sql(sql).await.unwrap_err();
        assert!(error.contains(reason), "{sql}: {error}");
    }
    assert_eq!(lake.run("SHOW adlake.max_staleness").await, ["0 seconds"]);
    lake.run("SET adlake.max_staleness = '300 s'").await;
    assert_eq!(lake.run("SHOW adlake.max_staleness").await, ["5 minutes"]);
    lake.run("RESET ALL").await;
    assert_eq!(lake.run("SHOW adlake.max_staleness").await, ["0 seconds"]);
}

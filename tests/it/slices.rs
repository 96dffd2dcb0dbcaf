//! Rebuilding a view in slices gives what rebuilding it at once gives, however few rows a slice has.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::lab::Lab;

const FACTS: &str = "CREATE TABLE facts (ts TIMESTAMP WITH TIME ZONE NOT NULL, k VARCHAR, c VARCHAR, n BIGINT) \
     WITH (event_time='ts', partition_by='day(ts)', sort_by='k, ts')";

/// Laid out as the source is, or otherwise; the last has no order at all.
const VIEWS: [(&str, &str); 6] = [
    (
        "WITH (refresh='manual', partition_by='day(minute)', sort_by='k, minute')",
        "SELECT k, date_trunc('minute', ts) AS minute, c, count(*) AS rows, sum(n) AS total FROM facts GROUP BY 1, 2, 3",
    ),
    (
        "WITH (refresh='manual', partition_by='month(day)', sort_by='k')",
        "SELECT k, date_trunc('day', ts) AS day, max(n) AS most FROM facts GROUP BY 1, 2",
    ),
    ("WITH (refresh='manual', sort_by='k, c')", "SELECT k, c, count(*) AS rows FROM facts WHERE n > 0 GROUP BY 1, 2"),
    (
        "WITH (refresh='manual', partition_by='hour(hour)')",
        "SELECT date_trunc('hour', ts) AS hour, count(n) AS counted FROM facts GROUP BY 1",
    ),
    (
        "WITH (refresh='manual', partition_by='month(week)', sort_by='k')",
        "SELECT k, date_trunc('week', ts) AS week, count(*) AS rows FROM facts GROUP BY 1, 2",
    ),
    ("WITH (refresh='manual')", "SELECT k, avg(n) AS middle FROM facts GROUP BY 1"),
];

#[derive(Clone, Debug)]
struct Fact {
    minute: i64,
    k: Option<&'static str>,
    c: Option<&'static str>,
    n: i64,
}

fn facts() -> impl Strategy<Value = Vec<Fact>> {
    let text = || prop_oneof![Just(None), Just(Some("")), Just(Some("a")), Just(Some("b")), Just(Some("é"))];
    // Around the ends of a day, a week and a month.
    let minute = prop_oneof![-70_i64..70, 1_380_i64..1_500, 43_100_i64..43_300];
    let fact = (minute, text(), text(), -3_i64..4).prop_map(|(minute, k, c, n)| Fact { minute, k, c, n });
    vec(fact, 1..25)
}

impl Fact {
    fn values(&self) -> String {
        let text = |value: Option<&str>| value.map_or("NULL".to_owned(), |value| format!("'{value}'"));
        let moment = chrono::DateTime::from_timestamp(1_509_321_600 + self.minute * 60 + 7, 0).unwrap();
        let moment = moment.format("%Y-%m-%dT%H:%M:%SZ");
        format!("(TIMESTAMPTZ '{moment}', {}, {}, {})", text(self.k), text(self.c), self.n)
    }
}

#[test]
fn slices_of_any_size_give_the_view() {
    crate::seeds::property(16, (vec(facts(), 1..6), 1_u64..30), |(batches, slice_rows)| async move {
        check(&batches, slice_rows).await
    });
}

async fn check(batches: &[Vec<Fact>], slice_rows: u64) -> Result<(), TestCaseError> {
    let lab = Lab::with(&[("materialize.slice_rows", &slice_rows.to_string())]).await;
    lab.run(FACTS).await;
    for (index, (options, query)) in VIEWS.iter().enumerate() {
        lab.run(&format!("CREATE MATERIALIZED VIEW v{index} {options} AS {query}")).await;
    }
    for batch in batches {
        let values = batch.iter().map(Fact::values).collect::<Vec<_>>().join(", ");
        lab.run(&format!("INSERT INTO facts VALUES {values}")).await;
    }
    lab.run("SET adlake.rewrite = off").await;
    for (index, (_, query)) in VIEWS.iter().enumerate() {
        lab.run(&format!("REFRESH MATERIALIZED VIEW v{index} FULL")).await;
        let (mut view, mut asked) = (lab.rows(&format!("SELECT * FROM v{index}")).await, lab.rows(query).await);
        view.sort();
        asked.sort();
        prop_assert_eq!(view, asked, "v{}", index);
        // No group is in two slices: the stored rows are the groups.
        let groups = lab.rows(&format!("SELECT count(*) FROM ({query})")).await;
        let stored = lab.rows(&format!("SELECT \"rows\" FROM system.tables WHERE name = 'v{index}'")).await;
        if index != 4 {
            prop_assert_eq!(stored, groups, "v{}", index);
        }
    }
    // A declared order is the real order (SCN-1): the scans of stored rows say they are sorted.
    let view = lab.rows("SELECT k, minute, c, rows FROM v0 WHERE k = 'a' ORDER BY k, minute, c").await;
    let query = VIEWS[0].1;
    let asked =
        lab.rows(&format!("SELECT k, minute, c, rows FROM ({query}) WHERE k = 'a' ORDER BY k, minute, c")).await;
    prop_assert_eq!(view, asked);
    Ok(())
}

/// A view that is laid out as its source is rebuilt in slices; the plan of each reads a part of the files.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_rebuild_is_one_commit_of_sorted_files() {
    let lab = Lab::with(&[("materialize.slice_rows", "5000")]).await;
    lab.run(FACTS).await;
    // Files of three pages, which are cut at pages.
    for part in 0..2 {
        lab.run(&format!(
            "INSERT INTO facts SELECT to_timestamp(1767225600 + value * 7 % 172800), concat('k', CAST(value % 97 AS VARCHAR)), \
             'c', value FROM generate_series({}, {})",
            part * 60_000,
            part * 60_000 + 59_999
        ))
        .await;
    }
    let (options, query) = VIEWS[0];
    lab.run(&format!("CREATE MATERIALIZED VIEW v {options} AS {query}")).await;
    lab.run("REFRESH MATERIALIZED VIEW v FULL").await;
    let commits =
        lab.rows("SELECT count(*) FROM system.commits WHERE table_name = 'v' AND operation = 'REFRESH'").await;
    assert_eq!(commits, ["1"]);
    // One sorted file for each day, though each day was worked through in slices.
    assert_eq!(lab.rows("SELECT files FROM system.tables WHERE name = 'v'").await, ["2"]);
    lab.run("SET adlake.rewrite = off").await;
    let both = [format!("SELECT * FROM ({query})"), "SELECT * FROM v".to_owned()];
    let mut answers = Vec::new();
    for sql in both {
        let mut rows = lab.rows(&sql).await;
        rows.sort();
        answers.push(rows);
    }
    assert_eq!(answers[0], answers[1]);
}

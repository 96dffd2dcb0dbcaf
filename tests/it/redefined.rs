//! Views whose definition, or that of a relation below, is replaced: nothing that was decided or stored before is taken for theirs.

use std::sync::Arc;

use crate::materialize::FACTS;
use crate::process::Process;

/// Views are planned again only when they, or what they read, are defined otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_decided_of_a_view_holds_until_what_it_reads_changes() {
    let lab = crate::lab::Lab::open().await;
    lab.run(FACTS).await;
    lab.run("CREATE VIEW seen AS SELECT * FROM facts WHERE n > 0").await;
    lab.run("CREATE MATERIALIZED VIEW v WITH (refresh='manual') AS SELECT k, count(*) AS rows FROM seen GROUP BY k")
        .await;
    let decision = || lab.engine.view_decision("v").unwrap();
    let first = decision();
    lab.run("CREATE TABLE other (a BIGINT)").await;
    lab.run("CREATE MATERIALIZED VIEW w WITH (refresh='manual') AS SELECT c, count(*) AS rows FROM facts GROUP BY c")
        .await;
    assert!(Arc::ptr_eq(&first, &decision()), "nothing it reads has changed");
    lab.run("CREATE OR REPLACE VIEW seen AS SELECT * FROM facts WHERE n > 1").await;
    assert!(!Arc::ptr_eq(&first, &decision()), "a view below is another one");
    let second = decision();
    lab.run("ALTER TABLE facts ADD COLUMN extra BIGINT").await;
    assert!(!Arc::ptr_eq(&second, &decision()), "its table has other columns");
    // Rewriting follows: the view is found through the view below it, and not once it may not be used.
    lab.run("INSERT INTO facts (ts, k, n) SELECT to_timestamp(1509530400 + value), 'a', 2 FROM generate_series(0, 99)")
        .await;
    lab.run("REFRESH MATERIALIZED VIEW v").await;
    let explain = "EXPLAIN SELECT count(*) FROM facts WHERE n > 1 GROUP BY k";
    assert!(lab.rows(explain).await.join(" ").contains("rollup.v"));
    lab.run("ALTER MATERIALIZED VIEW v SET (rewrite='off')").await;
    assert!(!lab.rows(explain).await.join(" ").contains("rollup.v"));
}

/// The log of the view's table still has the version that was absorbed by the design before.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_below_that_is_changed_and_changed_back_leaves_no_rows_of_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Process::over(&folder, &[]).await;
    lake.run(FACTS).await;
    let below = async |above: i64| {
        lake.run(&format!("CREATE OR REPLACE VIEW seen AS SELECT * FROM facts WHERE n > {above}")).await;
    };
    below(0).await;
    let view = "SELECT k, count(*) AS rows FROM seen GROUP BY k";
    lake.run(&format!("CREATE MATERIALIZED VIEW v WITH (refresh='manual') AS {view}")).await;
    lake.run("INSERT INTO facts (ts, k, n) VALUES (TIMESTAMPTZ '2017-11-05T10:00:00Z', 'a', 1)").await;
    lake.run("INSERT INTO facts (ts, k, n) VALUES (TIMESTAMPTZ '2017-11-05T10:00:00Z', 'a', 2)").await;
    for (above, expected) in [(0, "a|2"), (1, "a|1"), (0, "a|2"), (1, "a|1")] {
        below(above).await;
        assert_eq!(lake.all(&lake.session, "v").await.unwrap(), [expected], "before the refresh");
        lake.run("REFRESH MATERIALIZED VIEW v").await;
        assert_eq!(lake.all(&lake.session, "v").await.unwrap(), [expected], "after it");
    }
}

/// DataFusion prints the two of each pair alike.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_below_that_only_looks_as_before_leaves_no_rows_of_the_other() {
    let listed = |last: i64| {
        format!(
            "SELECT ts, k, n AS x FROM facts JOIN (VALUES (10), (11), (12), (13), (14), ({last})) AS t (m) ON n = m"
        )
    };
    let pairs = [
        ["SELECT ts, k, n - 1 - 1 AS x FROM facts", "SELECT ts, k, n - (1 - 1) AS x FROM facts"].map(str::to_owned),
        ["NOT (b OR n > 5)", "NOT b OR n > 5"].map(|which| format!("SELECT ts, k, n AS x FROM facts WHERE {which}")),
        ["(b OR n > 5) IS NULL", "b OR n > 5 IS NULL"]
            .map(|which| format!("SELECT ts, k, n AS x FROM facts WHERE {which}")),
        [1, 7].map(listed),
    ];
    for [before, after] in pairs {
        let folder = tempfile::tempdir().unwrap();
        let lake = Process::over(&folder, &[]).await;
        lake.run(FACTS).await;
        lake.run(&format!("CREATE VIEW seen AS {before}")).await;
        let parts = "SELECT k, sum(x) AS total FROM seen GROUP BY k";
        let times = "SELECT date_trunc('day', ts) AS day, sum(DISTINCT x) AS total FROM seen GROUP BY 1";
        for (name, view) in [("parts", parts), ("times", times)] {
            lake.run(&format!("CREATE MATERIALIZED VIEW {name} WITH (refresh='manual') AS {view}")).await;
        }
        let rows = "('a', 1, false), ('a', 7, true), ('a', 3, NULL)";
        let insert = "INSERT INTO facts (ts, k, n, b) SELECT TIMESTAMPTZ '2017-11-05T10:00:00Z', k, n, b";
        lake.run(&format!("{insert} FROM (VALUES {rows}) AS t (k, n, b)")).await;
        let check = async |moment: &str| {
            for (name, view) in [("parts", parts), ("times", times)] {
                let asked = lake.all(&lake.plain, &format!("({view})")).await;
                assert_eq!(lake.all(&lake.session, name).await, asked, "{name} over {after}, {moment}");
            }
        };
        for name in ["parts", "times"] {
            lake.run(&format!("REFRESH MATERIALIZED VIEW {name}")).await;
        }
        let first = lake.all(&lake.session, "parts").await.unwrap();
        lake.run(&format!("CREATE OR REPLACE VIEW seen AS {after}")).await;
        check("before the refresh").await;
        assert_ne!(lake.all(&lake.session, "parts").await.unwrap(), first, "{after} is another question");
        for name in ["parts", "times"] {
            lake.run(&format!("REFRESH MATERIALIZED VIEW {name}")).await;
        }
        check("after it").await;
    }
}

/// Stored rows are not cast to what they were: a fraction would be lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_below_that_gives_another_type_is_not_stored_as_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Process::over(&folder, &[]).await;
    lake.run(FACTS).await;
    let below = async |x: &str| {
        lake.run(&format!("CREATE OR REPLACE VIEW seen AS SELECT k, {x} AS x FROM facts")).await;
    };
    below("n").await;
    for (name, view) in
        [("parts", "SELECT k, sum(x) AS total FROM seen GROUP BY k"), ("whole", "SELECT k, x FROM seen")]
    {
        lake.run(&format!("CREATE MATERIALIZED VIEW {name} WITH (refresh='manual') AS {view}")).await;
    }
    lake.run("INSERT INTO facts (ts, k, n) VALUES (TIMESTAMPTZ '2017-11-05T10:00:00Z', 'a', 1)").await;
    let refreshed = async || {
        let mut refused = Vec::new();
        for name in ["parts", "whole"] {
            if let Err(error) = lake.sql(&format!("REFRESH MATERIALIZED VIEW {name}")).await {
                assert!(error.contains("use CREATE OR REPLACE MATERIALIZED VIEW"), "{error}");
                refused.push(name);
            }
        }
        refused
    };
    assert_eq!(refreshed().await, [""; 0]);
    below("n + 0.5").await;
    assert_eq!(lake.all(&lake.session, "parts").await.unwrap(), ["a|1.5"]);
    assert_eq!(refreshed().await, ["parts", "whole"]);
    assert_eq!(lake.all(&lake.session, "parts").await.unwrap(), ["a|1.5"]);
    assert_eq!(lake.all(&lake.session, "whole").await.unwrap(), [""; 0], "its rows are those of another query");
    below("n").await;
    assert_eq!(refreshed().await, [""; 0]);
    assert_eq!(lake.all(&lake.session, "parts").await.unwrap(), ["a|1"]);
}

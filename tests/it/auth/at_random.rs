//! SEC-1 at random: whatever policies and masks hold, a caller's answer is that of the query over relations that hold only what
//! the caller sees. Those are written out as subqueries, for a session that sees all and uses no view.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use adlake::auth::Identity;
use adlake::query::{Origin, Session};
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use crate::process::Process;

/// Answers of views that `verify` computed again from the tables, over all seeds: whoever asked, whatever held.
static CHECKED: AtomicU64 = AtomicU64::new(0);

const SEEDS: u64 = 6;
const QUERIES: usize = 24;

/// A relation, what it is made of (`{name}` is another relation), its columns that masks may be on, and predicates of policies.
struct Made {
    name: &'static str,
    /// None: a table.
    query: Option<&'static str>,
    columns: &'static [(&'static str, &'static str)],
    predicates: &'static [&'static str],
}

const RELATIONS: [Made; 10] = [
    Made {
        name: "facts",
        query: None,
        columns: &[
            ("id", "BIGINT"),
            ("ts", "TIMESTAMP WITH TIME ZONE"),
            ("region", "VARCHAR"),
            ("item", "VARCHAR"),
            ("price", "BIGINT"),
        ],
        predicates: &[
            "region = current_attribute('region')",
            "price < 50",
            "item IN ('a', 'b')",
            "region <> 'KR' OR price IS NULL",
            "ts >= TIMESTAMPTZ '2017-11-03T05:30:00Z'",
            "item LIKE 'a%'",
            "NOT (price BETWEEN 10 AND 40)",
        ],
    },
    Made {
        name: "goods",
        query: None,
        columns: &[("item", "VARCHAR"), ("category", "VARCHAR"), ("maker", "VARCHAR")],
        predicates: &[
            "maker = current_attribute('region')",
            "category IN ('x', 'y')",
            "category IS NULL OR item > 'a'",
        ],
    },
    Made {
        name: "sold",
        query: Some("SELECT region, item, price FROM {facts} AS f WHERE price IS NOT NULL"),
        columns: &[("region", "VARCHAR"), ("item", "VARCHAR"), ("price", "BIGINT")],
        predicates: &["region = current_attribute('region')", "price > 20"],
    },
    Made {
        name: "priced",
        query: Some("SELECT f.region, g.category, f.price FROM {facts} AS f JOIN {goods} AS g ON f.item = g.item"),
        columns: &[("region", "VARCHAR"), ("category", "VARCHAR"), ("price", "BIGINT")],
        predicates: &["category <> 'x'"],
    },
    Made {
        name: "by_item",
        query: Some(
            "SELECT region, item, date_trunc('hour', ts) AS hour, count(*) AS n, sum(price) AS total, min(price) AS least \
             FROM {facts} AS f GROUP BY 1, 2, 3",
        ),
        columns: &[
            ("region", "VARCHAR"),
            ("item", "VARCHAR"),
            ("hour", "TIMESTAMP WITH TIME ZONE"),
            ("n", "BIGINT"),
            ("total", "BIGINT"),
            ("least", "BIGINT"),
        ],
        predicates: &["item <> 'b'", "region = current_attribute('region')", "n > 1"],
    },
    Made {
        name: "by_category",
        query: Some(
            "SELECT g.category, f.region, count(*) AS n, sum(f.price) AS total FROM {facts} AS f \
             JOIN {goods} AS g ON f.item = g.item GROUP BY 1, 2",
        ),
        columns: &[("category", "VARCHAR"), ("region", "VARCHAR"), ("n", "BIGINT"), ("total", "BIGINT")],
        predicates: &["category = 'x' OR region = current_attribute('region')"],
    },
    Made {
        name: "by_day",
        query: Some(
            "SELECT date_trunc('day', hour) AS day, item, sum(n) AS n, sum(total) AS total FROM {by_item} AS v GROUP BY 1, 2",
        ),
        columns: &[("day", "TIMESTAMP WITH TIME ZONE"), ("item", "VARCHAR"), ("n", "BIGINT"), ("total", "BIGINT")],
        predicates: &["item <> 'c'"],
    },
    Made {
        name: "reach",
        query: Some("SELECT region, approx_distinct(item) AS items, count(*) AS n FROM {facts} AS f GROUP BY 1"),
        columns: &[("region", "VARCHAR"), ("items", "BIGINT"), ("n", "BIGINT")],
        predicates: &["region IS NOT NULL"],
    },
    Made {
        name: "kinds",
        query: Some("SELECT DISTINCT region, item FROM {facts} AS f"),
        columns: &[("region", "VARCHAR"), ("item", "VARCHAR")],
        predicates: &["item IN ('a', 'c')"],
    },
    // What does not merge: kept by partitions of time.
    Made {
        name: "variety",
        query: Some(
            "SELECT date_trunc('day', ts) AS day, region, count(DISTINCT item) AS items FROM {facts} AS f GROUP BY 1, 2",
        ),
        columns: &[("day", "TIMESTAMP WITH TIME ZONE"), ("region", "VARCHAR"), ("items", "BIGINT")],
        predicates: &["region = current_attribute('region')", "items > 3"],
    },
];

/// How the relations that are no tables are kept.
const MADE: [(&str, &str); 8] = [
    ("sold", "VIEW sold"),
    ("priced", "VIEW priced"),
    ("by_item", "MATERIALIZED VIEW by_item WITH (refresh='manual', verify='100%')"),
    ("by_category", "MATERIALIZED VIEW by_category WITH (refresh='manual', verify='100%')"),
    ("by_day", "MATERIALIZED VIEW by_day WITH (refresh='manual')"),
    ("reach", "MATERIALIZED VIEW reach WITH (refresh='manual')"),
    ("kinds", "MATERIALIZED VIEW kinds WITH (refresh='manual', strategy='full')"),
    ("variety", "MATERIALIZED VIEW variety WITH (refresh='manual')"),
];

/// What a query may be made of: relations, keys, calls, filters.
struct Asked(&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

const ASKED: [Asked; 10] = [
    Asked(
        "{facts} AS f",
        &["f.region", "f.item", "date_trunc('day', f.ts)", "date_trunc('hour', f.ts)"],
        &[
            "count(*)",
            "sum(f.price)",
            "min(f.price)",
            "max(f.price)",
            "avg(f.price)",
            "count(f.price)",
            "approx_distinct(f.item)",
            "count(DISTINCT f.item)",
            "count(*) FILTER (WHERE f.price > 20)",
        ],
        &["f.region = 'KR'", "f.item IN ('a', 'c')", "f.price > 10", "f.ts >= TIMESTAMPTZ '2017-11-04T00:00:00Z'"],
    ),
    Asked(
        "{facts} AS f JOIN {goods} AS g ON f.item = g.item",
        &["g.category", "g.maker", "f.region"],
        &["count(*)", "sum(f.price)", "count(g.maker)", "max(g.maker)", "min(f.price)"],
        &["g.category = 'x'", "f.region <> 'JP'", "g.maker IS NOT NULL"],
    ),
    Asked(
        "{facts} AS f LEFT JOIN {goods} AS g ON f.item = g.item AND g.category <> 'y'",
        &["g.category", "f.item"],
        &["count(*)", "sum(f.price)", "count(g.maker)"],
        &["f.region = 'US'"],
    ),
    Asked("{sold} AS s", &["s.region", "s.item"], &["count(*)", "sum(s.price)", "max(s.price)"], &["s.price < 60"]),
    Asked("{priced} AS p", &["p.region", "p.category"], &["count(*)", "sum(p.price)"], &["p.category IN ('x', 'z')"]),
    Asked(
        "{by_item} AS v",
        &["v.region", "v.item", "date_trunc('day', v.hour)"],
        &["sum(v.n)", "sum(v.total)", "min(v.least)", "count(*)"],
        &["v.item = 'a'", "v.n > 1"],
    ),
    Asked("{by_category} AS v", &["v.category", "v.region"], &["sum(v.n)", "max(v.total)"], &["v.region = 'KR'"]),
    Asked("{by_day} AS v", &["v.day", "v.item"], &["sum(v.n)", "sum(v.total)"], &["v.item <> 'd'"]),
    Asked("{reach} AS v JOIN {kinds} AS k ON v.region = k.region", &["k.item"], &["sum(v.items)", "count(*)"], &[]),
    Asked(
        "{variety} AS v",
        &["v.day", "v.region"],
        &["sum(v.items)", "max(v.items)", "count(*)"],
        &["v.region <> 'JP'"],
    ),
];

/// What holds in one run: by relation, predicates of policies and masked columns.
#[derive(Default, Debug)]
struct Rules {
    policies: Vec<(&'static str, &'static str)>,
    masks: Vec<(&'static str, &'static str)>,
}

/// `text` with every `{name}` as `by` says.
fn filled(text: &str, by: &dyn Fn(&Made) -> String) -> String {
    RELATIONS.iter().fold(text.to_owned(), |text, made| {
        let name = format!("{{{}}}", made.name);
        if text.contains(&name) { text.replace(&name, &by(made)) } else { text }
    })
}

impl Rules {
    fn at_random(random: &mut ChaCha8Rng) -> Self {
        let mut rules = Self::default();
        for made in &RELATIONS {
            let is_table = made.query.is_none();
            if random.random_bool(if is_table { 0.6 } else { 0.2 }) {
                let count = random.random_range(1..=2_usize.min(made.predicates.len()));
                let chosen = made.predicates.iter().copied().choose_multiple(random, count);
                rules.policies.extend(chosen.into_iter().map(|predicate| (made.name, predicate)));
            }
            // The columns of goods and facts that a policy looks at are looked at unmasked.
            if random.random_bool(0.2) {
                let (column, _) = made.columns.choose(random).unwrap();
                rules.masks.push((made.name, column));
            }
        }
        rules
    }

    async fn set(&self, lake: &Process) {
        for (index, (relation, predicate)) in self.policies.iter().enumerate() {
            lake.run(&format!("CREATE POLICY p{index} ON {relation} TO ROLE partner USING ({predicate})")).await;
        }
        for (relation, column) in &self.masks {
            lake.run(&format!("ALTER TABLE {relation} ALTER COLUMN {column} SET MASK NULL")).await;
        }
    }

    async fn take_back(&self, lake: &Process) {
        for (index, (relation, _)) in self.policies.iter().enumerate() {
            lake.run(&format!("DROP POLICY p{index} ON {relation}")).await;
        }
        for (relation, column) in &self.masks {
            lake.run(&format!("ALTER TABLE {relation} ALTER COLUMN {column} DROP MASK")).await;
        }
    }

    /// What a caller of this region sees of a relation, as a subquery.
    fn seen(&self, made: &Made, region: &str) -> String {
        let rows = match made.query {
            None => made.name.to_owned(),
            Some(query) => format!("({})", filled(query, &|below| self.seen(below, region))),
        };
        let shown = made.columns.iter().map(|(column, data_type)| match self.masks.contains(&(made.name, column)) {
            true => format!("CAST(NULL AS {data_type}) AS {column}"),
            false => (*column).to_owned(),
        });
        let shown = shown.collect::<Vec<_>>().join(", ");
        let predicates = self.policies.iter().filter(|(relation, _)| *relation == made.name);
        let predicates: Vec<String> = predicates
            .map(|(_, predicate)| predicate.replace("current_attribute('region')", &format!("'{region}'")))
            .map(|predicate| format!("({predicate})"))
            .collect();
        let condition = if predicates.is_empty() { "TRUE".to_owned() } else { predicates.join(" OR ") };
        format!("(SELECT {shown} FROM {rows} AS r WHERE {condition})")
    }
}

fn query(random: &mut ChaCha8Rng) -> String {
    let Asked(from, keys, calls, filters) = ASKED.choose(random).unwrap();
    let mut some = |all: &[&'static str], least: usize, most: usize| {
        let count = random.random_range(least..=most.min(all.len()));
        all.iter().copied().choose_multiple(random, count)
    };
    let (keys, calls, filters) = (some(keys, 0, 2), some(calls, 1, 3), some(filters, 0, 2));
    let shown: Vec<&str> = keys.iter().chain(&calls).copied().collect();
    let mut sql = format!("SELECT {} FROM {from}", shown.join(", "));
    if !filters.is_empty() {
        write!(sql, " WHERE {}", filters.join(" AND ")).unwrap();
    }
    if !keys.is_empty() {
        write!(sql, " GROUP BY {}", keys.join(", ")).unwrap();
    }
    sql
}

async fn insert(lake: &Process, random: &mut ChaCha8Rng, from: i64) {
    let mut values = Vec::new();
    for id in from..from + 400 {
        let mut text = |all: &[&str]| match all.choose(random).copied().unwrap() {
            "" => "NULL".to_owned(),
            some => format!("'{some}'"),
        };
        let (region, item) = (text(&["KR", "US", "JP", ""]), text(&["a", "ab", "b", "c", "d", ""]));
        let price = if random.random_bool(0.1) { "NULL".to_owned() } else { random.random_range(0..80).to_string() };
        let (day, hour) = (random.random_range(1..=4), random.random_range(5..=6));
        values.push(format!("({id}, TIMESTAMPTZ '2017-11-0{day}T{hour:02}:20:00Z', {region}, {item}, {price})"));
    }
    lake.run(&format!("INSERT INTO facts VALUES {}", values.join(", "))).await;
}

async fn lake(folder: &TempDir) -> Process {
    let lake = Process::over(folder, &[("storage.poll_interval", "0 s")]).await;
    for sql in [
        "CREATE TABLE facts (id BIGINT NOT NULL, ts TIMESTAMP WITH TIME ZONE NOT NULL, region VARCHAR, item VARCHAR, \
         price BIGINT) WITH (event_time='ts', partition_by='day(ts)', lateness='1000 days')",
        "CREATE TABLE goods (item VARCHAR, category VARCHAR, maker VARCHAR)",
        "INSERT INTO goods VALUES ('a', 'x', 'KR'), ('ab', 'y', 'US'), ('b', 'x', NULL), ('b', 'z', 'KR'), ('c', NULL, 'US'), \
         (NULL, 'x', 'KR')",
    ] {
        lake.run(sql).await;
    }
    for (name, kind) in MADE {
        let made = RELATIONS.iter().find(|made| made.name == name).unwrap();
        let query = filled(made.query.unwrap(), &|below| below.name.to_owned());
        lake.run(&format!("CREATE {kind} AS {query}")).await;
    }
    assert_eq!(lake.run("EXPLAIN REFRESH variety").await[0], "strategy|partition");
    lake.run("CREATE ROLE partner").await;
    lake.run("GRANT SELECT ON SCHEMA public TO ROLE partner").await;
    for (user, region) in [("pat", "KR"), ("pia", "US")] {
        lake.run(&format!("CREATE USER {user} ROLE partner ATTRIBUTE region = '{region}'")).await;
    }
    lake
}

fn session(user: &str) -> Arc<Session> {
    Session::of_caller(user, Identity::of_user(user), Origin::Http)
}

async fn simulate(seed: u64) -> Result<(), String> {
    let random = &mut ChaCha8Rng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(&folder).await;
    insert(&lake, random, 0).await;
    for (name, kind) in MADE {
        if kind.starts_with("MATERIALIZED") && (name == "kinds" || random.random_bool(0.8)) {
            lake.run(&format!("REFRESH MATERIALIZED VIEW {name}")).await;
        }
    }
    for round in 0..3 {
        let rules = Rules::at_random(random);
        rules.set(&lake).await;
        for _ in 0..QUERIES / 3 {
            let query = query(random);
            let (user, region) = *[("pat", "KR"), ("pia", "US")].choose(random).unwrap();
            let asked = filled(&query, &|made| made.name.to_owned());
            let oracle = filled(&query, &|made| rules.seen(made, region));
            let sorted = |mut rows: Vec<String>| {
                rows.sort();
                rows
            };
            let found = lake.sql_in(&session(user), &asked).await.map(sorted);
            let expected = lake.sql_in(&lake.plain, &oracle).await.map(sorted);
            let expected = expected.map_err(|error| format!("round {round}: {error}\n{oracle}"))?;
            if found.as_ref() != Ok(&expected) {
                return Err(format!(
                    "round {round}, {user}: {asked}\n{found:?}\nexpected {expected:?}\n{oracle}\n{rules:?}"
                ));
            }
        }
        rules.take_back(&lake).await;
        // Rows that no view has absorbed, then rows that are gone.
        match round {
            0 => insert(&lake, random, 1000).await,
            _ => drop(lake.run("DELETE FROM facts WHERE id % 7 = 3").await),
        }
        // A view that is kept as a whole shows its last refresh to those whom nothing is hidden from.
        lake.run("REFRESH MATERIALIZED VIEW kinds").await;
    }
    lake.app.engine.verified().await;
    let wrong = lake
        .run("SELECT view_name, outcome, sql, sample, error FROM system.verifications WHERE outcome <> 'equal'")
        .await;
    let checked = lake.run("SELECT count(*) FROM system.verifications").await;
    CHECKED.fetch_add(checked[0].parse().unwrap(), Ordering::Relaxed);
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(format!("answers from views under policies: {wrong:?}")),
    }
}

#[test]
fn an_answer_is_that_of_the_query_over_what_its_caller_sees() {
    crate::seeds::run(SEEDS, simulate);
    assert_ne!(CHECKED.load(Ordering::Relaxed), 0, "nothing was answered from a view");
}

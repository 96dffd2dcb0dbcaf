//! The shipped `sql/` folder: it parses, plans in order, and its views give the right numbers on rows worked out by hand.
//!
//! Runs on DataFusion directly, over tables in memory: it tests the SQL, not the lake. What needs functions of the engine's own
//! runs on the engine.

use std::collections::BTreeMap;
use std::path::Path;

use adlake::catalog::{CatalogSnapshot, Change, Create, Definition, load_project, plan};
use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use datafusion::common::ScalarValue;
use datafusion::prelude::SessionContext;

use crate::lab::Lab;
use crate::process::Process;

fn project() -> Vec<Create> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    load_project(&dir).unwrap().into_iter().map(|file| file.create).collect()
}

/// The statements of the first block of SQL that README.md shows after these words.
pub(crate) fn shown_in_readme(words: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let shown = text.split(words).nth(1).unwrap().split("```").nth(1).unwrap().strip_prefix("sql").unwrap().to_owned();
    let code = shown.lines().map(|line| line.split("--").next().unwrap()).collect::<Vec<_>>().join("\n");
    code.split(';').map(|sql| sql.trim().to_owned()).filter(|sql| !sql.is_empty()).collect()
}

/// What README.md shows of views runs as it stands beside the shipped ones.
#[tokio::test(flavor = "multi_thread")]
async fn the_views_of_the_readme_can_be_made() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Process::over(&folder, &[]).await;
    lake.app.apply_project(&Path::new(env!("CARGO_MANIFEST_DIR")).join("sql")).await.unwrap();
    let statements = shown_in_readme("Aggregates that many queries ask for are a materialized view:");
    assert_eq!(statements.len(), 11);
    for sql in statements {
        lake.run(&sql).await;
    }
    let by_device = lake.scans("SELECT device, sum(clicks) FROM clicks_by_device GROUP BY device").await;
    assert!(by_device.iter().any(|scan| scan.starts_with("rollup.")), "{by_device:?}");
}

/// Views that call what DataFusion has not.
const OF_THE_ENGINE: [&str; 1] = ["user_reach_daily"];

/// All tables (empty), and all views but those of the engine, materialized ones as plain views.
async fn session() -> SessionContext {
    let context = SessionContext::new();
    for change in plan(&CatalogSnapshot::default(), project()).unwrap().changes {
        let Change::Create(create) = change else { panic!("not a create") };
        match &create.definition {
            Definition::Table(table) => {
                context.register_batch(&create.name, RecordBatch::new_empty(table.columns.clone())).unwrap();
            }
            Definition::View(view) => define_view(&context, &create.name, &view.query).await,
            Definition::MaterializedView(_) if OF_THE_ENGINE.contains(&create.name.as_str()) => {}
            Definition::MaterializedView(view) => define_view(&context, &create.name, &view.query).await,
            Definition::Endpoint(_) => {}
        }
    }
    context
}

async fn define_view(context: &SessionContext, name: &str, query: &str) {
    run(context, &format!("CREATE VIEW {name} AS {query}")).await;
}

/// Rows as text, columns separated by spaces.
async fn run(context: &SessionContext, sql: &str) -> Vec<String> {
    let frame = context.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let batches = frame.collect().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut rows = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let value = |column: &arrow::array::ArrayRef| match column.is_null(row) {
                true => "NULL".to_owned(),
                false => array_value_to_string(column, row).unwrap(),
            };
            rows.push(batch.columns().iter().map(value).collect::<Vec<_>>().join(" "));
        }
    }
    rows
}

#[test]
fn every_promised_object_is_there() {
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for create in project() {
        names.entry(create.kind().to_string()).or_default().push(create.name);
    }
    let of = |kind: &str| names[kind].join(" ");
    assert_eq!(of("table"), "budgets campaigns clicks conversions discounts impressions items products vendor_items");
    assert_eq!(
        of("view"),
        "budget_report campaign_performance marketing_catalog partner_feed_cheapest_offer top_ads_last_minute"
    );
    assert_eq!(
        of("materialized view"),
        "clicks_by_ad_day clicks_by_ad_hour clicks_by_ad_minute clicks_by_campaign_hour conversions_by_campaign_day \
         impressions_by_campaign_hour sales_by_campaign_hour user_reach_daily"
    );
    assert_eq!(of("endpoint"), "aggregated_count popular_ads");
}

#[test]
fn every_object_opens_with_the_question_it_answers() {
    for create in project() {
        let first = create.sql.lines().next().unwrap_or_default();
        assert!(first.starts_with("-- ") && first.contains('?'), "{}: {first}", create.name);
    }
}

const EVENTS: [&str; 5] = [
    "INSERT INTO campaigns (campaign_id, name, currency) VALUES ('c1', 'new', 'KRW'), ('idle', 'idle', 'USD')",
    "INSERT INTO impressions (event_id, event_time, ad_id, campaign_id, price_micros) VALUES \
     ('i1', '2026-01-01T10:00:00Z', 'a1', 'c1', 100), ('i2', '2026-01-01T10:59:59.999999Z', 'a1', 'c1', 200), \
     ('i3', '2026-01-01T11:00:00Z', 'a2', 'c1', NULL), ('i4', '2026-01-01T11:00:00Z', 'a2', NULL, 5)",
    "INSERT INTO clicks (event_id, event_time, ad_id, campaign_id, country, price_micros) VALUES \
     ('k1', '2026-01-01T10:00:30Z', 'a1', 'c1', 'KR', 1000), ('k2', '2026-01-01T10:00:59Z', 'a1', 'c1', 'KR', 1), \
     ('k3', '2026-01-01T10:01:00Z', 'a1', 'c1', NULL, NULL)",
    "INSERT INTO conversions (event_id, event_time, ad_id, campaign_id, revenue_micros) VALUES \
     ('v1', '2026-01-01T12:00:00Z', 'a1', 'c1', 5000000), ('v2', '2026-01-01T12:00:00Z', 'a1', 'c2', NULL)",
    "INSERT INTO budgets (campaign_id, hour, planned_micros) VALUES \
     ('c1', '2026-01-01T10:00:00Z', 1000), ('c1', '2026-01-01T09:00:00Z', 0)",
];

async fn session_with_events() -> SessionContext {
    let context = session().await;
    for sql in EVENTS {
        run(&context, sql).await;
    }
    context
}

#[tokio::test]
async fn campaign_performance_adds_up() {
    let context = session_with_events().await;
    let rows = run(
        &context,
        "SELECT campaign_id, campaign_name, impressions, clicks, conversions, spend_micros, revenue_micros, \
        ctr, cvr, ecpm_micros, cpa_micros FROM campaign_performance ORDER BY campaign_id NULLS LAST",
    )
    .await;
    assert_eq!(
        rows,
        [
            "c1 new 3 3 1 1301 5000000 1.0 0.3333333333333333 433666.666667 1301.000000",
            "c2 NULL 0 0 1 0 0 NULL NULL NULL 0.000000",
            "idle idle 0 0 0 0 0 NULL NULL NULL NULL",
            "NULL NULL 1 0 0 5 0 0.0 NULL 5000.000000 NULL",
        ]
    );
}

#[tokio::test]
async fn budget_report_compares_plan_and_spend_by_hour() {
    let context = session_with_events().await;
    let rows = run(
        &context,
        "SELECT campaign_id, to_char(hour, '%H'), planned_micros, spend_micros, remaining_micros, spent_ratio \
        FROM budget_report ORDER BY campaign_id NULLS LAST, hour",
    )
    .await;
    assert_eq!(
        rows,
        ["c1 09 0 0 0 NULL", "c1 10 1000 1301 -301 1.301", "c1 11 NULL 0 NULL NULL", "NULL 11 NULL 5 NULL NULL"]
    );
}

#[tokio::test]
async fn events_are_counted_by_campaign_and_hour() {
    let context = session_with_events().await;
    let ordered = "campaign_name, currency FROM impressions_by_campaign_hour ORDER BY campaign_id NULLS LAST, hour";
    let shown = "SELECT campaign_id, to_char(hour, '%H:%M'), impressions, spend_micros,";
    assert_eq!(
        run(&context, &format!("{shown} {ordered}")).await,
        ["c1 10:00 2 300 new KRW", "c1 11:00 1 0 new KRW", "NULL 11:00 1 5 NULL NULL"]
    );
    let clicks = "SELECT campaign_id, to_char(hour, '%H:%M'), clicks, spend_micros FROM clicks_by_campaign_hour";
    assert_eq!(run(&context, clicks).await, ["c1 10:00 3 1001"]);
    let sales = "SELECT campaign_id, campaign_name, conversions, revenue_micros FROM sales_by_campaign_hour ORDER BY 1";
    assert_eq!(run(&context, sales).await, ["c1 new 1 5000000", "c2 NULL 1 0"]);
}

#[tokio::test]
async fn clicks_are_counted_by_ad_minute_and_country() {
    let context = session_with_events().await;
    let rows = run(
        &context,
        "SELECT ad_id, to_char(minute, '%H:%M:%S'), country, clicks, spend_micros FROM clicks_by_ad_minute \
        ORDER BY minute",
    )
    .await;
    assert_eq!(rows, ["a1 10:00:00 KR 2 1001", "a1 10:01:00 NULL 1 0"]);
}

#[tokio::test]
async fn hours_are_of_minutes_and_days_of_hours() {
    let context = session_with_events().await;
    for (view, time) in [("clicks_by_ad_hour", "hour"), ("clicks_by_ad_day", "day")] {
        let sql =
            format!("SELECT ad_id, country, clicks, spend_micros FROM {view} ORDER BY {time}, country NULLS LAST");
        assert_eq!(run(&context, &sql).await, ["a1 KR 2 1001", "a1 NULL 1 0"], "{view}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_reached_by_campaign_and_day() {
    let lab = Lab::open().await;
    for name in ["impressions", "user_reach_daily"] {
        let create = project().into_iter().find(|create| create.name == name).unwrap();
        lab.run(&create.sql).await;
    }
    let insert = |values: &str| {
        format!("INSERT INTO impressions (event_id, event_time, ad_id, campaign_id, user_id) VALUES {values}")
    };
    lab.run(&insert(
        "('1', '2026-01-01T00:00:00Z', 'a', 'c1', 'u1'), ('2', '2026-01-01T23:59:59.999999Z', 'a', 'c1', 'u2'), \
         ('3', '2026-01-01T12:00:00Z', 'b', 'c1', 'u1'), ('4', '2026-01-01T12:00:00Z', 'b', 'c1', NULL), \
         ('5', '2026-01-01T12:00:00Z', 'b', 'c1', ''), ('6', '2026-01-02T00:00:00Z', 'a', 'c1', 'u3')",
    ))
    .await;
    lab.run("REFRESH MATERIALIZED VIEW user_reach_daily").await;
    // Late, and not absorbed.
    lab.run(&insert(
        "('7', '2026-01-01T13:00:00Z', 'a', 'c1', 'u4'), ('8', '2026-01-02T10:00:00Z', 'a', 'c2', 'u1'), \
         ('9', '2026-01-02T10:00:00Z', 'a', 'c2', 'u2'), ('10', '2026-01-02T10:00:00Z', 'a', NULL, NULL)",
    ))
    .await;
    let daily = "SELECT campaign_id, date_part('day', day), impressions, user_impressions, round(hll_estimate(users)), \
                 theta_estimate(audience) FROM user_reach_daily ORDER BY day, campaign_id NULLS LAST";
    assert_eq!(
        lab.rows(daily).await,
        ["c1|1|6|4|3.0|3.0", "c1|2|1|1|1.0|1.0", "c2|2|2|2|2.0|2.0", "NULL|2|1|0|0.0|0.0"]
    );
    let reach = "SELECT campaign_id, sum(impressions), round(hll_estimate(hll_union(users))), \
                 sum(user_impressions) / round(hll_estimate(hll_union(users))) AS frequency FROM user_reach_daily \
                 WHERE campaign_id IS NOT NULL GROUP BY campaign_id ORDER BY campaign_id";
    assert_eq!(lab.rows(reach).await, ["c1|7|4.0|1.25", "c2|2|2.0|1.0"]);
    let both = "WITH audiences AS (SELECT campaign_id, theta_union(audience) AS audience FROM user_reach_daily GROUP BY campaign_id) \
                SELECT theta_estimate(theta_intersect(a.audience, b.audience)), theta_estimate(theta_difference(a.audience, b.audience)) \
                FROM audiences a, audiences b WHERE a.campaign_id = 'c1' AND b.campaign_id = 'c2'";
    assert_eq!(lab.rows(both).await, ["2.0|2.0"]);
}

#[tokio::test]
async fn the_feed_has_the_cheapest_available_offer_after_discount() {
    let context = session().await;
    for sql in [
        "INSERT INTO products (product_id, name) VALUES ('p1', 'one'), ('p2', 'two'), ('p3', 'sold out')",
        "INSERT INTO items (item_id, product_id) VALUES ('i1', 'p1'), ('i2', 'p1'), ('i3', 'p2'), ('i4', 'p3')",
        "INSERT INTO vendor_items (vendor_item_id, item_id, price, currency, is_available) VALUES \
         ('o1', 'i1', 120, 'USD', TRUE), ('o2', 'i2', 99.99, 'USD', NULL), ('o3', 'i2', 1, 'USD', FALSE), \
         ('o4', 'i3', 5, 'USD', TRUE), ('o5', 'i3', 5, 'USD', TRUE), ('o6', 'i4', 5, 'USD', FALSE)",
        "INSERT INTO discounts (discount_id, vendor_item_id, percent, amount, starts_at, ends_at) VALUES \
         ('d1', 'o1', 33.33, NULL, NULL, NULL), ('d2', 'o1', NULL, 10, NULL, NULL), \
         ('past', 'o1', 99, NULL, NULL, '2020-01-01T00:00:00Z'), ('future', 'o1', 99, NULL, '2999-01-01T00:00:00Z', NULL), \
         ('d3', 'o5', NULL, 0, NULL, NULL), ('huge', 'o3', NULL, 1000, NULL, NULL)",
    ] {
        run(&context, sql).await;
    }
    let catalog =
        run(&context, "SELECT vendor_item_id, price, discount_id, final_price FROM marketing_catalog ORDER BY 1").await;
    assert_eq!(
        catalog,
        [
            "o1 120.000000 d1 80.004000",
            "o2 99.990000 NULL 99.990000",
            "o3 1.000000 huge 0.000000",
            "o4 5.000000 NULL 5.000000",
            "o5 5.000000 d3 5.000000",
            "o6 5.000000 NULL 5.000000",
        ]
    );
    let feed =
        run(&context, "SELECT id, vendor_item_id, sale_price FROM partner_feed_cheapest_offer ORDER BY id").await;
    assert_eq!(feed, ["p1 o1 80.004000", "p2 o4 5.000000"]);
}

/// Runs a shipped endpoint's query.
async fn ask(context: &SessionContext, name: &str, filters: &str, values: &[(&str, ScalarValue)]) -> Vec<String> {
    let create = project().into_iter().find(|create| create.name == name).unwrap();
    let Definition::Endpoint(endpoint) = create.definition else { panic!("not an endpoint") };
    let sql = endpoint.query_with_filters(filters).unwrap();
    let values: Vec<_> = values.iter().map(|(name, value)| (*name, value.clone())).collect();
    let frame = context.sql(&sql).await.unwrap().with_param_values(values).unwrap();
    let batches = frame.collect().await.unwrap();
    let batch = &batches[0];
    assert_eq!((batches.len(), batch.num_rows()), (1, 1));
    batch.columns().iter().map(|column| array_value_to_string(column, 0).unwrap()).collect()
}

fn time(text: &str) -> ScalarValue {
    let micros = text.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp_micros();
    ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()))
}

#[tokio::test]
async fn aggregated_count_is_half_open_and_filtered() {
    let context = session_with_events().await;
    let count = async |from: &str, to: &str, filters: &str| {
        let values = [("ad_id", ScalarValue::from("a1")), ("from", time(from)), ("to", time(to))];
        ask(&context, "aggregated_count", filters, &values).await.join(" ")
    };
    assert_eq!(count("2026-01-01T10:00:30Z", "2026-01-01T10:01:00Z", "TRUE").await, "a1 2");
    assert_eq!(count("2026-01-01T10:00:30Z", "2026-01-01T10:01:00.000001Z", "TRUE").await, "a1 3");
    assert_eq!(count("2026-01-01T10:00:31Z", "2026-01-01T10:02:00Z", "country = 'KR'").await, "a1 1");
    assert_eq!(count("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z", "TRUE").await, "a1 0");
}

#[tokio::test]
async fn popular_ads_are_ordered_by_clicks_then_name() {
    let context = session().await;
    let values =
        |count: i64, minutes: i64| [("count", ScalarValue::from(count)), ("window", ScalarValue::from(minutes))];
    assert_eq!(ask(&context, "popular_ads", "TRUE", &values(100, 1)).await, ["[]"]);
    let ago =
        |id: &str, ad: &str, seconds: u32| format!("('{id}', now() - INTERVAL '{seconds} seconds', '{ad}', 'KR')");
    let clicks = [ago("1", "b", 20), ago("2", "a", 20), ago("3", "c", 1), ago("4", "c", 20), ago("5", "x", 200)];
    let insert = format!("INSERT INTO clicks (event_id, event_time, ad_id, country) VALUES {}", clicks.join(", "));
    run(&context, &insert).await;
    assert_eq!(ask(&context, "popular_ads", "TRUE", &values(2, 1)).await, ["[c, a]"]);
    assert_eq!(ask(&context, "popular_ads", "TRUE", &values(9, 5)).await, ["[c, a, b, x]"]);
    assert_eq!(ask(&context, "popular_ads", "country = 'US'", &values(9, 5)).await, ["[]"]);
    let top = run(&context, "SELECT ad_id, clicks FROM top_ads_last_minute").await;
    assert_eq!(top, ["c 2", "a 1", "b 1"]);
}

/// Conversions count for the campaign of their click, on their own day, when the click was in time.
#[tokio::test]
async fn conversions_are_counted_by_the_campaign_of_their_click() {
    let context = session().await;
    for sql in [
        "INSERT INTO clicks (event_id, event_time, ad_id, campaign_id) VALUES ('k1', '2026-01-01T23:59:00Z', 'a1', 'c1'), \
         ('k2', '2026-01-02T10:00:00Z', 'a1', 'c1'), ('k3', '2026-01-02T10:00:00Z', 'a2', NULL)",
        "INSERT INTO conversions (event_id, event_time, click_id, ad_id, campaign_id, user_id, revenue_micros) VALUES \
         ('v1', '2026-01-02T00:00:00Z', 'k1', 'a1', 'other', 'u1', 5), ('v2', '2026-01-02T11:00:00Z', 'k1', 'a1', 'c1', 'u1', NULL), \
         ('v3', '2026-01-02T12:00:00Z', 'k2', 'a1', 'c1', 'u2', 7), ('v4', '2026-01-08T23:58:59.999999Z', 'k1', 'a1', 'c1', 'u1', 11), \
         ('v5', '2026-01-08T23:59:00Z', 'k1', 'a1', 'c1', 'u1', 100), ('v6', '2026-01-02T09:59:59Z', 'k2', 'a1', 'c1', 'u1', 100), \
         ('v7', '2026-01-03T00:00:00Z', NULL, 'a1', 'c1', 'u1', 100), ('v8', '2026-01-02T10:00:00Z', 'k3', 'a2', 'c1', NULL, NULL)",
    ] {
        run(&context, sql).await;
    }
    let rows = run(
        &context,
        "SELECT campaign_id, to_char(day, '%m-%d'), conversions, converting_clicks, converting_users, revenue_micros \
        FROM conversions_by_campaign_day ORDER BY campaign_id NULLS LAST, day",
    )
    .await;
    assert_eq!(rows, ["c1 01-02 3 2 2 12", "c1 01-08 1 1 1 11", "NULL 01-02 1 1 0 0"]);
}

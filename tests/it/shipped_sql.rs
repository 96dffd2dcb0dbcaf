//! The shipped `sql/` folder: it parses, plans in order, and its views give the right numbers on rows worked out by hand.
//!
//! Runs on DataFusion directly, over tables in memory: it tests the SQL, not the lake.

use std::collections::BTreeMap;
use std::path::Path;

use adlake::catalog::{CatalogSnapshot, Change, Create, Definition, load_project, plan};
use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use datafusion::common::ScalarValue;
use datafusion::prelude::SessionContext;

fn project() -> Vec<Create> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    load_project(&dir).unwrap().into_iter().map(|file| file.create).collect()
}

/// All tables (empty), and all views, materialized ones as plain views.
async fn session() -> SessionContext {
    let context = SessionContext::new();
    for change in plan(&CatalogSnapshot::default(), project()).unwrap().changes {
        let Change::Create(create) = change else { panic!("not a create") };
        match &create.definition {
            Definition::Table(table) => {
                context.register_batch(&create.name, RecordBatch::new_empty(table.columns.clone())).unwrap();
            }
            Definition::View(view) => define_view(&context, &create.name, &view.query).await,
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
        (of("materialized view"), of("endpoint")),
        ("clicks_by_ad_minute".into(), "aggregated_count popular_ads".into())
    );
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

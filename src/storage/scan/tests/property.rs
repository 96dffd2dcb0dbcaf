//! SCN-1: a pruned scan gives what a scan of all rows gives after the filter.

use std::fmt::Write;

use datafusion::datasource::MemTable;
use proptest::prelude::*;

use super::*;

const COUNTRIES: [Option<&str>; 4] = [Some("KR"), Some("a/b %20é"), Some("z"), None];
const TEXTS: [&str; 5] = ["", "a", "ab", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "가나다"];

/// How much the log says of a file.
#[derive(Clone, Copy, Debug)]
enum Known {
    Everything,
    RowCount,
    Nothing,
    /// Text cut to one character, the maximum rounded up.
    CutText,
}

#[derive(Clone, Debug)]
struct FileRows {
    rows: Vec<Row>,
    known: Known,
    sorted: bool,
}

fn file() -> impl Strategy<Value = FileRows> {
    let known = prop_oneof![
        4 => Just(Known::Everything), 1 => Just(Known::RowCount), 1 => Just(Known::Nothing), 2 => Just(Known::CutText),
    ];
    let row = (
        prop::option::weighted(0.8, -3_i64..6),
        prop::option::weighted(0.8, 0_usize..TEXTS.len()),
        0_i64..9,
        prop::option::weighted(0.8, -2_000_i64..2_000),
    );
    let rows = prop::collection::vec(row, 1..12);
    // A null time has no day, so it cannot share a file with others.
    let day = prop::option::weighted(0.8, 0_i64..3);
    (rows, 0_usize..COUNTRIES.len(), day, known, any::<bool>()).prop_map(|(rows, country, day, known, sorted)| {
        let row = |(k, s, t, d): (Option<i64>, Option<usize>, i64, Option<i64>)| Row {
            id: 0,
            country: COUNTRIES[country].map(str::to_owned),
            k,
            s: s.map(|s| TEXTS[s].to_owned()),
            // Several times within one millisecond, to which the log cuts them.
            t: day.map(|day| day * DAY + t * 333),
            d,
        };
        let mut rows: Vec<Row> = rows.into_iter().map(row).collect();
        if sorted {
            let last = |value: Option<i64>| (value.is_none(), value);
            rows.sort_by_key(|row| (last(row.k), last(row.t)));
        }
        FileRows { rows, known, sorted }
    })
}

fn comparison() -> impl Strategy<Value = String> {
    let operator = prop::sample::select(vec!["=", "<>", "<", "<=", ">", ">="]);
    let text = prop::sample::select(TEXTS.to_vec());
    let country = prop::sample::select(COUNTRIES.iter().flatten().copied().collect::<Vec<_>>());
    let column = prop::sample::select(vec!["k", "s", "t", "d", "country"]);
    let time = |micros: i64| {
        let time = chrono::DateTime::from_timestamp_micros(micros).unwrap();
        format!("TIMESTAMP '{}'", time.format("%Y-%m-%dT%H:%M:%S%.6fZ"))
    };
    prop_oneof![
        (operator.clone(), -4_i64..7).prop_map(|(op, value)| format!("k {op} {value}")),
        (operator.clone(), text.clone()).prop_map(|(op, value)| format!("s {op} '{value}'")),
        (operator.clone(), 0_i64..3, 0_i64..9)
            .prop_map(move |(op, day, t)| format!("t {op} {}", time(day * DAY + t * 333))),
        (operator.clone(), -2_000_i64..2_000).prop_map(|(op, value)| format!("d {op} {}", value as f64 / 100.0)),
        (operator, country.clone()).prop_map(|(op, value)| format!("country {op} '{value}'")),
        (column.clone(), any::<bool>())
            .prop_map(|(column, not)| format!("{column} IS {}NULL", if not { "NOT " } else { "" })),
        prop::collection::vec(-4_i64..7, 1..4).prop_map(|values| format!("k IN ({values:?})").replace(['[', ']'], "")),
        prop::collection::vec(-4_i64..7, 1..4)
            .prop_map(|values| format!("k NOT IN ({values:?})").replace(['[', ']'], "")),
        (-4_i64..7, 0_i64..4).prop_map(|(from, span)| format!("k BETWEEN {from} AND {}", from + span)),
        text.prop_map(|value| format!("s LIKE '{}%'", value.chars().take(1).collect::<String>())),
        country.prop_map(|value| format!("country IN ('{value}', 'nowhere')")),
        Just("k + 1 > d".to_owned()),
        Just("date_trunc('day', t) = TIMESTAMP '1970-01-02T00:00:00Z'".to_owned()),
    ]
}

fn predicate() -> impl Strategy<Value = String> {
    comparison().prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} AND {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} OR {b})")),
            inner.prop_map(|a| format!("NOT ({a})")),
        ]
    })
}

fn known_of(file: &FileRows) -> Value {
    let mut known = stats(&file.rows);
    match file.known {
        Known::Everything => {}
        Known::RowCount => known = json!({"numRecords": file.rows.len()}),
        Known::Nothing => known = json!({}),
        Known::CutText => {
            let cut = |value: &Value| value.as_str().map(|text| text.chars().take(1).collect::<String>());
            if let Some(lower) = cut(&known["minValues"]["s"]) {
                known["minValues"]["s"] = json!(lower);
            }
            if let Some(upper) = cut(&known["maxValues"]["s"]) {
                known["maxValues"]["s"] = json!(format!("{upper}\u{10ffff}"));
            }
        }
    }
    known
}

/// The table of `files`, and its rows in one table in memory.
async fn build(files: &mut [FileRows]) -> (TestTable, MemTable) {
    let mut table = TestTable::create(spec()).await;
    let mut actions = Vec::new();
    let mut batches = Vec::new();
    let mut id = 0;
    for (number, file) in files.iter_mut().enumerate() {
        for row in &mut file.rows {
            id += 1;
            row.id = id;
        }
        let mut action = table.file(&format!("{number}.parquet"), &file.rows, &known_of(file)).await;
        if file.sorted {
            action["add"]["tags"] = json!({"adlake.sortedBy": "k,t"});
        }
        actions.push(action);
        batches.push(batch(&file.rows, true));
    }
    table.commit(actions).await;
    let schema = batch(&[], true).schema();
    (table, MemTable::try_new(schema, vec![batches]).unwrap())
}

/// `segment` files to a segment, so that a handful of files has both levels of pruning.
async fn compare(table: &TestTable, rows: Arc<MemTable>, segment: usize, predicates: &[String]) {
    let index = table.load().await.unwrap();
    let context = session(table, 2);
    let frame = |context: &SessionContext, index: &FileIndex| {
        context.read_table(Arc::new(LakeTable::cut(index, segment))).unwrap()
    };
    for predicate in predicates {
        let selected = |frame: DataFrame| {
            let filter = frame.parse_sql_expr(predicate).unwrap();
            frame.filter(filter).unwrap()
        };
        let scan = || selected(frame(&context, &index));
        let full = || selected(context.read_table(rows.clone()).unwrap());
        let (mut found, mut expected) = (ids(scan()).await, ids(full()).await);
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{predicate}");
        assert_eq!(answers(scan()).await, answers(full()).await, "{predicate}");
    }
    let (scan, full) = (frame(&context, &index), context.read_table(rows).unwrap());
    assert_eq!(answers(scan).await, answers(full).await);
}

/// What statistics could answer wrongly: counts, extremes, order, the first rows of an order.
async fn answers(frame: DataFrame) -> String {
    use datafusion::functions_aggregate::expr_fn::{count, max, min};
    let mut text = String::new();
    let mut aggregates = vec![count(col("id"))];
    for name in ["k", "s", "t", "d", "country"] {
        aggregates.extend([count(col(name)), min(col(name)), max(col(name))]);
    }
    let totals = frame.clone().aggregate(vec![], aggregates).unwrap().collect().await.unwrap();
    // Views and plain text print alike; field names differ only in the table's name.
    for column in totals[0].columns() {
        write!(text, "{} ", arrow::util::display::array_value_to_string(column, 0).unwrap()).unwrap();
    }
    let keys = || vec![col("k").sort(true, false), col("t").sort(true, false)];
    let sorted = frame.clone().sort(keys()).unwrap().select_columns(&["k", "t"]).unwrap();
    write!(text, "\n{}", pretty_format_batches(&sorted.collect().await.unwrap()).unwrap()).unwrap();
    let least = frame.select_columns(&["k", "t"]).unwrap().sort(keys()).unwrap().limit(0, Some(3)).unwrap();
    write!(text, "\n{}", pretty_format_batches(&least.collect().await.unwrap()).unwrap()).unwrap();
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pruned_equals_full(
        mut files in prop::collection::vec(file(), 0..7),
        segment in 1_usize..5,
        predicates in prop::collection::vec(predicate(), 6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (table, rows) = build(&mut files).await;
            compare(&table, Arc::new(rows), segment, &predicates).await;
        });
    }
}

//! A shape as the statement that makes it a view.

use std::collections::BTreeSet;

use datafusion::common::Result;
use datafusion::logical_expr::Expr;
use datafusion::sql::sqlparser::keywords::{
    ALL_KEYWORDS_INDEX, Keyword, RESERVED_FOR_COLUMN_ALIAS, RESERVED_FOR_TABLE_ALIAS,
};
use datafusion::sql::unparser::Unparser;
use datafusion::sql::unparser::dialect::Dialect;

use super::shape::{Shape, Unit};
use crate::rollup::question::{Call, Function};
use crate::rollup::sketch::{Sketch, SketchKind, SketchOf};

/// Names of views and columns are made of words up to this length.
const NAME_LENGTH: usize = 48;
/// Views with more rows than this are partitioned.
const PARTITIONED_ROWS: u64 = 1_000_000;

/// A view as SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenView {
    pub name: String,
    /// The whole CREATE statement.
    pub ddl: String,
}

/// `CREATE MATERIALIZED VIEW …` of a shape. `rows` is about how many it will have; columns of `sort_first` lead its order; `is_taken`
/// says which names are not free.
///
/// # Errors
/// An expression that cannot be written as SQL.
pub fn written(
    shape: &Shape,
    rows: u64,
    sort_first: &[String],
    is_taken: &dyn Fn(&str) -> bool,
) -> Result<WrittenView> {
    let mut columns = Columns::default();
    for key in shape.keys() {
        let text = sql(&key)?;
        let name = match shape.needs.times.iter().find(|(time, unit)| unit.of(time) == key) {
            Some((_, unit)) if shape.needs.times.len() == 1 => unit.word().to_owned(),
            Some((time, unit)) => format!("{time}_{}", unit.word()),
            None => name_of(&key, &text),
        };
        columns.add(text, &name);
    }
    let keys = columns.shown.clone();
    for call in &shape.calls {
        let text = call_sql(call)?;
        let name = if text == "count(*)" { "row_count".to_owned() } else { words(&text) };
        columns.add(text, &name);
    }
    if shape.calls.is_empty() {
        columns.add("count(*)".to_owned(), "row_count");
    }
    let name = view_name(shape, &keys, is_taken);
    let mut ddl = format!("CREATE MATERIALIZED VIEW {}\nWITH (refresh = 'continuous'", quoted(&name));
    ddl.push_str(&layout(shape, rows, &keys, sort_first));
    ddl.push_str(")\nAS\nSELECT\n  ");
    let shown = columns.shown.iter().map(|(text, name)| match *text == quoted(name) {
        true => text.clone(),
        false => format!("{text} AS {}", quoted(name)),
    });
    ddl.push_str(&shown.collect::<Vec<_>>().join(",\n  "));
    ddl.push_str(&format!("\nFROM {}", quoted(&shape.source)));
    let filters = shape.filters().map(sql).collect::<Result<Vec<_>>>()?;
    match filters.as_slice() {
        [] => {}
        [filter] => ddl.push_str(&format!("\nWHERE {filter}")),
        filters => ddl.push_str(&format!("\nWHERE ({})", filters.join(") AND ("))),
    }
    if !keys.is_empty() {
        let texts: Vec<&str> = keys.iter().map(|(text, _)| text.as_str()).collect();
        ddl.push_str(&format!("\nGROUP BY {}", texts.join(", ")));
    }
    Ok(WrittenView { name, ddl })
}

/// Texts of columns and their names, each name once.
#[derive(Default)]
struct Columns {
    shown: Vec<(String, String)>,
}

impl Columns {
    fn add(&mut self, text: String, name: &str) {
        let free = first_free(name, &|name| self.shown.iter().any(|(_, taken)| taken.eq_ignore_ascii_case(name)));
        self.shown.push((text, free));
    }
}

fn first_free(name: &str, is_taken: &dyn Fn(&str) -> bool) -> String {
    let numbered = (2_u32..).map(|number| format!("{name}_{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names.find(|name| !is_taken(name)).unwrap_or_else(|| name.to_owned())
}

/// `, partition_by = …, sort_by = …`, both over keys.
fn layout(shape: &Shape, rows: u64, keys: &[(String, String)], sort_first: &[String]) -> String {
    let name_of = |text: &str| keys.iter().find(|(known, _)| known == text).map(|(_, name)| name.clone());
    let times: Vec<(Unit, String)> = shape
        .needs
        .times
        .iter()
        .filter_map(|(time, unit)| Some((*unit, name_of(&sql(&unit.of(time)).ok()?)?)))
        .collect();
    // Names in options are read as they are written.
    let is_plain = |name: &str| quoted(name) == name || is_reserved(name);
    let mut text = String::new();
    if let Some((unit, name)) = times.first().filter(|(_, name)| rows > PARTITIONED_ROWS && is_plain(name)) {
        let by = if *unit >= Unit::Minute { "day" } else { "month" };
        text.push_str(&format!(", partition_by = '{by}({name})'"));
    }
    let mut sorted: BTreeSet<&str> = BTreeSet::new();
    let times = times.iter().map(|(_, name)| name.as_str());
    let others = keys.iter().map(|(_, name)| name.as_str()).filter(|name| !times.clone().any(|time| time == *name));
    let first = sort_first.iter().map(String::as_str).filter(|name| others.clone().any(|other| other == *name));
    let order: Vec<&str> =
        first.chain(others.clone()).chain(times.clone()).filter(|name| is_plain(name) && sorted.insert(name)).collect();
    if !order.is_empty() {
        text.push_str(&format!(", sort_by = '{}'", order.join(", ")));
    }
    text
}

/// `clicks_by_country_hour`.
fn view_name(shape: &Shape, keys: &[(String, String)], is_taken: &dyn Fn(&str) -> bool) -> String {
    let of_keys = keys.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join("_");
    let name = match (of_keys.as_str(), shape.filters.is_empty()) {
        ("", true) => format!("{}_total", shape.source),
        ("", false) => format!("{}_some_total", shape.source),
        (keys, true) => format!("{}_by_{keys}", shape.source),
        (keys, false) => format!("{}_some_by_{keys}", shape.source),
    };
    first_free(&words(&name), is_taken)
}

fn name_of(key: &Expr, text: &str) -> String {
    match key {
        Expr::Column(column) => column.name.clone(),
        _ => words(text),
    }
}

/// A name made of the words of a text.
fn words(text: &str) -> String {
    let kept = text.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), " ");
    let name = kept.split_whitespace().collect::<Vec<_>>().join("_");
    let cut: String = name.chars().take(NAME_LENGTH).collect();
    match cut.trim_matches('_') {
        "" => "value".to_owned(),
        name if name.starts_with(|c: char| c.is_ascii_digit()) => format!("n_{name}"),
        name => name.to_owned(),
    }
}

fn call_sql(call: &Call) -> Result<String> {
    let (function, size) = match call.function {
        Function::Sketch { kept, .. } => (sketch_name(kept), kept.size),
        other => (function_name(other), None),
    };
    let argument = call.argument.as_ref().map_or(Ok("*".to_owned()), sql)?;
    let size = size.map(|size| format!(", {size}")).unwrap_or_default();
    match &call.filter {
        None => Ok(format!("{function}({argument}{size})")),
        Some(filter) => Ok(format!("{function}({argument}{size}) FILTER (WHERE {})", sql(filter)?)),
    }
}

fn function_name(function: Function) -> &'static str {
    match function {
        Function::CountRows | Function::Count => "count",
        Function::Sum | Function::DecimalSum => "sum",
        Function::Min => "min",
        Function::Max => "max",
        Function::Average => "avg",
        Function::BoolAnd => "bool_and",
        Function::BoolOr => "bool_or",
        Function::ApproxDistinct => "approx_distinct",
        Function::Sketch { kept, .. } => sketch_name(kept),
    }
}

fn sketch_name(kept: Sketch) -> &'static str {
    match (kept.kind, kept.of) {
        (SketchKind::Hll, SketchOf::Values) => "hll_sketch",
        (SketchKind::Hll, SketchOf::Sketches) => "hll_union",
        (SketchKind::Theta, SketchOf::Values) => "theta_sketch",
        (SketchKind::Theta, SketchOf::Sketches) => "theta_union",
        (SketchKind::Kll, SketchOf::Values) => "kll_sketch",
        (SketchKind::Kll, SketchOf::Sketches) => "kll_merge",
    }
}

/// The expression as SQL that is read as it again.
fn sql(expr: &Expr) -> Result<String> {
    Ok(Unparser::new(&Names).expr_to_sql(expr)?.to_string())
}

/// A name, in quotes if it needs them.
pub fn quoted(name: &str) -> String {
    match Names.identifier_quote_style(name) {
        None => name.to_owned(),
        Some(quote) => format!("{quote}{}{quote}", name.replace('"', "\"\"")),
    }
}

/// SQL with quotes only where they are needed.
struct Names;

impl Dialect for Names {
    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        let is_word = identifier.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && !identifier.is_empty()
            && !identifier.starts_with(|c: char| c.is_ascii_digit());
        (!is_word || is_reserved(identifier)).then_some('"')
    }
}

/// Whether a word cannot be a name by itself.
fn is_reserved(word: &str) -> bool {
    let upper = word.to_ascii_uppercase();
    let found = datafusion::sql::sqlparser::keywords::ALL_KEYWORDS.binary_search(&upper.as_str());
    let keyword: Option<Keyword> = found.ok().and_then(|at| ALL_KEYWORDS_INDEX.get(at)).copied();
    keyword.is_some_and(|keyword| {
        RESERVED_FOR_COLUMN_ALIAS.contains(&keyword) || RESERVED_FOR_TABLE_ALIAS.contains(&keyword)
    })
}

//! Advice for the questions that were asked of one table.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;

use super::growth::groups;
use super::report::{Advice, Report};
use super::sample::Sample;
use super::workload::Asked;
use crate::catalog::{CatalogSnapshot, Definition, Statement, parse_statement};
use crate::query::QueryError;
use crate::query::engine::Inner;
use crate::query::views::{cheapest, decide, rows_of};
use crate::rollup::{self, Costs, Design, Scan, Shape, Strategy, Values};
use crate::storage::TableSnapshot;

/// Questions looked at, those that took longest first.
const QUESTIONS_MAX: usize = 64;
/// Views compared.
const CANDIDATES_MAX: usize = 48;
/// Views advised.
const VIEWS_MAX: usize = 5;
/// A question is answered from another view only where that has this many times fewer rows to read.
const GAIN_MIN: f64 = 2.0;
/// A view with a larger part of the table's rows than this is not worth its upkeep.
const PART_MAX: f64 = 0.5;
/// Characters of a statement that reasons show.
const TEXT_SHOWN: usize = 80;

/// A view that could be made.
struct Candidate {
    shape: Shape,
    design: Arc<Design>,
    /// About how many rows it would have.
    rows: f64,
}

/// A question and what it reads now.
struct Priced {
    asked: Asked,
    rows_now: f64,
    /// The part of the table's files that its filters leave.
    part: f64,
}

/// # Errors
/// Files that cannot be read.
pub(super) async fn advise_table(
    engine: &Arc<Inner>,
    catalog: &Arc<CatalogSnapshot>,
    (table, mut asked): (&str, Vec<Asked>),
    taken: &[String],
    report: &mut Report,
) -> Result<Vec<Advice>, QueryError> {
    let Some(path) = catalog.relation(table)?.table_path.clone() else { return Ok(Vec::new()) };
    let snapshot = engine.lake.open_table(&path).await?.snapshot().await?;
    let mut state = engine.shared.state_at(engine.clock.now());
    // A sample is the first rows of files, in their order.
    *state.config_mut() = state.config().clone().with_target_partitions(1);
    asked.sort_by_key(|asked| std::cmp::Reverse(asked.elapsed));
    asked.truncate(QUESTIONS_MAX);
    if snapshot.row_count() == 0 {
        report.note(format!("'{table}' has no rows"), asked.iter().map(|asked| asked.runs).sum());
        return Ok(Vec::new());
    }
    let priced = priced(engine, (&state, catalog), &snapshot, asked, report).await?;
    let columns = provider_as_source(snapshot.provider()).schema();
    let candidates = candidates(engine, catalog, &priced, &columns);
    let sampled: BTreeSet<String> = candidates.iter().flat_map(|(shape, design)| columns_of(shape, design)).collect();
    let sample = Sample::read(engine, &state, &snapshot, &sampled).await?;
    let mut sized = Vec::with_capacity(candidates.len());
    for (shape, design) in candidates {
        let found = sample.groups(engine, &state, &shape).await?;
        sized.push(Candidate { rows: groups(found, sample.scale), shape, design });
    }
    let table_rows = snapshot.row_count();
    note_too_large(&sized, &priced, (&columns, table_rows), report);
    sized.retain(|candidate| candidate.rows <= PART_MAX * table_rows as f64);
    let sized = without_needless_filters(sized, &priced, &columns);
    let costs = costs(&priced, &sized, &columns);
    let mut advice = Vec::new();
    for chosen in rollup::choose(&costs, VIEWS_MAX) {
        let (candidate, questions) = (&sized[chosen.view], chosen.questions.iter().map(|index| &priced[*index]));
        let with = |index: &usize| costs.with[chosen.view][*index].unwrap_or(0.0);
        let saved = chosen.questions.iter().map(|index| saved(&priced[*index], with(index)));
        let rows = candidate.rows.ceil() as u64;
        let sort_first: Vec<String> =
            questions.clone().flat_map(|priced| rollup::sought(&priced.asked.question)).collect();
        let is_taken = |name: &str| {
            catalog.relations.contains_key(name)
                || taken.iter().any(|taken| taken == name)
                || advice.iter().any(|advice: &Advice| advice.name == name)
        };
        let written = rollup::written(&candidate.shape, rows, &sort_first, &is_taken)?;
        let bytes = sample.bytes_per_row(engine, &state, &candidate.design).await?;
        advice.push(Advice {
            name: written.name,
            ddl: written.ddl,
            rows,
            bytes: bytes.map(|bytes| (bytes * candidate.rows).ceil() as u64),
            table_rows,
            runs: questions.clone().map(|priced| priced.asked.runs).sum(),
            saved_rows: chosen.saved,
            saved: saved.sum(),
            reason: reason(questions.collect(), &sample, (table, table_rows)),
        });
    }
    Ok(advice)
}

/// What the questions read now. Those that no view helps are noted.
async fn priced(
    engine: &Arc<Inner>,
    (state, catalog): (&SessionState, &Arc<CatalogSnapshot>),
    snapshot: &Arc<TableSnapshot>,
    asked: Vec<Asked>,
    report: &mut Report,
) -> Result<Vec<Priced>, QueryError> {
    let mut priced = Vec::with_capacity(asked.len());
    for asked in asked {
        let question = &asked.question;
        if !rollup::is_worthwhile(question) {
            report.note(
                "it is answered from what is known of the table's files, without reading them".to_owned(),
                asked.runs,
            );
            continue;
        }
        let base = Scan { table: question.source.as_str().into(), source: provider_as_source(snapshot.provider()) };
        let all = snapshot.row_count() as f64;
        let left = match asked.values {
            Values::Given => rows_of(state, &base, question.filters.iter()).map_or(all, |rows| rows as f64),
            Values::StandIns => all,
        };
        let now = match cheapest(engine, state, question, (snapshot, catalog), None).await {
            Some(view) => {
                let rows = match asked.values {
                    Values::Given => view.rows_left(),
                    Values::StandIns => view.rows(),
                };
                report.note(format!("view '{}' answers it already, with {rows} rows read", view.name), asked.runs);
                rows as f64
            }
            None => left,
        };
        priced.push(Priced { asked, rows_now: now, part: left / all });
    }
    Ok(priced)
}

/// Views that answer one question or several, as they would be kept if they were made.
fn candidates(
    engine: &Arc<Inner>,
    catalog: &Arc<CatalogSnapshot>,
    priced: &[Priced],
    columns: &SchemaRef,
) -> Vec<(Shape, Arc<Design>)> {
    let of_one = priced.iter().flat_map(|priced| rollup::shapes(&priced.asked.question, columns, priced.asked.values));
    let shapes = rollup::with_joins(of_one.collect(), CANDIDATES_MAX);
    let designed = shapes.into_iter().filter_map(|shape| {
        let design = designed(engine, catalog, &shape);
        if let Err(error) = &design {
            tracing::debug!(%error, "a view that cannot be made is not advised");
        }
        Some((shape, design.ok()??))
    });
    designed.collect()
}

/// The design of a shape's view, decided as at CREATE; None: it would not be kept incrementally.
fn designed(
    engine: &Arc<Inner>,
    catalog: &Arc<CatalogSnapshot>,
    shape: &Shape,
) -> Result<Option<Arc<Design>>, QueryError> {
    let written = rollup::written(shape, u64::MAX, &[], &|_| false)?;
    let Statement::Create(create) = parse_statement(&written.ddl)? else { return Ok(None) };
    let Definition::MaterializedView(view) = &create.definition else { return Ok(None) };
    match decide(engine, catalog, view)?.strategy {
        Strategy::Incremental(design) => Ok(Some(design)),
        Strategy::Partition(_) | Strategy::Full(_) => Ok(None),
    }
}

/// Columns of the source that a view is made of.
fn columns_of(shape: &Shape, design: &Design) -> Vec<String> {
    let parts = design.parts.iter().flat_map(|stored| stored.part.argument.iter().chain(&stored.part.filter));
    let named =
        parts.flat_map(|expr| expr.column_refs().into_iter().map(|column| column.name.clone()).collect::<Vec<_>>());
    shape.columns().into_iter().chain(named).collect()
}

/// The rows a question would read from a view: all, or as large a part as of the table, whose filters on time skip alike.
fn rows_with(priced: &Priced, candidate: &Candidate, columns: &SchemaRef) -> Option<f64> {
    rollup::cover(&priced.asked.question, &candidate.design, columns)?;
    let has_times = candidate.shape.times().next().is_some();
    Some(if has_times { (candidate.rows * priced.part).max(1.0) } else { candidate.rows })
}

/// A filter stays one of the view only where its columns as keys make too many rows: with them as keys the view answers the
/// same question about other values too.
fn without_needless_filters(candidates: Vec<Candidate>, priced: &[Priced], columns: &SchemaRef) -> Vec<Candidate> {
    let answers = |candidate: &Candidate| -> Vec<bool> {
        priced.iter().map(|priced| rows_with(priced, candidate, columns).is_some()).collect()
    };
    let all: Vec<(Candidate, Vec<bool>)> = candidates
        .into_iter()
        .map(|candidate| (answers(&candidate), candidate))
        .map(|(answers, candidate)| (candidate, answers))
        .collect();
    let general: Vec<Vec<bool>> = all
        .iter()
        .filter(|(candidate, _)| candidate.shape.filters().next().is_none())
        .map(|(_, answers)| answers.clone())
        .collect();
    let is_needless = |(candidate, answers): &(Candidate, Vec<bool>)| {
        let covers = |general: &Vec<bool>| answers.iter().zip(general).all(|(this, general)| *general || !this);
        candidate.shape.filters().next().is_some() && general.iter().any(covers)
    };
    all.into_iter().filter(|candidate| !is_needless(candidate)).map(|(candidate, _)| candidate).collect()
}

fn costs(priced: &[Priced], candidates: &[Candidate], columns: &SchemaRef) -> Costs {
    let with = |candidate: &Candidate| {
        let rows =
            |priced: &Priced| rows_with(priced, candidate, columns).filter(|rows| rows * GAIN_MIN <= priced.rows_now);
        priced.iter().map(rows).collect()
    };
    Costs {
        asked: priced.iter().map(|priced| priced.asked.runs as f64).collect(),
        now: priced.iter().map(|priced| priced.rows_now).collect(),
        with: candidates.iter().map(with).collect(),
    }
}

/// Time goes with rows read.
fn saved(priced: &Priced, with: f64) -> Duration {
    priced.asked.elapsed.mul_f64((1.0 - with / priced.rows_now.max(1.0)).clamp(0.0, 1.0))
}

/// Questions whose views are all about as large as their table.
fn note_too_large(
    candidates: &[Candidate],
    priced: &[Priced],
    (columns, table_rows): (&SchemaRef, u64),
    report: &mut Report,
) {
    for priced in priced {
        let covering = candidates.iter().filter(|candidate| rows_with(priced, candidate, columns).is_some());
        match covering.map(|candidate| candidate.rows).reduce(f64::min) {
            None => report.note("no view with its filters and keys can be kept as parts".to_owned(), priced.asked.runs),
            Some(rows) if rows > PART_MAX * table_rows as f64 => {
                let reason = format!(
                    "a view that answers it would have about {:.0} rows, of {table_rows} in '{}'",
                    rows, priced.asked.question.source
                );
                report.note(reason, priced.asked.runs);
            }
            Some(_) => {}
        }
    }
}

fn reason(mut questions: Vec<&Priced>, sample: &Sample, (table, table_rows): (&str, u64)) -> String {
    questions.sort_by_key(|question| std::cmp::Reverse(question.asked.elapsed));
    let now = questions.iter().map(|priced| priced.rows_now).fold(0.0, f64::max);
    let text = questions.first().map(|priced| shown(&priced.asked.text)).unwrap_or_default();
    let others = match questions.len() {
        0 | 1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    let counted = match sample.rows == table_rows {
        true => format!("counted in all {table_rows} rows of '{table}'"),
        false => {
            let (looked, all) = sample.files;
            format!("estimated from {} rows of {looked} of {all} files of '{table}'", sample.rows)
        }
    };
    format!("answers {text}{others}, which read up to {now:.0} rows now; rows {counted}")
}

/// The beginning of a statement, in one line.
fn shown(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(TEXT_SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

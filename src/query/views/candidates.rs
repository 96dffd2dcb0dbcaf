//! Which view answers a question: of those that cover it, the one that reads the fewest rows.
//!
//! ```text
//! views of the table (remembered) ─ cover ─► by rows stored, fewest first ─ pin, a few ─► rows left after skipping ─► the fewest
//! ```
//! Looking at a view costs time: its table is opened and the log is asked what it has not absorbed. So only a few views are
//! looked at, and none once it cannot be better than one that was.

use std::sync::Arc;

use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;

use super::designs::Rewriter;
use super::estimate::{rows_of, rows_of_pieces};
use super::pin::{PinnedView, ViewToPin, pin_at};
use super::reading::scans;
use crate::base::{Timestamp, chain};
use crate::catalog::CatalogSnapshot;
use crate::query::QueryError;
use crate::query::engine::Inner;
use crate::rollup::{self, Asking, Cover, Functions, Piece, Question, Scan};
use crate::storage::TableSnapshot;

/// Usable views that are compared, at most.
const COMPARED_MAX: usize = 4;

/// A view that answers a question with fewer rows than its table.
pub(in crate::query) struct Candidate {
    pub name: String,
    pub pieces: Vec<Piece>,
    pub functions: Arc<Functions>,
    /// The session does without what the view has not absorbed; its rows are true for this moment.
    pub as_of: Option<Timestamp>,
    /// Rows left to read, and rows there are.
    cost: (u64, u64),
}

impl Candidate {
    /// Rows of its files that the filters of the question leave to read.
    pub fn rows_left(&self) -> u64 {
        self.cost.0
    }

    /// Rows there are to read, stored and not absorbed.
    pub fn rows(&self) -> u64 {
        self.cost.1
    }
}

/// The cheapest of the views that cover `question`, if it reads fewer rows than `source`, which the statement has pinned.
/// Its rows may be true for a moment as early as `oldest`. A view that cannot be opened, as one that was dropped a moment ago,
/// answers nothing.
pub(in crate::query) async fn cheapest(
    engine: &Arc<Inner>,
    state: &SessionState,
    question: &Question,
    (source, catalog): (&Arc<TableSnapshot>, &Arc<CatalogSnapshot>),
    oldest: Option<Timestamp>,
) -> Option<Candidate> {
    let base = Scan { table: question.source.as_str().into(), source: provider_as_source(source.provider()) };
    let covering = covering(engine, question, &base, catalog).await;
    let mut rows_of_base: Option<Option<u64>> = None;
    let mut best: Option<Candidate> = None;
    let mut compared = 0;
    for (stored_rows, view, cover) in covering {
        // Filters can leave fewer rows of a larger view.
        let is_beaten = question.filters.is_empty() && best.as_ref().is_some_and(|best| stored_rows >= best.cost.1);
        if compared == COMPARED_MAX || stored_rows >= source.row_count() || is_beaten {
            break;
        }
        // Edges are read from the source as it is: beside them, stored rows of an earlier moment would be rows of no moment.
        let oldest = oldest.filter(|_| cover.edges.is_none());
        let name = view.name.clone();
        let pinned = match pin_at(engine, catalog, view, source, oldest).await {
            Ok(pinned) => pinned,
            Err(error) => {
                unusable(&name, &error);
                continue;
            }
        };
        let Some(stored) = &pinned.stored else { continue };
        let rows = stored.row_count() + pinned.lacks.rows();
        if rows >= source.row_count() {
            continue;
        }
        compared += 1;
        let pieces = rollup::pieces(cover, scans(&pinned, stored));
        let Some(left) = rows_of_pieces(state, question, &pieces) else { continue };
        let of_base = *rows_of_base.get_or_insert_with(|| rows_of(state, &base, question.filters.iter()));
        let cost = (left, rows);
        if of_base.is_some_and(|of_base| left <= of_base) && best.as_ref().is_none_or(|best| cost < best.cost) {
            let PinnedView { name, functions, as_of, .. } = pinned;
            best = Some(Candidate { name, pieces, functions, as_of, cost });
        }
    }
    best
}

/// Views that cover the question and the rows they store as far as that is known here, those with the fewest first.
async fn covering(
    engine: &Arc<Inner>,
    question: &Question,
    base: &Scan,
    catalog: &Arc<CatalogSnapshot>,
) -> Vec<(u64, ViewToPin, Cover)> {
    let mut covering = Vec::new();
    for (view, cover) in covers(engine, question, base, catalog) {
        match engine.lake.open_table(&view.path).await {
            Ok(table) => covering.push((table.current().row_count(), view, cover)),
            Err(error) => unusable(&view.name, &error.into()),
        }
    }
    covering.sort_by_key(|(stored_rows, ..)| *stored_rows);
    covering
}

fn unusable(view: &str, error: &QueryError) {
    tracing::debug!(view, error = %chain(error), "a view that would answer a query cannot be opened");
}

fn covers(
    engine: &Arc<Inner>,
    question: &Question,
    base: &Scan,
    catalog: &Arc<CatalogSnapshot>,
) -> Vec<(ViewToPin, Cover)> {
    let rewriters = engine.designs.rewriters(engine, catalog);
    let Some(asking) = Asking::of(question, &base.source.schema()) else { return Vec::new() };
    let of_source = rewriters.get(&question.source).into_iter().flatten();
    let covers = of_source.filter_map(|Rewriter { name, path, design }| {
        let cover = asking.cover(design)?;
        Some((ViewToPin { name: name.clone(), path: path.clone(), design: design.clone() }, cover))
    });
    covers.collect()
}

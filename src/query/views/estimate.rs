//! How many rows an answer reads: those of the files that are left when its filters have skipped what they can.
//!
//! The rows a table has do not decide: it may be laid out for a filter that its view is not. Files are counted by the same
//! statistics and the same pruning as when they are scanned, but no plan is made.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::datasource::source_as_provider;
use datafusion::execution::SessionState;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

use crate::query::functions::settled_numbers;
use crate::rollup::{Piece, Question, Scan};
use crate::storage::rows_left;

/// Rows that the pieces of an answer to `question` read; None: they are read from something that is not a table of the lake.
pub(super) fn rows_of_pieces(state: &SessionState, question: &Question, pieces: &[Piece]) -> Option<u64> {
    pieces.iter().try_fold(0_u64, |sum, piece| {
        let rows = match piece {
            Piece::Stored { rows, cover } => rows_of(state, rows, cover.predicate.iter()),
            Piece::Base { rows, within } => rows_of(state, rows, question.filters.iter().chain(within)),
        };
        Some(sum.saturating_add(rows?))
    })
}

/// Rows of the files of `scan` in which all `filters` (as SQL planning gives them) may hold.
pub(in crate::query) fn rows_of<'a>(
    state: &SessionState,
    scan: &Scan,
    filters: impl Iterator<Item = &'a Expr>,
) -> Option<u64> {
    let provider = source_as_provider(&scan.source).ok()?;
    let schema = Arc::new(DFSchema::try_from(provider.schema()).ok()?);
    let context = SimplifyContext::builder()
        .with_schema(schema.clone())
        .with_config_options(state.config_options().clone())
        .with_query_execution_start_time(state.execution_props().query_execution_start_time)
        .build();
    let simplifier = ExprSimplifier::new(context);
    // One that cannot be settled here skips nothing.
    let settle = |filter: &Expr| {
        let coerced = simplifier.coerce(settled_numbers(filter.clone(), &schema).ok()?, &schema).ok()?;
        simplifier.simplify(coerced).ok()
    };
    let filters: Vec<Expr> = filters.filter_map(settle).collect();
    rows_left(provider.as_ref(), state, &filters)
}

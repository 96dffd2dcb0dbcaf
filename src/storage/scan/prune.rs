//! Which files may hold rows a predicate accepts, by their statistics.
//!
//! On two levels, with the same predicate: first each segment as a whole, then the files of the segments left. The cost
//! of planning a selective query thus hardly grows with the table.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};

use crate::storage::index::{Bounds, DataFile, Layout, Segment, Segments};

/// The files left of one segment; not empty.
pub(super) enum Kept<'a> {
    /// All of them.
    Segment(&'a Arc<Segment>),
    Files(Vec<&'a Arc<DataFile>>),
}

impl<'a> Kept<'a> {
    pub fn files(&self) -> impl Iterator<Item = &'a Arc<DataFile>> {
        let (all, some): (&[_], &[_]) = match self {
            Kept::Segment(segment) => (segment.files(), &[]),
            Kept::Files(files) => (&[], files),
        };
        all.iter().chain(some.iter().copied())
    }
}

/// The files that may hold rows for which `predicate` (over table order) is true. Segments without any are left out.
/// A predicate that says nothing about statistics prunes nothing.
pub(super) fn prune<'a>(
    layout: &Layout,
    segments: &'a Segments,
    predicate: Option<&Arc<dyn PhysicalExpr>>,
    max_in_list_size: usize,
) -> Vec<Kept<'a>> {
    let pruning = predicate.and_then(|predicate| {
        let builder = PruningPredicateBuilder::new().with_file_schema(layout.ordered().clone());
        builder.with_max_in_list_size(max_in_list_size).try_build(predicate.clone()).ok()
    });
    let Some(pruning) = pruning.filter(|pruning| !pruning.always_true()) else {
        return segments.iter().map(Kept::Segment).collect();
    };
    // One segment is looked into at once: its bounds as a whole would seldom say more than its files do.
    let left = if segments.len() > 1 { may_match(&pruning, layout, segments) } else { vec![true; segments.len()] };
    let left = segments.iter().zip(left).filter(|(_, may)| *may);
    left.filter_map(|(segment, _)| keep(&pruning, layout, segment)).collect()
}

fn keep<'a>(pruning: &PruningPredicate, layout: &Layout, segment: &'a Arc<Segment>) -> Option<Kept<'a>> {
    let left = may_match(pruning, layout, segment.as_ref());
    if left.iter().all(|may| *may) {
        return Some(Kept::Segment(segment));
    }
    let files = segment.files().iter().zip(left).filter(|(_, may)| *may).map(|(file, _)| file);
    let files: Vec<&Arc<DataFile>> = files.collect();
    (!files.is_empty()).then_some(Kept::Files(files))
}

/// For each container whether it may hold a row the predicate accepts. A predicate that cannot be evaluated on
/// statistics keeps all; the filter above the scan decides.
fn may_match<C: Containers>(pruning: &PruningPredicate, layout: &Layout, containers: &C) -> Vec<bool> {
    pruning.prune(&Known { layout, containers }).unwrap_or_else(|_| vec![true; containers.count()])
}

/// Things that hold rows, with what is known of each.
trait Containers {
    fn count(&self) -> usize;
    fn bounds(&self, layout: &Layout, place: usize) -> Option<&Bounds>;
    fn rows(&self) -> &ArrayRef;
}

impl Containers for Segments {
    fn count(&self) -> usize {
        self.len()
    }

    fn bounds(&self, layout: &Layout, place: usize) -> Option<&Bounds> {
        Segments::bounds(self, layout, place)
    }

    fn rows(&self) -> &ArrayRef {
        Segments::rows(self)
    }
}

impl Containers for Segment {
    fn count(&self) -> usize {
        self.files().len()
    }

    fn bounds(&self, layout: &Layout, place: usize) -> Option<&Bounds> {
        Segment::bounds(self, layout, place)
    }

    fn rows(&self) -> &ArrayRef {
        Segment::rows(self)
    }
}

struct Known<'a, C> {
    layout: &'a Layout,
    containers: &'a C,
}

impl<C: Containers> Known<'_, C> {
    fn bounds(&self, column: &Column) -> Option<&Bounds> {
        self.containers.bounds(self.layout, self.layout.ordered().index_of(column.name()).ok()?)
    }
}

impl<C: Containers> PruningStatistics for Known<'_, C> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        Some(self.bounds(column)?.lower.clone())
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        Some(self.bounds(column)?.upper.clone())
    }

    fn num_containers(&self) -> usize {
        self.containers.count()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        Some(self.bounds(column)?.nulls.clone())
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(self.containers.rows().clone())
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

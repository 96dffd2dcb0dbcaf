//! Which files may hold rows a predicate accepts, by their statistics.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};

use crate::storage::index::{DataFile, Layout, Segment};

/// The files left of one segment; not empty.
pub(super) struct Kept<'a> {
    pub files: Vec<&'a Arc<DataFile>>,
}

/// The files that may hold rows for which `predicate` (over table order) is true. Segments without any are left out.
/// A predicate that says nothing about statistics prunes nothing.
pub(super) fn prune<'a>(
    layout: &Layout,
    segments: &'a [Arc<Segment>],
    predicate: Option<&Arc<dyn PhysicalExpr>>,
    max_in_list_size: usize,
) -> Vec<Kept<'a>> {
    let pruning = predicate.and_then(|predicate| {
        let builder = PruningPredicateBuilder::new().with_file_schema(layout.ordered().clone());
        builder.with_max_in_list_size(max_in_list_size).try_build(predicate.clone()).ok()
    });
    let pruning = pruning.filter(|pruning| !pruning.always_true());
    segments.iter().filter_map(|segment| keep(layout, segment, pruning.as_ref())).collect()
}

fn keep<'a>(layout: &Layout, segment: &'a Arc<Segment>, pruning: Option<&PruningPredicate>) -> Option<Kept<'a>> {
    // A predicate that cannot be evaluated on statistics keeps the files; the filter above the scan decides.
    let may_match = pruning.and_then(|pruning| pruning.prune(&SegmentBounds { layout, segment }).ok());
    let files: Vec<&Arc<DataFile>> = match may_match {
        None => segment.files().iter().collect(),
        Some(may_match) => {
            segment.files().iter().zip(may_match).filter(|(_, may)| *may).map(|(file, _)| file).collect()
        }
    };
    (!files.is_empty()).then_some(Kept { files })
}

struct SegmentBounds<'a> {
    layout: &'a Layout,
    segment: &'a Segment,
}

impl SegmentBounds<'_> {
    fn place(&self, column: &Column) -> Option<usize> {
        self.layout.ordered().index_of(column.name()).ok()
    }
}

impl PruningStatistics for SegmentBounds<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        Some(self.segment.bounds(self.layout, self.place(column)?)?.lower.clone())
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        Some(self.segment.bounds(self.layout, self.place(column)?)?.upper.clone())
    }

    fn num_containers(&self) -> usize {
        self.segment.files().len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        Some(self.segment.bounds(self.layout, self.place(column)?)?.nulls.clone())
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(self.segment.rows().clone())
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

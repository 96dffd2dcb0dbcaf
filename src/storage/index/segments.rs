//! The segments of one version, and what is known of each as a whole.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, UInt64Array};

use super::bounds::Bounds;
use super::layout::Layout;
use super::segment::Segment;

/// A list of segments with one element per segment of what [`Segment`] has per file: the first of the two levels of
/// pruning. Made when first needed, shared by all scans of the version.
#[derive(Debug)]
pub(crate) struct Segments {
    list: Vec<Arc<Segment>>,
    /// By place in table order.
    bounds: Vec<OnceLock<Bounds>>,
    rows: OnceLock<ArrayRef>,
}

impl Segments {
    pub fn new(layout: &Layout, list: Vec<Arc<Segment>>) -> Segments {
        let bounds = std::iter::repeat_with(OnceLock::new).take(layout.ordered().fields().len()).collect();
        Segments { list, bounds, rows: OnceLock::new() }
    }

    /// Bounds of the column at `place`, per segment.
    pub fn bounds(&self, layout: &Layout, place: usize) -> Option<&Bounds> {
        let cell = self.bounds.get(place)?;
        Some(cell.get_or_init(|| {
            let totals = self.list.iter().map(|segment| segment.total(place));
            Bounds::of(layout.ordered().field(place).data_type(), totals)
        }))
    }

    /// Rows of each segment; null = unknown.
    pub fn rows(&self) -> &ArrayRef {
        let rows = |segment: &Arc<Segment>| segment.row_total().get_value().map(|rows| *rows as u64);
        self.rows.get_or_init(|| Arc::new(self.list.iter().map(rows).collect::<UInt64Array>()))
    }
}

impl Deref for Segments {
    type Target = [Arc<Segment>];

    fn deref(&self) -> &[Arc<Segment>] {
        &self.list
    }
}

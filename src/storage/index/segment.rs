//! A run of files, immutable and shared by all versions that contain it unchanged.
//!
//! Bounds of a column are kept as Arrow arrays, made when a predicate first needs them, so that pruning a segment is a
//! few vectorised comparisons; the arrays live as long as the segment, over many versions.

use std::cmp::Ordering;
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, UInt64Array, new_null_array};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue};
use object_store::path::Path;

use super::file::DataFile;
use super::layout::Layout;

/// Files of one segment at most: large enough for vectorised pruning, small enough that a commit, which copies the last
/// segment, stays cheap.
pub(crate) const SEGMENT_FILES: usize = 512;

/// See the module. Not empty.
#[derive(Debug)]
pub(crate) struct Segment {
    files: Vec<Arc<DataFile>>,
    /// Positions of `files` by path.
    by_path: Vec<u32>,
    /// By place in table order.
    bounds: Vec<OnceLock<Bounds>>,
    rows: OnceLock<ArrayRef>,
}

/// What is known of one column, one element per file; null = unknown.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub lower: ArrayRef,
    pub upper: ArrayRef,
    pub nulls: ArrayRef,
}

/// Cuts `files` into segments.
pub(crate) fn segments_of(layout: &Layout, files: Vec<Arc<DataFile>>) -> Vec<Arc<Segment>> {
    files.chunks(SEGMENT_FILES).map(|chunk| Arc::new(Segment::new(layout, chunk.to_vec()))).collect()
}

impl Segment {
    fn new(layout: &Layout, files: Vec<Arc<DataFile>>) -> Segment {
        let mut by_path: Vec<u32> = (0..).take(files.len()).collect();
        let path = |at: &u32| files.get(*at as usize).map(|file| &file.relative);
        by_path.sort_unstable_by(|a, b| path(a).cmp(&path(b)));
        let bounds = std::iter::repeat_with(OnceLock::new).take(layout.ordered().fields().len()).collect();
        Segment { by_path, bounds, rows: OnceLock::new(), files }
    }

    pub fn files(&self) -> &[Arc<DataFile>] {
        &self.files
    }

    /// The position of the file at `relative`.
    pub fn find(&self, relative: &Path) -> Option<usize> {
        let compare =
            |at: &u32| self.files.get(*at as usize).map_or(Ordering::Less, |file| file.relative.cmp(relative));
        let found = self.by_path.binary_search_by(compare).ok()?;
        self.by_path.get(found).map(|at| *at as usize)
    }

    /// Bounds of the column at `place`.
    pub fn bounds(&self, layout: &Layout, place: usize) -> Option<&Bounds> {
        let cell = self.bounds.get(place)?;
        Some(cell.get_or_init(|| {
            let data_type = layout.ordered().field(place).data_type();
            let values = |pick: fn(&ColumnStatistics) -> &Precision<ScalarValue>| {
                let scalars: Option<Vec<ScalarValue>> = self
                    .files
                    .iter()
                    .map(|file| match file.statistics.column_statistics.get(place).and_then(|c| pick(c).get_value()) {
                        Some(value) => Some(value.clone()),
                        None => ScalarValue::try_from(data_type).ok(),
                    })
                    .collect();
                let array = scalars.and_then(|scalars| ScalarValue::iter_to_array(scalars).ok());
                array.unwrap_or_else(|| new_null_array(data_type, self.files.len()))
            };
            let nulls = self.files.iter().map(|file| {
                let column = file.statistics.column_statistics.get(place)?;
                column.null_count.get_value().map(|count| *count as u64)
            });
            Bounds {
                lower: values(|column| &column.min_value),
                upper: values(|column| &column.max_value),
                nulls: Arc::new(nulls.collect::<UInt64Array>()),
            }
        }))
    }

    /// Rows of each file; null = unknown.
    pub fn rows(&self) -> &ArrayRef {
        self.rows.get_or_init(|| Arc::new(self.files.iter().map(|file| file.rows()).collect::<UInt64Array>()))
    }
}

/// Segments with some files removed and others appended, sharing what is untouched.
pub(super) fn updated(
    layout: &Layout,
    segments: &[Arc<Segment>],
    gone: &[Path],
    added: Vec<Arc<DataFile>>,
) -> Vec<Arc<Segment>> {
    let mut result: Vec<Arc<Segment>> = segments.iter().filter_map(|segment| without(layout, segment, gone)).collect();
    if gone.is_empty() && added.is_empty() {
        return result;
    }
    // What is left of thinned segments joins its neighbour, so that many removals do not leave many crumbs.
    result = coalesce(layout, result);
    let mut tail = added;
    if let Some(last) = result.pop_if(|last| last.files.len() < SEGMENT_FILES) {
        tail.splice(0..0, last.files.iter().cloned());
    }
    result.extend(segments_of(layout, tail));
    result
}

fn without(layout: &Layout, segment: &Arc<Segment>, gone: &[Path]) -> Option<Arc<Segment>> {
    let mut dropped: Vec<usize> = gone.iter().filter_map(|path| segment.find(path)).collect();
    if dropped.is_empty() {
        return Some(segment.clone());
    }
    dropped.sort_unstable();
    let kept = segment.files.iter().enumerate().filter(|(at, _)| dropped.binary_search(at).is_err());
    let kept: Vec<Arc<DataFile>> = kept.map(|(_, file)| file.clone()).collect();
    (!kept.is_empty()).then(|| Arc::new(Segment::new(layout, kept)))
}

fn coalesce(layout: &Layout, segments: Vec<Arc<Segment>>) -> Vec<Arc<Segment>> {
    let mut result: Vec<Arc<Segment>> = Vec::with_capacity(segments.len());
    for segment in segments {
        match result.last_mut() {
            Some(last) if last.files.len() + segment.files.len() <= SEGMENT_FILES / 2 => {
                let files = last.files.iter().chain(&segment.files).cloned().collect();
                *last = Arc::new(Segment::new(layout, files));
            }
            _ => result.push(segment),
        }
    }
    result
}

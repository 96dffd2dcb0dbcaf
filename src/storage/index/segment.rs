//! A run of files, immutable and shared by all versions that contain it unchanged.
//!
//! What is known of a column is kept in two forms, each made when first needed and living as long as the segment, over
//! many versions: per file as Arrow arrays, so that pruning a segment is a few vectorised comparisons; and of all files
//! together, so that a segment none of whose files can match is skipped without looking at them.

use std::cmp::Ordering;
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, UInt64Array};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics};
use object_store::path::Path;

use super::bounds::{Bounds, merged};
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
    columns: Vec<Column>,
    rows: OnceLock<ArrayRef>,
    row_total: Precision<usize>,
    byte_total: Precision<usize>,
}

#[derive(Debug, Default)]
struct Column {
    bounds: OnceLock<Bounds>,
    total: OnceLock<ColumnStatistics>,
}

/// Cuts `files` into segments.
pub(crate) fn segments_of(layout: &Layout, files: &[Arc<DataFile>]) -> Vec<Arc<Segment>> {
    segments_of_size(layout, files, SEGMENT_FILES)
}

/// Cuts `files` into segments of at most `size` files; not zero.
pub(crate) fn segments_of_size(layout: &Layout, files: &[Arc<DataFile>], size: usize) -> Vec<Arc<Segment>> {
    files.chunks(size).map(|chunk| Arc::new(Segment::new(layout, chunk.to_vec()))).collect()
}

impl Segment {
    fn new(layout: &Layout, files: Vec<Arc<DataFile>>) -> Segment {
        let mut by_path: Vec<u32> = (0..).take(files.len()).collect();
        let path = |at: &u32| files.get(*at as usize).map(|file| &file.relative);
        by_path.sort_unstable_by(|a, b| path(a).cmp(&path(b)));
        let columns = std::iter::repeat_with(Column::default).take(layout.ordered().fields().len()).collect();
        let total = |of: fn(&Statistics) -> &Precision<usize>, none| {
            files.iter().fold(none, |sum: Precision<usize>, file| sum.add(of(&file.statistics)))
        };
        Segment {
            by_path,
            columns,
            rows: OnceLock::new(),
            row_total: total(|file| &file.num_rows, Precision::Exact(0)),
            byte_total: total(|file| &file.total_byte_size, Precision::Inexact(0)),
            files,
        }
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

    /// Bounds of the column at `place`, per file.
    pub fn bounds(&self, layout: &Layout, place: usize) -> Option<&Bounds> {
        let column = self.columns.get(place)?;
        Some(column.bounds.get_or_init(|| {
            let columns = self.files.iter().map(|file| file.statistics.column_statistics.get(place));
            Bounds::of(layout.ordered().field(place).data_type(), columns)
        }))
    }

    /// What is known of the column at `place` over all files.
    pub fn total(&self, place: usize) -> Option<&ColumnStatistics> {
        let column = self.columns.get(place)?;
        Some(column.total.get_or_init(|| {
            let files = self.files.iter().map(|file| &file.statistics);
            merged(files.map(|file| (file.column_statistics.get(place), file.num_rows)))
        }))
    }

    /// Rows of all files; absent when one file does not say.
    pub fn row_total(&self) -> Precision<usize> {
        self.row_total
    }

    /// Bytes of all files.
    pub fn byte_total(&self) -> Precision<usize> {
        self.byte_total
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
    result.extend(segments_of(layout, &tail));
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

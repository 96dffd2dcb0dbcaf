//! Statistics of all files of a scan together: what answers `count(*)`, `min` and `max` without reading a file.

use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics};

use super::prune::Kept;
use crate::storage::index::{DataFile, Layout, Segment, merged};

/// Statistics in table order. Only the columns at `places` are filled in.
pub(super) fn summary(layout: &Layout, kept: &[Kept], places: &[usize]) -> Statistics {
    let parts = parts(kept);
    let mut statistics = Statistics::new_unknown(layout.ordered());
    statistics.num_rows = parts.iter().fold(Precision::Exact(0), |sum, part| sum.add(&part.rows()));
    statistics.total_byte_size = parts.iter().fold(Precision::Inexact(0), |sum, part| sum.add(&part.bytes()));
    for place in places {
        if let Some(slot) = statistics.column_statistics.get_mut(*place) {
            *slot = merged(parts.iter().map(|part| (part.column(*place), part.rows())));
        }
    }
    statistics
}

/// What is summed: segments kept whole know their totals already.
enum Part<'a> {
    Segment(&'a Segment),
    File(&'a DataFile),
}

fn parts<'a>(kept: &[Kept<'a>]) -> Vec<Part<'a>> {
    let mut parts = Vec::with_capacity(kept.len());
    for kept in kept {
        match kept {
            Kept::Segment(segment) => parts.push(Part::Segment(segment)),
            Kept::Files(files) => parts.extend(files.iter().map(|file| Part::File(file))),
        }
    }
    parts
}

impl<'a> Part<'a> {
    fn rows(&self) -> Precision<usize> {
        match self {
            Part::Segment(segment) => segment.row_total(),
            Part::File(file) => file.statistics.num_rows,
        }
    }

    fn bytes(&self) -> Precision<usize> {
        match self {
            Part::Segment(segment) => segment.byte_total(),
            Part::File(file) => file.statistics.total_byte_size,
        }
    }

    fn column(&self, place: usize) -> Option<&'a ColumnStatistics> {
        match self {
            Part::Segment(segment) => segment.total(place),
            Part::File(file) => file.statistics.column_statistics.get(place),
        }
    }
}

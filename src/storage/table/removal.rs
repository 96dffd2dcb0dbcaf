//! The line of the log that takes a file out of a table.
//!
//! Where rows go with it, the line tells their number and the extremes of their times: whoever keeps something by time
//! (a materialized view) then knows which times to look at again, long after the file's own line is gone from the log.
//! Source: <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#add-file-and-remove-file> (`stats` of `remove`)

use arrow::datatypes::DataType;
use datafusion::common::stats::Precision;

use super::action::RemoveFile;
use super::write::StatsText;
use crate::base::Timestamp;
use crate::storage::TableSnapshot;
use crate::storage::index::DataFile;

/// What becomes of the rows of a file that goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    Leave,
    /// In other files.
    Stay,
}

/// The line for `file` of `base`, written at a moment.
pub(super) fn removal(base: &TableSnapshot, file: &DataFile, (rows, at): (Rows, Timestamp)) -> RemoveFile {
    RemoveFile {
        path: encoded(file.relative.as_ref()),
        deletion_timestamp: at.millis(),
        data_change: rows == Rows::Leave,
        size: file.size,
        stats: (rows == Rows::Leave).then(|| stats(base, file)),
    }
}

/// As in the file's `add`, of the columns that are times.
fn stats(base: &TableSnapshot, file: &DataFile) -> String {
    let fields = base.index().layout().ordered().fields();
    let times = fields.iter().zip(&file.statistics.column_statistics);
    let times = times.filter(|(field, _)| matches!(field.data_type(), DataType::Timestamp(..)));
    let exact = |count: &Precision<usize>| match count {
        Precision::Exact(count) => Some(*count),
        Precision::Inexact(_) | Precision::Absent => None,
    };
    let mut stats = StatsText::new(exact(&file.statistics.num_rows));
    for (field, column) in times {
        stats.bounds(field.name(), (column.min_value.get_value(), column.max_value.get_value()));
        if let Some(count) = exact(&column.null_count) {
            stats.nulls(field.name(), count);
        }
    }
    stats.text()
}

/// A path as the log writes it: URL-encoded.
fn encoded(relative: &str) -> String {
    let mut text = String::with_capacity(relative.len());
    for byte in relative.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/=+:@,!$&'()*;".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

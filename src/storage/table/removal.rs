//! The line of the log that takes a file out of a table.
//!
//! Where rows go with it, the line tells their number and the extremes of their times: whoever keeps something by time
//! (a materialized view) then knows which times to look at again, long after the file's own line is gone from the log.
//! Source: <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#add-file-and-remove-file> (`stats` of `remove`)

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::common::stats::Precision;

use super::action::RemoveFile;
use super::write::bound_json;
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
    let (mut parts, mut mins, mut maxs, mut nulls) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    if let Precision::Exact(rows) = file.statistics.num_rows {
        parts.push(format!("\"numRecords\":{rows}"));
    }
    for (field, column) in times {
        let name = serde_json::Value::from(field.name().as_str());
        let bound = |value: &Precision<ScalarValue>| {
            value.get_value().and_then(bound_json).map(|bound| format!("{name}:{bound}"))
        };
        mins.extend(bound(&column.min_value));
        maxs.extend(bound(&column.max_value));
        if let Precision::Exact(count) = column.null_count {
            nulls.push(format!("{name}:{count}"));
        }
    }
    let named = [("minValues", mins), ("maxValues", maxs), ("nullCount", nulls)];
    parts.extend(named.iter().map(|(name, values)| format!("\"{name}\":{{{}}}", values.join(","))));
    format!("{{{}}}", parts.join(","))
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

//! One file → its decoder: format by extension, compression by content, columns by the map.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Load;
use crate::ingest::decode::csv::Header;
use crate::ingest::decode::{Content, CsvDecoder, CsvShape, Decoder, NdjsonDecoder, ParquetDecoder, open_content};
use crate::ingest::replay::ReadAs;
use crate::ingest::{FileFormat, IngestError, LoadRequest};

/// The format asked for, or the one the extension names.
///
/// # Errors
/// When the extension says nothing.
pub fn format_of(request: &LoadRequest, path: &str) -> Result<FileFormat, IngestError> {
    if let Some(format) = request.format {
        return Ok(format);
    }
    let name = path.to_ascii_lowercase();
    let plain = [".gz", ".zst"].iter().find_map(|compressed| name.strip_suffix(compressed)).unwrap_or(&name);
    match plain.rsplit_once('.').map(|(_, extension)| extension) {
        Some("parquet" | "pq") => Ok(FileFormat::Parquet),
        Some("csv") => Ok(FileFormat::Csv),
        Some("tsv" | "tab") => Ok(FileFormat::Tsv),
        Some("ndjson" | "jsonl" | "json") => Ok(FileFormat::Ndjson),
        _ => {
            let message = "its format is not known by its name; say which with format (parquet, csv, tsv, ndjson)";
            Err(IngestError::BadFile { file: path.to_owned(), message: message.to_owned() })
        }
    }
}

/// A file opened for decoding.
pub struct Source {
    pub decoder: Box<dyn Decoder>,
    /// Bytes of the file read so far; Parquet is read by column, so its rows are counted instead.
    count: Arc<AtomicU64>,
    row_total: Option<u64>,
    /// How its rejected rows are read again.
    pub read_as: Option<Arc<str>>,
}

impl Source {
    /// How much of the file's `bytes` is done after `rows` rows.
    pub fn bytes_read(&self, bytes: u64, rows: u64) -> u64 {
        match self.row_total {
            None => self.count.load(Ordering::Relaxed),
            Some(0) => bytes,
            Some(total) => u64::try_from(u128::from(bytes) * u128::from(rows) / u128::from(total)).unwrap_or(bytes),
        }
    }
}

/// Opens `path` (a local file; `name` is what the user calls it). Reads its beginning, so call it off the async threads.
///
/// # Errors
/// `Invalid`, worded to follow `file 'name'`.
pub fn open(load: &Load, path: &Path, name: &str) -> Result<Source, IngestError> {
    let count = Arc::<AtomicU64>::default();
    let mut row_total = None;
    let request = &load.request;
    let mut read_as = ReadAs::new(request.map.clone(), request.time_format.clone());
    let content = || -> Result<Content, IngestError> {
        open_content(path, name, count.clone()).map_err(|error| unreadable(&error))
    };
    let columns = &load.target.columns;
    let decoder: Box<dyn Decoder> = match format_of(&load.request, name)? {
        FileFormat::Ndjson => {
            let (map, times) = (load.map.clone(), load.times.clone());
            Box::new(NdjsonDecoder::new(content()?, columns, map, times, load.max_row_bytes)?)
        }
        format @ (FileFormat::Csv | FileFormat::Tsv) => {
            let usual = if format == FileFormat::Csv { b',' } else { b'\t' };
            let header = if load.request.header { Header::FirstRow } else { Header::None };
            let shape = CsvShape { delimiter: load.request.delimiter.unwrap_or(usual), header };
            let times = load.times.clone();
            let content = content()?;
            let decoder = CsvDecoder::new(content, shape, columns, &load.map, times, load.max_row_bytes)?;
            require_filled(load, decoder.unfilled())?;
            read_as = read_as.with_header(decoder.sources(), shape.delimiter);
            Box::new(decoder)
        }
        FileFormat::Parquet => {
            let file = File::open(path).map_err(|error| unreadable(&error))?;
            if file.metadata().map_err(|error| unreadable(&error))?.len() == 0 {
                return Err(invalid("is empty (0 bytes)"));
            }
            let decoder = ParquetDecoder::new(file, columns, &load.map, &load.times)?;
            require_filled(load, decoder.unfilled())?;
            row_total = Some(decoder.row_total());
            Box::new(decoder)
        }
    };
    Ok(Source { decoder, count, row_total, read_as: read_as.stored() })
}

/// A file that cannot fill a NOT NULL column would be rejected row by row; better said at once.
fn require_filled<'a>(load: &Load, unfilled: impl Iterator<Item = &'a str>) -> Result<(), IngestError> {
    let columns = &load.target.columns;
    let required = |name: &&str| columns.field_with_name(name).is_ok_and(|field| !field.is_nullable());
    let missing: Vec<&str> = unfilled.filter(required).collect();
    match missing.first() {
        None => Ok(()),
        Some(first) => Err(invalid(&format!(
            "has nothing for the NOT NULL column {}; name a source with --map source={first}",
            missing.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
        ))),
    }
}

fn unreadable(error: &io::Error) -> IngestError {
    match error.kind() {
        io::ErrorKind::NotFound => invalid("is not there any more"),
        // Our own words, or the decoder's.
        io::ErrorKind::InvalidData => invalid(&error.to_string()),
        _ => invalid(&format!("cannot be opened: {error}")),
    }
}

fn invalid(message: &str) -> IngestError {
    IngestError::Invalid { message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_extension() {
        let request = LoadRequest::from_options("t".to_owned(), Vec::new(), &[]).unwrap();
        let format = |name: &str| format_of(&request, name).ok();
        assert_eq!(format("s3://b/k/A.CSV.GZ"), Some(FileFormat::Csv));
        assert_eq!(format("/x/imp.20130606.tsv.gz"), Some(FileFormat::Tsv));
        assert_eq!(format("part-0.snappy.parquet"), Some(FileFormat::Parquet));
        assert_eq!(format("a.jsonl.zst"), Some(FileFormat::Ndjson));
        assert_eq!(format("a.txt"), None);
        assert_eq!(format("a.gz"), None);
        assert!(format_of(&request, "a.txt").unwrap_err().to_string().starts_with("file 'a.txt': its format"));
    }
}

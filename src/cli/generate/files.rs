//! Traffic into files: parts side by side, each streamed through a small buffer, so memory does not grow with rows.
//!
//! ```text
//! part 0 ─► impressions-0000.parquet  clicks-0000.parquet  conversions-0000.parquet
//! part 1 ─► impressions-0001.parquet  …
//! ```
//! A file is written under another name and renamed when it is whole.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use arrow::datatypes::SchemaRef;
use arrow::json::LineDelimitedWriter;
use arrow::record_batch::RecordBatch;
use parking_lot::Mutex;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::super::failure::Failure;
use super::super::meter::Meter;
use super::columns;
use super::plans;
use super::traffic::{Event, Followers, Kind, Source, Tally, Traffic};
use super::{FileKind, Kinds};

/// Rows of the main kind in one part.
pub const PART_ROWS: u64 = 5_000_000;
const ROW_GROUP_ROWS: usize = 1_000_000;
const BATCH_ROWS: usize = 8_192;

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub impressions: Tally,
    pub clicks: Tally,
    pub conversions: Tally,
    /// Every file, in the order in which a reader wants them.
    pub files: Vec<(&'static str, PathBuf)>,
}

/// Writes all parts into `folder`, replacing files of an earlier run.
///
/// # Errors
/// A folder or file that cannot be written.
pub fn write(
    traffic: &Traffic,
    kinds: Kinds,
    format: FileKind,
    folder: &Path,
    meter: &Meter,
) -> Result<Written, Failure> {
    fs::create_dir_all(folder)
        .map_err(|error| Failure::new(format!("cannot make folder '{}': {error}", folder.display())))?;
    remove_earlier(folder, kinds)?;
    let parts = traffic.rows.div_ceil(PART_ROWS).max(1);
    let next = AtomicU64::new(0);
    let results: Mutex<Vec<(u64, Result<Written, Failure>)>> = Mutex::default();
    let threads = thread::available_parallelism().map_or(1, usize::from).min(usize::try_from(parts).unwrap_or(1));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let part = next.fetch_add(1, Ordering::Relaxed);
                    if part >= parts || results.lock().iter().any(|(_, result)| result.is_err()) {
                        return;
                    }
                    let result = write_part(traffic, kinds, format, folder, part, meter);
                    results.lock().push((part, result));
                }
            });
        }
    });
    let mut results = results.into_inner();
    results.sort_by_key(|(part, _)| *part);
    let mut all = Written::default();
    for (_, result) in results {
        let part = result?;
        all.impressions.add(part.impressions);
        all.clicks.add(part.clicks);
        all.conversions.add(part.conversions);
        all.files.extend(part.files);
    }
    if kinds == Kinds::All {
        for (name, batch) in [("campaigns", plans::campaigns(traffic)?), ("budgets", plans::budgets(traffic)?)] {
            let mut out = Output::create(folder, name, 0, format, &batch.schema())?;
            out.write(&batch)?;
            all.files.push((name, out.finish()?));
        }
    }
    Ok(all)
}

fn write_part(
    traffic: &Traffic,
    kinds: Kinds,
    format: FileKind,
    folder: &Path,
    part: u64,
    meter: &Meter,
) -> Result<Written, Failure> {
    let range = part * PART_ROWS..((part + 1) * PART_ROWS).min(traffic.rows);
    let open = |kind: Kind| Events::create(folder, kind, part, format);
    let mut written = Written::default();
    let kind = match kinds {
        Kinds::One(kind) => kind,
        Kinds::All => Kind::Impressions,
    };
    let mut source = Source::new(traffic, kind, part, range);
    let mut main = open(kind)?;
    let mut effects = match kinds {
        Kinds::One(_) => None,
        Kinds::All => Some((open(Kind::Clicks)?, open(Kind::Conversions)?, Followers::new(traffic, part))),
    };
    while let Some((event, is_duplicate)) = source.draw() {
        if let Some((clicks, conversions, followers)) = &mut effects
            && !is_duplicate
        {
            followers.follow(&event, &mut clicks.held, &mut conversions.held);
            clicks.write_if_full()?;
            conversions.write_if_full()?;
        }
        main.held.push(event);
        if main.write_if_full()? {
            meter.add_rows(BATCH_ROWS as u64);
        }
    }
    *written.tally(kind) = source.tally;
    written.files.push((kind.name(), main.finish()?));
    if let Some((clicks, conversions, followers)) = effects {
        written.clicks = followers.click_tally;
        written.conversions = followers.conversion_tally;
        written.files.push((Kind::Clicks.name(), clicks.finish()?));
        written.files.push((Kind::Conversions.name(), conversions.finish()?));
    }
    Ok(written)
}

impl Written {
    fn tally(&mut self, kind: Kind) -> &mut Tally {
        match kind {
            Kind::Impressions => &mut self.impressions,
            Kind::Clicks => &mut self.clicks,
            Kind::Conversions => &mut self.conversions,
        }
    }
}

/// Removes `<kind>-0000.parquet` and the like; a shorter run must not leave parts of a longer one.
fn remove_earlier(folder: &Path, kinds: Kinds) -> Result<(), Failure> {
    let names: Vec<&str> = match kinds {
        Kinds::One(kind) => vec![kind.name()],
        Kinds::All => vec!["impressions", "clicks", "conversions", "campaigns", "budgets"],
    };
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let stem = file.strip_suffix(".parquet").or_else(|| file.strip_suffix(".ndjson")).unwrap_or_default();
        let Some((name, number)) = stem.rsplit_once('-') else { continue };
        if names.contains(&name) && number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Events of one kind on their way into one file.
struct Events {
    kind: Kind,
    held: Vec<Event>,
    output: Output,
}

impl Events {
    fn create(folder: &Path, kind: Kind, part: u64, format: FileKind) -> Result<Self, Failure> {
        let output = Output::create(folder, kind.name(), part, format, &columns::schema(kind))?;
        Ok(Self { kind, held: Vec::with_capacity(BATCH_ROWS), output })
    }

    fn write_if_full(&mut self) -> Result<bool, Failure> {
        let is_full = self.held.len() >= BATCH_ROWS;
        if is_full {
            self.write()?;
        }
        Ok(is_full)
    }

    fn write(&mut self) -> Result<(), Failure> {
        self.output.write(&columns::batch(self.kind, &self.held)?)?;
        self.held.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<PathBuf, Failure> {
        self.write()?;
        self.output.finish()
    }
}

/// One file being written.
struct Output {
    path: PathBuf,
    unfinished: PathBuf,
    writer: Writer,
}

enum Writer {
    Parquet(Box<ArrowWriter<BufWriter<File>>>),
    Ndjson(LineDelimitedWriter<BufWriter<File>>),
}

impl Output {
    fn create(folder: &Path, name: &str, part: u64, format: FileKind, schema: &SchemaRef) -> Result<Self, Failure> {
        let path = folder.join(format!("{name}-{part:04}.{}", format.extension()));
        let unfinished = path.with_extension("part");
        let file = File::create(&unfinished)
            .map_err(|error| Failure::new(format!("cannot write '{}': {error}", unfinished.display())))?;
        let file = BufWriter::with_capacity(1 << 20, file);
        let writer = match format {
            FileKind::Parquet => {
                Writer::Parquet(Box::new(ArrowWriter::try_new(file, schema.clone(), Some(properties()))?))
            }
            FileKind::Ndjson => Writer::Ndjson(LineDelimitedWriter::new(file)),
        };
        Ok(Self { path, unfinished, writer })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        match &mut self.writer {
            Writer::Parquet(writer) => writer.write(batch)?,
            Writer::Ndjson(writer) => writer.write(batch)?,
        }
        Ok(())
    }

    fn finish(self) -> Result<PathBuf, Failure> {
        let mut file = match self.writer {
            Writer::Parquet(writer) => writer.into_inner()?,
            Writer::Ndjson(mut writer) => {
                writer.finish()?;
                writer.into_inner()
            }
        };
        file.flush()?;
        fs::rename(&self.unfinished, &self.path)?;
        Ok(self.path)
    }
}

fn properties() -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS));
    // Random ids: a dictionary only costs.
    for column in ["event_id", "impression_id", "click_id"] {
        builder = builder.set_column_dictionary_enabled(ColumnPath::from(column), false);
    }
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::super::day::Day;
    use super::super::world::World;
    use super::*;
    use crate::base::Timestamp;

    fn traffic(seed: u64) -> Traffic {
        let day = Day::new(Timestamp(0), 86_400_000_000);
        Traffic { world: World::new(seed, 200, 1_000), day, rows: 20_000, late: 0.02, duplicates: 0.01 }
    }

    fn bytes(seed: u64, format: FileKind) -> Vec<(String, Vec<u8>)> {
        let folder = tempfile::tempdir().unwrap();
        let written = write(&traffic(seed), Kinds::All, format, folder.path(), &Meter::default()).unwrap();
        let read = |(_, path): &(&str, PathBuf)| {
            (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap())
        };
        written.files.iter().map(read).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        for format in [FileKind::Parquet, FileKind::Ndjson] {
            let first = bytes(1, format);
            assert_eq!(first.len(), 5);
            assert!(first.iter().all(|(_, bytes)| !bytes.is_empty()));
            assert!(first == bytes(1, format));
            assert!(first.iter().zip(bytes(2, format)).all(|(one, other)| one.1 != other.1));
        }
    }

    #[test]
    fn files_hold_what_is_reported_and_earlier_parts_go() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("clicks-0007.ndjson"), "old").unwrap();
        fs::write(folder.path().join("notes.txt"), "mine").unwrap();
        let meter = Meter::default();
        let written = write(&traffic(1), Kinds::All, FileKind::Ndjson, folder.path(), &meter).unwrap();
        for (name, tally) in [("impressions", written.impressions), ("clicks", written.clicks)] {
            let text = fs::read_to_string(folder.path().join(format!("{name}-0000.ndjson"))).unwrap();
            assert_eq!(text.lines().count() as u64, tally.rows, "{name}");
        }
        assert_eq!(written.impressions.rows, 20_000);
        assert!(!folder.path().join("clicks-0007.ndjson").exists());
        assert!(folder.path().join("notes.txt").exists());
    }
}

//! The bytes of a file, decompressed when they are compressed, counted as they are read.
//!
//! Compression is recognised by content, not by name; a name that promises compression the content lacks is an error,
//! since a half-written or wrongly named file is more likely than a plain one called `.gz`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

const READ_BYTES: usize = 256 << 10;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A file's decompressed bytes.
pub type Content = Box<dyn BufRead + Send>;

/// Counts the bytes read from the file itself: what progress is measured in.
struct Counting {
    file: File,
    count: Arc<AtomicU64>,
}

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Opens `path`; `name` is what the user called it. `count` grows with the bytes read from the file.
///
/// # Errors
/// As I/O errors whose text is fit for the user: missing file, empty file, compression the name promises but the content lacks.
pub fn open_content(path: &Path, name: &str, count: Arc<AtomicU64>) -> io::Result<Content> {
    let file = File::open(path)?;
    let mut reader = BufReader::with_capacity(READ_BYTES, Counting { file, count });
    let start = reader.fill_buf()?;
    if start.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "is empty (0 bytes)"));
    }
    let named = |extension: &str| name.to_ascii_lowercase().ends_with(extension);
    if start.starts_with(&GZIP_MAGIC) {
        return Ok(Box::new(BufReader::with_capacity(READ_BYTES, MultiGzDecoder::new(reader))));
    }
    if start.starts_with(&ZSTD_MAGIC) {
        let decoder = zstd::Decoder::with_buffer(reader)?;
        return Ok(Box::new(BufReader::with_capacity(READ_BYTES, decoder)));
    }
    for (extension, format) in [(".gz", "gzip"), (".zst", "zstd")] {
        if named(extension) {
            let message = format!("is named {extension} but its content is not {format}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
    }
    Ok(Box::new(reader))
}

/// What a failed read of decompressed content means to the user.
pub fn read_failure(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "is truncated: the compressed data ends too early".to_owned(),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            format!("has damaged compressed data ({error})")
        }
        _ => format!("cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn read(name: &str, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut content = Vec::new();
        open_content(&path, name, Arc::default())?.read_to_end(&mut content)?;
        Ok(content)
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn compression_is_recognised_by_content() {
        assert_eq!(read("a.csv", b"plain").unwrap(), b"plain");
        assert_eq!(read("a.csv", &gzip("zipped")).unwrap(), b"zipped");
        let members = [gzip("one "), gzip("two")].concat();
        assert_eq!(read("a.csv.gz", &members).unwrap(), b"one two");
        assert_eq!(read("a.zst", &zstd::encode_all(&b"z"[..], 1).unwrap()).unwrap(), b"z");
    }

    #[test]
    fn damage_is_an_error() {
        let whole = gzip("some text that is long enough to be cut somewhere in the middle");
        let truncated = read("a.gz", &whole[..whole.len() / 2]).unwrap_err();
        assert!(read_failure(&truncated).contains("truncated"), "{truncated}");
        let mut damaged = whole.clone();
        let last = damaged.len() - 5;
        damaged[last] ^= 0xff;
        assert!(read("a.gz", &damaged).is_err());
        assert!(read("a.gz", b"plain").unwrap_err().to_string().contains("not gzip"));
        assert!(read("a.csv", b"").unwrap_err().to_string().contains("empty"));
    }
}

//! Lines of bounded length: a longer one is skipped and measured, never held.

use std::io::{self, BufRead};

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    Whole(&'a [u8]),
    /// Longer than the limit: its first bytes and its length.
    TooLong {
        start: &'a [u8],
        bytes: u64,
    },
}

/// Bytes of a too long line that are kept for its rejection.
const START_BYTES: usize = 4 << 10;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

pub struct LineReader<R> {
    content: R,
    limit: usize,
    buffer: Vec<u8>,
    number: u64,
}

impl<R: BufRead> LineReader<R> {
    /// Lines of at most `limit` bytes.
    pub fn new(content: R, limit: usize) -> Self {
        Self { content, limit: limit.max(1), buffer: Vec::new(), number: 0 }
    }

    /// The next line and its 1-based number; `\n` and `\r\n` end lines; a byte order mark is skipped.
    pub fn next_line(&mut self) -> io::Result<Option<(u64, Line<'_>)>> {
        self.buffer.clear();
        let mut bytes = 0_u64;
        let mut ended = false;
        while !ended {
            let chunk = self.content.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            let found = chunk.iter().position(|byte| *byte == b'\n');
            let part = &chunk[..found.unwrap_or(chunk.len())];
            bytes += part.len() as u64;
            // One byte more than the limit is kept, so that "exactly the limit and \r" is still whole.
            let room = (self.limit + 1).saturating_sub(self.buffer.len());
            self.buffer.extend_from_slice(&part[..part.len().min(room)]);
            ended = found.is_some();
            let used = part.len() + usize::from(ended);
            self.content.consume(used);
        }
        if bytes == 0 && !ended {
            return Ok(None);
        }
        self.number += 1;
        Ok(Some((self.number, self.line(bytes))))
    }

    fn line(&self, bytes: u64) -> Line<'_> {
        let mut line = self.buffer.as_slice();
        if bytes == line.len() as u64 {
            line = line.strip_suffix(b"\r").unwrap_or(line);
        }
        if bytes > self.buffer.len() as u64 || line.len() > self.limit {
            return Line::TooLong { start: &self.buffer[..self.buffer.len().min(START_BYTES)], bytes };
        }
        if self.number == 1 {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        Line::Whole(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn lines(text: &[u8], limit: usize) -> Vec<(u64, String)> {
        // A tiny buffer, so that lines span reads.
        let mut reader = LineReader::new(BufReader::with_capacity(3, text), limit);
        let mut found = Vec::new();
        while let Some((number, line)) = reader.next_line().unwrap() {
            found.push((
                number,
                match line {
                    Line::Whole(line) => String::from_utf8_lossy(line).into_owned(),
                    Line::TooLong { bytes, .. } => format!("too long: {bytes}"),
                },
            ));
        }
        found
    }

    #[test]
    fn splits_at_both_ends() {
        let wanted = [(1, "a"), (2, "bcdef"), (3, ""), (4, "g")].map(|(n, text)| (n, text.to_owned()));
        assert_eq!(lines(b"\xef\xbb\xbfa\r\nbcdef\n\ng", 10), wanted);
        assert_eq!(lines(b"", 10), []);
        assert_eq!(lines(b"\n", 10), [(1, String::new())]);
    }

    #[test]
    fn measures_long_lines_and_goes_on() {
        let found = lines(b"12345\r\n123456\nok\n1234567890", 5);
        let wanted = [(1, "12345"), (2, "too long: 6"), (3, "ok"), (4, "too long: 10")];
        assert_eq!(found, wanted.map(|(n, text)| (n, text.to_owned())));
    }
}

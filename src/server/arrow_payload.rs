//! An Arrow IPC stream sent as one body → record batches, without trusting it.
//!
//! Buffers are validated by Arrow; a compressed body says how large it will become, and that is believed only up to a limit
//! (a few bytes can claim a terabyte). Arrow's decoder of LZ4 goes on beyond the claim (a few bytes can be a gigabyte), so
//! LZ4 buffers are measured before Arrow gets them; its decoder of zstd ends at the claim. Arrow's reader panics on some damaged metadata (a property test finds such in seconds):
//! that is caught and is the sender's error. Follows the Arrow columnar format, "IPC streaming format" and `Message.fbs`.

use std::io::Read;

use arrow::buffer::Buffer;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::{CompressionType, Message, MessageHeader, RecordBatch as BatchHeader, root_as_message};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use lz4_flex::frame::FrameDecoder;

/// Marks the length of a message's metadata (format version 0.15 and later).
const CONTINUATION: [u8; 4] = [0xff; 4];
/// A compressed buffer begins with its plain length; this one means "not compressed after all".
const NOT_COMPRESSED: i64 = -1;

/// All batches of a stream.
///
/// # Errors
/// Says why it is not a whole, valid stream, or that it would become larger than `plain_bytes_max`.
pub fn read_stream(bytes: Bytes, plain_bytes_max: usize) -> Result<Vec<RecordBatch>, String> {
    // Nothing that a panic could leave half-done is used afterwards.
    let read = std::panic::AssertUnwindSafe(|| decoded(bytes, plain_bytes_max));
    std::panic::catch_unwind(read).unwrap_or_else(|_| Err(DAMAGED.to_owned()))
}

/// What is said of metadata that Arrow's reader panics on.
pub const DAMAGED: &str = "cannot read the Arrow IPC stream: its metadata is damaged";

fn decoded(bytes: Bytes, plain_bytes_max: usize) -> Result<Vec<RecordBatch>, String> {
    check_size(&bytes, plain_bytes_max)?;
    let mut decoder = StreamDecoder::new();
    let mut buffer = Buffer::from(bytes);
    let mut batches = Vec::new();
    while let Some(batch) = decoder.decode(&mut buffer).map_err(|error| unreadable(&error))? {
        batches.push(batch);
    }
    decoder.finish().map_err(|error| unreadable(&error))?;
    if decoder.schema().is_none() {
        return Err("an Arrow IPC stream begins with its schema; there is none".to_owned());
    }
    Ok(batches)
}

fn unreadable(error: &dyn std::fmt::Display) -> String {
    format!("cannot read the Arrow IPC stream: {error}")
}

/// Adds up what the stream's buffers claim to be when decompressed.
fn check_size(bytes: &[u8], plain_bytes_max: usize) -> Result<(), String> {
    let mut rest = bytes;
    let mut plain_bytes: usize = 0;
    while let Some((message, body, after)) = next_message(rest)? {
        plain_bytes = plain_bytes.saturating_add(plain_size(&message, body)?);
        if plain_bytes > plain_bytes_max {
            return Err(format!(
                "the Arrow IPC stream is larger than {plain_bytes_max} bytes when decompressed; send it in parts"
            ));
        }
        check_claims(&message, body)?;
        rest = after;
    }
    Ok(())
}

type Framed<'a> = (Message<'a>, &'a [u8], &'a [u8]);

/// The first message of `bytes`, its body, and what follows; `None` at the end of the stream.
fn next_message(bytes: &[u8]) -> Result<Option<Framed<'_>>, String> {
    let cut = || "the Arrow IPC stream is cut off".to_owned();
    if bytes.is_empty() {
        return Ok(None);
    }
    let bytes = bytes.strip_prefix(&CONTINUATION).unwrap_or(bytes);
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
    let length = usize::try_from(i32::from_le_bytes(*length)).map_err(|_| unreadable(&"a negative length"))?;
    if length == 0 {
        return Ok(None);
    }
    let (metadata, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
    let message = root_as_message(metadata).map_err(|error| unreadable(&error))?;
    let body = usize::try_from(message.bodyLength()).map_err(|_| unreadable(&"a negative body length"))?;
    let (body, after) = rest.split_at_checked(body).ok_or_else(cut)?;
    Ok(Some((message, body, after)))
}

/// Size of a message's body after decompression, if what it claims is true: see [`check_claims`].
///
/// # Errors
/// Buffers that lie outside the body or claim a negative size.
pub fn plain_size(message: &Message<'_>, body: &[u8]) -> Result<usize, String> {
    let Some((batch, _)) = compressed_batch(message) else { return Ok(body.len()) };
    let mut total: usize = 0;
    for buffer in buffers(batch, body) {
        let (claimed, data) = buffer?;
        total = total.saturating_add(claimed.unwrap_or(data.len()));
    }
    Ok(total)
}

/// Decompresses what Arrow would decompress without end, keeping nothing. Call it when [`plain_size`] is within the limit:
/// the work is bounded by that.
///
/// # Errors
/// A buffer that becomes larger than it claims, or is damaged.
pub fn check_claims(message: &Message<'_>, body: &[u8]) -> Result<(), String> {
    let Some((batch, CompressionType::LZ4_FRAME)) = compressed_batch(message) else { return Ok(()) };
    for buffer in buffers(batch, body) {
        let (Some(claimed), data) = buffer? else { continue };
        // A claim of nothing is believed by Arrow without a look.
        if claimed == 0 {
            continue;
        }
        let claimed = claimed as u64;
        let mut plain = FrameDecoder::new(data).take(claimed.saturating_add(1));
        let size = std::io::copy(&mut plain, &mut std::io::sink()).map_err(|error| unreadable(&error))?;
        if size > claimed {
            return Err(unreadable(&"a compressed buffer is larger than it claims"));
        }
    }
    Ok(())
}

/// The batch of a message, when its buffers are compressed, and how.
fn compressed_batch<'a>(message: &Message<'a>) -> Option<(BatchHeader<'a>, CompressionType)> {
    let batch = match message.header_type() {
        MessageHeader::RecordBatch => message.header_as_record_batch(),
        MessageHeader::DictionaryBatch => message.header_as_dictionary_batch().and_then(|batch| batch.data()),
        _ => None,
    }?;
    Some((batch, batch.compression()?.codec()))
}

/// Of each buffer that is not empty: the plain length it claims (`None`: it is not compressed after all), and its data.
fn buffers<'a>(
    batch: BatchHeader<'a>,
    body: &'a [u8],
) -> impl Iterator<Item = Result<(Option<usize>, &'a [u8]), String>> {
    batch.buffers().into_iter().flatten().filter(|buffer| buffer.length() > 0).map(move |buffer| {
        let (start, length) = (usize::try_from(buffer.offset()).ok(), usize::try_from(buffer.length()).ok());
        let whole = start.zip(length).and_then(|(start, length)| body.get(start..)?.get(..length));
        let Some((prefix, data)) = whole.and_then(|whole| whole.split_first_chunk::<8>()) else {
            return Err(unreadable(&"a buffer lies outside its message"));
        };
        match i64::from_le_bytes(*prefix) {
            NOT_COMPRESSED => Ok((None, data)),
            claimed => match usize::try_from(claimed) {
                Ok(claimed) => Ok((Some(claimed), data)),
                Err(_) => Err(unreadable(&"a buffer of negative size")),
            },
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, DictionaryArray, StringArray, StringViewArray, UInt8Array};
    use arrow::datatypes::Int32Type;
    use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
    use proptest::prelude::*;

    use super::*;

    fn written(compression: Option<CompressionType>) -> Bytes {
        let words: ArrayRef = Arc::new(StringArray::from(vec!["the same words again"; 5_000]));
        let view: ArrayRef = Arc::new(StringViewArray::from(vec!["the same words again"; 5_000]));
        let keyed: DictionaryArray<Int32Type> = ["a", "b", "a", "c", "a"].repeat(1_000).into_iter().collect();
        let columns = [("words", words), ("view", view), ("keyed", Arc::new(keyed) as ArrayRef)];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
        writer.write(&batch).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        writer.into_inner().unwrap().into()
    }

    #[test]
    fn streams_of_any_layout_are_read() {
        for compression in [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)] {
            let batches = read_stream(written(compression), 10 << 20).unwrap();
            assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [5_000, 5_000]);
        }
    }

    #[test]
    fn what_would_become_too_large_is_refused_before_it_does() {
        let small = written(Some(CompressionType::ZSTD));
        assert!(small.len() < 50_000, "{}", small.len());
        assert!(read_stream(small, 200_000).unwrap_err().contains("larger than 200000 bytes when decompressed"));
    }

    /// One column of `size` zeros as an LZ4 stream in which every buffer of that size claims `claimed` instead.
    fn zeros_that_claim(size: usize, claimed: i64) -> Bytes {
        let zeros: ArrayRef = Arc::new(UInt8Array::from(vec![0; size]));
        let batch = RecordBatch::try_from_iter([("zeros", zeros)]).unwrap();
        let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME)).unwrap();
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
        writer.write(&batch).unwrap();
        let mut bytes = writer.into_inner().unwrap();
        let honest = [&i64::try_from(size).unwrap().to_le_bytes()[..], &[0x04, 0x22, 0x4d, 0x18]].concat();
        let at = bytes.windows(honest.len()).position(|window| window == honest).unwrap();
        bytes[at..at + 8].copy_from_slice(&claimed.to_le_bytes());
        bytes.into()
    }

    #[test]
    fn an_lz4_buffer_that_is_larger_than_it_claims_is_refused() {
        let size = 4 << 20;
        // There is a bitmap too.
        let limit = 2 * size;
        assert_eq!(read_stream(zeros_that_claim(size, 4 << 20), limit).unwrap()[0].num_rows(), size);
        for claimed in [1, 1 << 10, (4 << 20) - 1] {
            let error = read_stream(zeros_that_claim(size, claimed), limit).unwrap_err();
            assert!(error.contains("larger than it claims"), "{claimed}: {error}");
        }
        for claimed in [0, (4 << 20) + 1, -2, i64::MAX] {
            let error = read_stream(zeros_that_claim(size, claimed), limit).unwrap_err();
            assert!(error.contains("Arrow IPC stream"), "{claimed}: {error}");
        }
    }

    #[test]
    fn cut_streams_are_refused() {
        let whole = written(None);
        for length in [3, 100, whole.len() / 2, whole.len() - 20] {
            let error = read_stream(whole.slice(..length), 10 << 20).unwrap_err();
            assert!(error.contains("Arrow IPC stream"), "{length}: {error}");
        }
        assert!(read_stream(Bytes::new(), 100).unwrap_err().contains("begins with its schema"));
    }

    proptest! {
        #[test]
        fn damaged_streams_are_read_or_refused(changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6)) {
            let mut bytes = written(Some(CompressionType::LZ4_FRAME)).to_vec();
            for (at, byte) in changes {
                let length = bytes.len();
                bytes[at % length] = byte;
            }
            let _ = read_stream(bytes.into(), 10 << 20);
        }
    }
}

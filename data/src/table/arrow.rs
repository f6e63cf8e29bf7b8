//! Tables of Arrow's messages: a stream of them, or a file, which is a stream between two marks.
//!
//! A file is read from its beginning to the end of its stream, as a stream is. So one that is cut off is read as far as it
//! goes.

use std::io::Read;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::{
    Message, MessageHeader, RecordBatch as Layout, reader::StreamDecoder, root_as_message,
};
use arrow_schema::{ArrowError, SchemaRef};

use super::{Batches, check, guard::guarded};
use crate::{
    error::DataError,
    format::{ARROW, ARROW_MESSAGE},
    input::Stream,
};

/// Bytes of the mark at the beginning of a file, with what fills it up.
const MARK: usize = 8;

/// The largest description of a message, and the most that one buffer of it may become when it is decompressed.
const MOST_METADATA: usize = 256 << 20;
const MOST_BUFFER: i64 = 4 << 30;

/// What is set aside for a message before any of it is there.
const AT_ONCE: usize = 1 << 20;

struct Messages {
    stream: Stream,
    decoder: StreamDecoder,
    schema: SchemaRef,
    batches: usize,
    done: bool,
}

/// Opens a stream or file of messages.
pub(crate) fn open(mut stream: Stream, name: &str) -> Result<Box<dyn Batches>, DataError> {
    let wrong =
        |problem: String| DataError::file(name, format!("it cannot be read as Arrow: {problem}"));
    let mut decoder = StreamDecoder::new();
    let schema = guarded(|| {
        skip_mark(&mut stream)?;
        while decoder.schema().is_none() {
            let message = read_message(&mut stream)?.ok_or("it ends before its schema")?;
            decode(&mut decoder, message)?;
        }
        let schema = decoder.schema().ok_or("it has no schema")?;
        check(&schema)?;
        Ok(schema)
    });
    Ok(Box::new(Messages {
        schema: schema.map_err(wrong)?,
        stream,
        decoder,
        batches: 0,
        done: false,
    }))
}

impl Batches for Messages {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    fn next(&mut self) -> Option<Result<RecordBatch, String>> {
        while !self.done {
            let (stream, decoder) = (&mut self.stream, &mut self.decoder);
            let read = guarded(|| match read_message(stream)? {
                Some(message) => Ok(Some(decode(decoder, message)?)),
                None => Ok(None),
            });
            match read {
                Ok(Some(None)) => {}
                Ok(Some(Some(batch))) => {
                    self.batches += 1;
                    return Some(Ok(batch));
                }
                Ok(None) => self.done = true,
                Err(problem) => {
                    self.done = true;
                    let batch = self.batches + 1;
                    return Some(Err(format!(
                        "record batch {batch} cannot be read: {problem}"
                    )));
                }
            }
        }
        None
    }
}

fn skip_mark(stream: &mut Stream) -> Result<(), String> {
    use std::io::BufRead;
    let begins = stream.fill_buf().map_err(|error| error.to_string())?;
    if begins.starts_with(ARROW) {
        read_exact(stream, MARK)?;
    }
    Ok(())
}

/// A message with its frame, as a decoder takes it; `None` at the end.
fn read_message(stream: &mut Stream) -> Result<Option<Vec<u8>>, String> {
    let mut frame = Vec::new();
    stream
        .by_ref()
        .take(4)
        .read_to_end(&mut frame)
        .map_err(|error| error.to_string())?;
    if frame.is_empty() {
        return Ok(None);
    }
    if frame == ARROW_MESSAGE {
        frame.extend(read_exact(stream, 4)?);
    }
    // Older streams have the length alone.
    let length = frame.last_chunk::<4>().copied().ok_or("it is cut off")?;
    let length = u32::from_le_bytes(length) as usize;
    if length == 0 {
        return Ok(None);
    }
    if length > MOST_METADATA {
        return Err(format!("a message that is described in {length} bytes"));
    }
    let metadata = read_exact(stream, length)?;
    let message =
        root_as_message(&metadata).map_err(|error| format!("a message is damaged: {error}"))?;
    let body =
        usize::try_from(message.bodyLength()).map_err(|_| "a message with a length below 0")?;
    let body = read_exact(stream, body)?;
    check_message(&message, &body)?;
    frame.reserve_exact(metadata.len() + body.len());
    frame.extend(metadata);
    frame.extend(body);
    Ok(Some(frame))
}

/// Memory is taken for what is there, not for what is said to be.
fn read_exact(stream: &mut Stream, length: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(length.min(AT_ONCE));
    let read = stream.take(length as u64).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    match bytes.len() == length {
        true => Ok(bytes),
        false => Err("it is cut off, in the middle of a message".into()),
    }
}

/// Refuses what the decoder would take memory for, or panic on.
fn check_message(message: &Message<'_>, body: &[u8]) -> Result<(), String> {
    let layout = match message.header_type() {
        MessageHeader::RecordBatch => message.header_as_record_batch(),
        MessageHeader::DictionaryBatch => {
            let dictionary = message.header_as_dictionary_batch();
            dictionary.and_then(|dictionary| dictionary.data())
        }
        _ => return Ok(()),
    };
    check_buffers(&layout.ok_or("a message has no content")?, body)
}

fn check_buffers(layout: &Layout<'_>, body: &[u8]) -> Result<(), String> {
    let is_compressed = layout.compression().is_some();
    for buffer in layout.buffers().iter().flatten() {
        let bytes = usize::try_from(buffer.offset())
            .ok()
            .zip(usize::try_from(buffer.length()).ok());
        let bytes = bytes.and_then(|(start, length)| body.get(start..start.checked_add(length)?));
        let bytes = bytes.ok_or("a buffer is outside of its message")?;
        if is_compressed && let Some(length) = bytes.first_chunk::<8>() {
            let length = i64::from_le_bytes(*length);
            if length > MOST_BUFFER {
                return Err(format!(
                    "a compressed buffer says it has {length} bytes, more than {MOST_BUFFER}: write smaller batches"
                ));
            }
        }
    }
    let wrong = |length: i64| !(0..=i64::from(i32::MAX)).contains(&length);
    let nodes = layout.nodes();
    if wrong(layout.length())
        || nodes
            .iter()
            .flatten()
            .any(|node| wrong(node.length()) || wrong(node.null_count()))
    {
        return Err("a batch with a number of rows that cannot be".into());
    }
    Ok(())
}

fn decode(decoder: &mut StreamDecoder, message: Vec<u8>) -> Result<Option<RecordBatch>, String> {
    let mut buffer = Buffer::from_vec(message);
    decoder.decode(&mut buffer).map_err(|error| match error {
        ArrowError::IpcError(problem)
        | ArrowError::ParseError(problem)
        | ArrowError::InvalidArgumentError(problem) => problem,
        other => other.to_string(),
    })
}

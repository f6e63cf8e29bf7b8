//! Tables of Arrow's messages: a stream of them, or a file, which is a stream between two marks.
//!
//! A file is read from its beginning to the end of its stream, as a stream is. So one that is cut off is read as far as it
//! goes.

use std::{
    collections::VecDeque,
    io::{BufRead, Read},
};

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

/// The most that is filled up behind the mark.
const MOST_FILL: usize = 64 - MARK;

/// The end of a stream, as it is marked.
const END: &[u8] = b"\xff\xff\xff\xff\0\0\0\0";

/// The largest description of a message, and the most that one buffer of it may become when it is decompressed.
const MOST_METADATA: usize = 256 << 20;
const MOST_BUFFER: i64 = 4 << 30;

/// What is set aside for a message before any of it is there.
const AT_ONCE: usize = 1 << 20;

struct Messages {
    stream: Stream,
    /// Whether the end of the stream must be marked.
    is_file: bool,
    decoder: StreamDecoder,
    schema: SchemaRef,
    /// Parts that are decoded and not taken.
    ready: VecDeque<RecordBatch>,
    batches: usize,
    done: bool,
}

/// Opens a stream or file of messages.
pub(crate) fn open(mut stream: Stream, name: &str) -> Result<Box<dyn Batches>, DataError> {
    let wrong =
        |problem: String| DataError::file(name, format!("it cannot be read as Arrow: {problem}"));
    let mut decoder = StreamDecoder::new();
    let mut ready = VecDeque::new();
    let mut done = false;
    let mut is_file = false;
    let schema = guarded(|| {
        is_file = skip_mark(&mut stream)?;
        while decoder.schema().is_none() {
            if done {
                return Err("it ends before its schema".into());
            }
            let message = read_message(&mut stream, is_file)?;
            done = message.is_none();
            decode(&mut decoder, message, &mut ready)?;
        }
        let schema = decoder.schema().ok_or("it has no schema")?;
        check(&schema)?;
        Ok(schema)
    });
    Ok(Box::new(Messages {
        schema: schema.map_err(wrong)?,
        stream,
        decoder,
        is_file,
        ready,
        batches: 0,
        done,
    }))
}

impl Batches for Messages {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    fn next(&mut self) -> Option<Result<RecordBatch, String>> {
        while self.ready.is_empty() && !self.done {
            let (stream, decoder, ready) = (&mut self.stream, &mut self.decoder, &mut self.ready);
            let is_file = self.is_file;
            let read = guarded(|| {
                let message = read_message(stream, is_file)?;
                let is_end = message.is_none();
                decode(decoder, message, ready)?;
                Ok(is_end)
            });
            match read {
                Ok(is_end) => self.done = is_end,
                Err(problem) => {
                    self.done = true;
                    let batch = self.batches + 1;
                    return Some(Err(format!(
                        "record batch {batch} cannot be read: {problem}"
                    )));
                }
            }
        }
        let batch = self.ready.pop_front()?;
        self.batches += 1;
        Some(Ok(batch))
    }
}

/// Takes off the mark of a file, and says whether it is there.
fn skip_mark(stream: &mut Stream) -> Result<bool, String> {
    let begins = stream.fill_buf().map_err(|error| error.to_string())?;
    let is_file = begins.starts_with(ARROW);
    if is_file {
        read_exact(stream, MARK)?;
        // Some writers fill up to 64 bytes.
        let begins = stream.fill_buf().map_err(|error| error.to_string())?;
        let words = begins.chunks_exact(MARK).take(MOST_FILL / MARK);
        let fill = words.take_while(|word| *word == [0; MARK]).count() * MARK;
        stream.consume(fill);
    }
    Ok(is_file)
}

/// A message with its frame, as a decoder takes it; `None` at the end.
fn read_message(stream: &mut Stream, is_file: bool) -> Result<Option<Vec<u8>>, String> {
    let mut frame = Vec::new();
    stream
        .by_ref()
        .take(4)
        .read_to_end(&mut frame)
        .map_err(|error| error.to_string())?;
    if frame.is_empty() {
        return match is_file {
            true => Err("it is cut off, before the end is marked".into()),
            false => Ok(None),
        };
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

/// Decodes a message, or the end. A message without a body is decoded with what follows it.
fn decode(
    decoder: &mut StreamDecoder,
    message: Option<Vec<u8>>,
    ready: &mut VecDeque<RecordBatch>,
) -> Result<(), String> {
    let mut buffer = Buffer::from_vec(message.unwrap_or_else(|| END.to_vec()));
    while !buffer.is_empty() {
        let decoded = decoder.decode(&mut buffer).map_err(|error| match error {
            ArrowError::IpcError(problem)
            | ArrowError::ParseError(problem)
            | ArrowError::InvalidArgumentError(problem) => problem,
            other => other.to_string(),
        })?;
        ready.extend(decoded);
    }
    Ok(())
}

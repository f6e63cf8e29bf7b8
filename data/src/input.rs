//! Bytes of an input: counted, decompressed, and looked at for what they are.

use std::{
    fmt,
    fs::File,
    io::{self, BufReader, Cursor, Read, Seek},
    path::Path,
    sync::{Arc, OnceLock},
};

use crate::{
    error::DataError,
    format::{Compression, Format, MAGIC_BYTES, is_binary, may_be_magic},
    place::Place,
};

/// Bytes that are read at a time.
const CHUNK: usize = 64 << 10;

/// Bytes that are looked at for what they are.
const LOOKED_AT: usize = 64 << 10;

/// What is called with the number of bytes whenever some are read off an input.
#[derive(Clone, Default)]
pub(crate) struct OnRead(Arc<OnceLock<Count>>);

type Count = Box<dyn Fn(u64) + Send + Sync>;

impl OnRead {
    /// Sets it, which is done once.
    pub(crate) fn set(&self, call: impl Fn(u64) + Send + Sync + 'static) {
        let _ = self.0.set(Box::new(call));
    }

    pub(crate) fn count(&self, bytes: usize) {
        if let Some(call) = self.0.get() {
            call(bytes as u64);
        }
    }
}

impl fmt::Debug for OnRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnRead")
    }
}

/// Decompressed bytes, one after another.
pub(crate) type Stream = BufReader<Box<dyn Read + Send>>;

/// An input that is open.
pub(crate) struct Opened {
    pub(crate) name: Arc<str>,
    pub(crate) format: Format,
    /// The separator of cells.
    pub(crate) separator: u8,
    pub(crate) body: Body,
}

pub(crate) enum Body {
    Stream(Stream),
    /// What is read here and there. A stream of it is in a file without a name.
    #[cfg_attr(
        not(feature = "parquet"),
        expect(dead_code, reason = "what is in such files is refused then")
    )]
    File(File),
    /// The same, of an object.
    #[cfg(feature = "object-store")]
    #[cfg_attr(
        not(feature = "parquet"),
        expect(dead_code, reason = "what is in such files is refused then")
    )]
    Object(worldpm_ort_stores::Ranges),
}

/// Opens an input, `-` for standard input, and finds out its format, unless that is given.
pub(crate) fn open(
    place: &Place,
    given: Option<Format>,
    on_read: &OnRead,
) -> Result<Opened, DataError> {
    let (name, path) = (place.name(), place.path());
    let cannot = |action| {
        let name = Arc::clone(&name);
        move |error| DataError::io(action, &name, error)
    };
    let (raw, again): (Box<dyn Read + Send>, _) = match place {
        #[cfg(feature = "object-store")]
        Place::Object(object) => {
            let counted = Counted::new(object.reader(), Some(object.bytes()), on_read);
            let ranges = worldpm_ort_stores::Ranges::new(object.clone());
            (Box::new(counted), Some(Body::Object(ranges)))
        }
        Place::Path(path) if path == Path::new("-") => {
            (Box::new(Counted::new(io::stdin(), None, on_read)), None)
        }
        Place::Path(path) => {
            let file = File::open(path).map_err(cannot("open"))?;
            let found = file.metadata().map_err(cannot("open"))?;
            let bytes = found.is_file().then_some(found.len());
            let again = file.try_clone().map_err(cannot("open"))?;
            let counted = Counted::new(file, bytes, on_read);
            let again = found.is_file().then_some(Body::File(again));
            (Box::new(counted), again)
        }
    };
    let (named, _) = Format::of_name(path);
    let raw = Looked::at(raw, false);
    let compression = Compression::of_content(raw.seen());
    let bytes: Box<dyn Read + Send> = match compression {
        Compression::None => Box::new(raw),
        Compression::Gzip => {
            let decoder =
                flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(CHUNK, raw));
            Box::new(Decompressed::new(decoder, "gzip"))
        }
        Compression::Zstd => {
            let buffered = BufReader::with_capacity(CHUNK, raw);
            let decoder = zstd::stream::read::Decoder::with_buffer(buffered);
            Box::new(Decompressed::new(
                decoder.map_err(cannot("read"))?,
                "Zstandard",
            ))
        }
    };
    let may_be_cells = match given {
        Some(given) => given.is_cells(),
        None => named.is_none_or(|named| named.is_table() || named.is_cells()),
    };
    let bytes = Looked::at(bytes, may_be_cells);
    let format = given.unwrap_or_else(|| Format::of_content(bytes.seen(), named));
    let separator = match format {
        Format::Tsv => b'\t',
        _ => crate::format::separator(bytes.seen()),
    };
    let body = if format != Format::Parquet {
        Body::Stream(BufReader::with_capacity(CHUNK, Box::new(bytes)))
    } else if let (Some(again), Compression::None) = (again, compression) {
        again
    } else {
        Body::File(spooled(bytes).map_err(cannot("read"))?)
    };
    Ok(Opened {
        name,
        format,
        separator,
        body,
    })
}

/// A file without a name that holds all of these bytes.
fn spooled(mut bytes: impl Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(&mut bytes, &mut file)?;
    file.rewind()?;
    Ok(file)
}

/// Bytes of an input, which are counted. A file that ends before the length that it had is an error.
struct Counted<R> {
    inner: R,
    expected: Option<u64>,
    read: u64,
    on_read: OnRead,
}

impl<R> Counted<R> {
    fn new(inner: R, expected: Option<u64>, on_read: &OnRead) -> Self {
        Self {
            inner,
            expected,
            read: 0,
            on_read: on_read.clone(),
        }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read += read as u64;
        self.on_read.count(read);
        match self.expected {
            Some(expected) if read == 0 && !buffer.is_empty() && self.read < expected => {
                Err(became_shorter(expected, self.read))
            }
            _ => Ok(read),
        }
    }
}

/// That a file has fewer bytes than when it was opened.
pub(crate) fn became_shorter(from: u64, to: u64) -> io::Error {
    let message = format!("the file became shorter while it was read, from {from} bytes to {to}");
    io::Error::new(io::ErrorKind::UnexpectedEof, message)
}

/// Bytes of which the first have been looked at.
struct Looked<R> {
    seen: Cursor<Vec<u8>>,
    /// What went wrong after them.
    error: Option<io::Error>,
    rest: R,
}

impl<R: Read> Looked<R> {
    /// Looks as far as it takes to tell what this is; `for_line`: which may take the first line of a text. Of an input that
    /// comes slowly no more is waited for.
    fn at(mut rest: R, for_line: bool) -> Self {
        let (mut seen, mut error) = (Vec::new(), None);
        let mut buffer = vec![0; 8 << 10];
        while seen.len() < LOOKED_AT && wants_more(&seen, for_line) {
            match rest.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => seen.extend_from_slice(&buffer[..read]),
                Err(found) if found.kind() == io::ErrorKind::Interrupted => {}
                Err(found) => {
                    error = Some(found);
                    break;
                }
            }
        }
        Self {
            seen: Cursor::new(seen),
            error,
            rest,
        }
    }

    fn seen(&self) -> &[u8] {
        self.seen.get_ref()
    }
}

fn wants_more(seen: &[u8], for_line: bool) -> bool {
    let is_mark = b"\xef\xbb\xbf".starts_with(&seen[..seen.len().min(3)]);
    if seen.len() < MAGIC_BYTES && (may_be_magic(seen) || is_mark) {
        return true;
    }
    let text = seen.strip_prefix(b"\xef\xbb\xbf").unwrap_or(seen);
    match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => true,
        Some(b'{' | b'[') => false,
        Some(_) => for_line && !is_binary(seen) && !text.contains(&b'\n'),
    }
}

impl<R: Read> Read for Looked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.seen.read(buffer)? {
            0 => {}
            read => return Ok(read),
        }
        match self.error.take() {
            Some(error) => Err(error),
            None => self.rest.read(buffer),
        }
    }
}

/// Decompressed bytes, with errors that say so.
struct Decompressed<R> {
    inner: R,
    of: &'static str,
}

impl<R> Decompressed<R> {
    fn new(inner: R, of: &'static str) -> Self {
        Self { inner, of }
    }
}

impl<R: Read> Read for Decompressed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            let problem = match error.kind() {
                io::ErrorKind::Interrupted => return error,
                io::ErrorKind::UnexpectedEof => "is cut off",
                _ => "is damaged",
            };
            io::Error::new(
                error.kind(),
                format!("its {} data {problem}: {error}", self.of),
            )
        })
    }
}

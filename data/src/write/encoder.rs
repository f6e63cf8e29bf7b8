//! Where bytes go until someone takes them, and their compression.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use flate2::write::GzEncoder;

use crate::format::Compression;

/// As zstd's own program has it.
const ZSTD_LEVEL: i32 = 3;

/// Bytes that wait to be taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Compresses bytes on their way to the sink. Flushing does nothing: it would spoil the compression.
pub(super) enum Encoder {
    Plain(Sink),
    Gzip(GzEncoder<Sink>),
    Zstd(zstd::stream::write::Encoder<'static, Sink>),
}

impl Encoder {
    pub(super) fn new(sink: Sink, compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::Plain(sink),
            Compression::Gzip => Self::Gzip(GzEncoder::new(sink, flate2::Compression::default())),
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(sink, ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                Self::Zstd(encoder)
            }
        })
    }

    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Gzip(encoder) => encoder.finish().map(drop),
            Self::Zstd(encoder) => encoder.finish().map(drop),
        }
    }
}

impl Write for Encoder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(sink) => sink.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Compresses text that is written as it comes.
pub struct Compressor {
    encoder: Encoder,
    sink: Sink,
}

impl Compressor {
    /// Begins.
    ///
    /// # Errors
    ///
    /// Memory for it is not to be had.
    pub fn new(compression: Compression) -> io::Result<Self> {
        let sink = Sink::default();
        Ok(Self {
            encoder: Encoder::new(sink.clone(), compression)?,
            sink,
        })
    }

    /// Adds text, and gives what bytes there are.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn write(&mut self, text: &[u8]) -> io::Result<Vec<u8>> {
        self.encoder.write_all(text)?;
        Ok(self.sink.take())
    }

    /// Ends, and gives the bytes that are left.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn finish(self) -> io::Result<Vec<u8>> {
        self.encoder.finish()?;
        Ok(self.sink.take())
    }
}

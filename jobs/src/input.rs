//! The input of a job: which file it is, and its bytes with a hash.

use std::{
    fs::File,
    io::{self, BufRead, Read},
    os::unix::fs::{FileExt, MetadataExt},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Blocks that are sampled of a file, from its first byte to its last.
const BLOCKS: u64 = 64;
const BLOCK_BYTES: u64 = 64 << 10;

/// An input as it was when a job was begun.
///
/// Its size and samples of 4 MiB show at once whether it is another file. Where only its time differs, as of a copy, the
/// index has a hash of every byte to compare ([`Index::verify`](crate::Index::verify)), and a stretch that is read to be
/// worked on is compared in any case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// What it is called in messages.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// When it was written, in nanoseconds since 1970.
    pub modified: i64,
    /// SHA-256 of 64 blocks of 64 KiB, evenly from its first byte to its last; of all of it, when it has no more. Of an object
    /// of a store, the tag by which that knows it.
    pub sampled_sha256: String,
}

impl InputFile {
    /// That of an open file.
    ///
    /// # Errors
    /// The system's.
    pub fn of(name: impl Into<String>, file: &File) -> io::Result<Self> {
        let found = file.metadata()?;
        let bytes = found.len();
        let mut hasher = Sha256::new();
        hasher.update(bytes.to_le_bytes());
        let mut block = vec![0; BLOCK_BYTES as usize];
        let mut add = |begin: u64, end: u64| -> io::Result<()> {
            let part = &mut block[..(end - begin) as usize];
            file.read_exact_at(part, begin)?;
            hasher.update(part);
            Ok(())
        };
        if bytes <= BLOCKS * BLOCK_BYTES {
            let mut begin = 0;
            while begin < bytes {
                let end = bytes.min(begin + BLOCK_BYTES);
                add(begin, end)?;
                begin = end;
            }
        } else {
            let last = u128::from(bytes - BLOCK_BYTES);
            for index in 0..BLOCKS {
                let begin = (u128::from(index) * last / u128::from(BLOCKS - 1)) as u64;
                add(begin, begin + BLOCK_BYTES)?;
            }
        }
        Ok(Self {
            name: name.into(),
            bytes,
            modified: nanoseconds(found.mtime(), found.mtime_nsec()),
            sampled_sha256: hex(&hasher.finalize()),
        })
    }

    /// Whether nothing was written to it since `before`, as far as its time says.
    #[must_use]
    pub fn is_untouched(&self, before: &Self) -> bool {
        self.modified == before.modified
    }

    pub(crate) fn shown_hash(&self) -> String {
        let first: String = self.sampled_sha256.chars().take(12).collect();
        format!("{first}…")
    }
}

fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

/// Bytes of input that are counted and hashed as they are used up.
#[derive(Debug)]
pub struct Digested<R> {
    input: R,
    bytes: u64,
    hasher: Sha256,
}

impl<R: BufRead> Digested<R> {
    /// From the next byte of `input` on.
    pub fn new(input: R) -> Self {
        Self {
            input,
            bytes: 0,
            hasher: Sha256::new(),
        }
    }

    /// How many bytes were used up since it was asked last, and their hash.
    pub fn cut(&mut self) -> (u64, String) {
        let hash = hex(&self.hasher.finalize_reset()[..16]);
        (std::mem::take(&mut self.bytes), hash)
    }

    /// Bytes that were used up since the last cut.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.bytes
    }

    /// Uses up what is left.
    ///
    /// # Errors
    /// The system's.
    pub fn drain(&mut self) -> io::Result<()> {
        io::copy(self, &mut io::sink()).map(drop)
    }
}

impl<R: BufRead> BufRead for Digested<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        // What is used up was given out by `fill_buf`, and is there still.
        if let Ok(held) = self.input.fill_buf() {
            self.hasher.update(&held[..count.min(held.len())]);
        }
        self.bytes += count as u64;
        self.input.consume(count);
    }
}

impl<R: BufRead> Read for Digested<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn samples_reach_from_end_to_end() {
        for bytes in [0, 5, 4 << 20, (4 << 20) + 1, 9_000_000_u64] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&vec![7; bytes as usize]).unwrap();
            let before = InputFile::of("x", &file).unwrap();
            assert_eq!(before.bytes, bytes);
            for at in [0, bytes.saturating_sub(1)] {
                if at < bytes {
                    file.write_all_at(&[8], at).unwrap();
                    let other = InputFile::of("x", &file).unwrap();
                    assert_ne!(other.sampled_sha256, before.sampled_sha256, "{bytes} {at}");
                    file.write_all_at(&[7], at).unwrap();
                }
            }
            let again = InputFile::of("x", &file).unwrap();
            assert_eq!(again.sampled_sha256, before.sampled_sha256);
        }
    }

    #[test]
    fn bytes_are_hashed_as_they_are_used_up() {
        let text = b"abcdefghij";
        let mut whole = Digested::new(&text[..]);
        whole.drain().unwrap();
        let mut parts = Digested::new(io::BufReader::with_capacity(3, &text[..]));
        let mut two = [0; 2];
        while parts.read(&mut two).unwrap() > 0 {}
        assert_eq!(parts.taken(), 10);
        assert_eq!(whole.cut(), parts.cut());
        assert_eq!(parts.cut().0, 0);
    }
}

//! Whether a weight file has changed, without reading all of it.
//!
//! Two things show it: a hash of samples, which is the same wherever a copy of the file lies, and the file's identity
//! on its machine, with the times of its changes.

use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use sha2::{Digest, Sha256};

use crate::{
    error::{Error, Result},
    files::open_regular,
    hash::hex,
    safetensors::header,
};

/// Blocks that are spread over a file.
const BLOCKS: u64 = 64;
/// Bytes of a block.
const BLOCK_BYTES: u64 = 64 << 10;
/// Bytes that are sampled from the beginning of each tensor.
const TENSOR_BYTES: u64 = 4 << 10;
/// Files that are read at once: more would only wait for the disk.
const AT_ONCE: usize = 8;

/// SHA-256 of samples of the safetensors file at `path`: of 64 blocks of 64 KiB, evenly from its first byte to its last,
/// and of the first 4 KiB of each tensor, in the order of the file and each byte once. A file of at most 4 MiB is hashed
/// whole.
///
/// # Errors
/// [`Error::Io`] when it cannot be read, [`Error::Safetensors`] when its header is broken.
pub fn sampled_sha256(path: &Path) -> Result<String> {
    let header = header::read(path, path)?;
    let tensors = header.tensors.iter().map(|t| (t.offset, t.bytes));
    let fault = |source| Error::io("read", path, source);
    let file = open_regular(path).map_err(fault)?;
    hash(&file, &samples(header.file_bytes, tensors)).map_err(fault)
}

/// What is hashed of a file, as (first byte, one past the last), in order and apart.
fn samples(bytes: u64, tensors: impl Iterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
    if bytes <= BLOCKS * BLOCK_BYTES {
        return vec![(0, bytes)];
    }
    let last = u128::from(bytes - BLOCK_BYTES);
    let block = |index: u64| {
        let begin = (u128::from(index) * last / u128::from(BLOCKS - 1)) as u64;
        (begin, begin + BLOCK_BYTES)
    };
    let mut all: Vec<(u64, u64)> = (0..BLOCKS)
        .map(block)
        .chain(tensors.map(|(begin, bytes)| (begin, begin + bytes.min(TENSOR_BYTES))))
        .collect();
    all.sort_unstable();
    let mut apart: Vec<(u64, u64)> = Vec::with_capacity(all.len());
    for (begin, end) in all {
        match apart.last_mut() {
            Some(before) if begin <= before.1 => before.1 = before.1.max(end),
            _ => apart.push((begin, end)),
        }
    }
    apart
}

fn hash(file: &File, samples: &[(u64, u64)]) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; BLOCK_BYTES as usize];
    for &(begin, end) in samples {
        let mut at = begin;
        while at < end {
            let count = (end - at).min(BLOCK_BYTES);
            let part = &mut buffer[..count as usize];
            file.read_exact_at(part, at)?;
            hasher.update(part);
            at += count;
        }
    }
    Ok(hex(&hasher.finalize()))
}

/// Does the same with each of `items`, several at once; what comes of it is in their order.
pub fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let worker = || {
        let mine = std::iter::from_fn(|| {
            let at = next.fetch_add(1, Ordering::Relaxed);
            Some((at, work(items.get(at)?)))
        });
        mine.collect::<Vec<_>>()
    };
    let mut done = thread::scope(|scope| {
        let workers: Vec<_> = (1..cores.min(AT_ONCE).min(items.len()))
            .map(|_| scope.spawn(worker))
            .collect();
        let mut done = worker();
        for worker in workers {
            let joined = worker.join();
            done.extend(joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// A file as its machine knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileIdentity {
    /// That of the file at `path`, with links followed.
    ///
    /// # Errors
    /// The operating system's.
    pub fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::from(&fs::metadata(path)?))
    }

    /// Whether it is the same file and nothing was written to it, as far as the time of its last modification says: that
    /// can be set. Its links, its owner or its permissions may be others.
    #[must_use]
    pub fn is_unwritten(&self, before: &Self) -> bool {
        let changed = before.changed;
        Self { changed, ..*self } == *before
    }
}

impl From<&Metadata> for FileIdentity {
    fn from(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            bytes: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn samples_are_spread_and_bounded() {
        assert_eq!(samples(100, [(8, 92)].into_iter()), [(0, 100)]);
        assert_eq!(samples(4 * MIB, std::iter::empty()), [(0, 4 * MIB)]);
        for bytes in [4 * MIB + 1, 5 * MIB, 100 * MIB, 145_000_000_000, u64::MAX] {
            let tensors = [(0, 5), (bytes / 3, bytes / 3), (bytes - 7, 7)];
            let samples = samples(bytes, tensors.into_iter());
            assert_eq!(samples[0].0, 0);
            assert_eq!(samples.last().unwrap().1, bytes);
            assert!(samples.windows(2).all(|two| two[0].1 < two[1].0));
            let total: u64 = samples.iter().map(|(begin, end)| end - begin).sum();
            assert!(total <= 4 * MIB + TENSOR_BYTES, "{bytes}: {total}");
            assert!(
                samples
                    .iter()
                    .any(|&(begin, end)| begin <= bytes / 3 && bytes / 3 + TENSOR_BYTES <= end)
            );
            let gaps = samples.windows(2).map(|two| two[1].0 - two[0].1);
            assert!(gaps.max().unwrap() <= bytes / 63);
        }
    }

    /// Two tensors, of 6 MiB and of 16 bytes.
    fn file(dir: &Path) -> std::path::PathBuf {
        let path = dir.join("model.safetensors");
        let mut header = format!(
            r#"{{"a":{{"dtype":"U8","shape":[{0}],"data_offsets":[0,{0}]}},"b":{{"dtype":"U8","shape":[16],"data_offsets":[{0},{1}]}}}}"#,
            6 * MIB,
            6 * MIB + 16
        );
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.bytes());
        fs::write(&path, &bytes).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(bytes.len() as u64 + 6 * MIB + 16).unwrap();
        path
    }

    #[test]
    fn what_is_sampled_changes_the_hash() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path());
        let before = sampled_sha256(&path).unwrap();
        assert_eq!(sampled_sha256(&path).unwrap(), before);
        let bytes = fs::metadata(&path).unwrap().len();
        let start = bytes - 16 - 6 * MIB;
        let open = || File::options().write(true).open(&path).unwrap();
        for at in [start, start + TENSOR_BYTES - 1, bytes - 1] {
            open().write_all_at(&[1], at).unwrap();
            assert_ne!(sampled_sha256(&path).unwrap(), before, "{at}");
            open().write_all_at(&[0], at).unwrap();
        }
        assert_eq!(sampled_sha256(&path).unwrap(), before);
        open().set_len(bytes - 1).unwrap();
        sampled_sha256(&path).unwrap_err();
    }

    #[test]
    fn an_identity_tells_what_was_written_from_what_was_linked() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path());
        let identity = || FileIdentity::of(&path).unwrap();
        let before = identity();
        assert_eq!(identity(), before);
        let tick = || thread::sleep(std::time::Duration::from_millis(20));
        tick();
        fs::hard_link(&path, dir.path().join("link")).unwrap();
        assert_ne!(identity(), before);
        assert!(identity().is_unwritten(&before));
        tick();
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(&[0], 0).unwrap();
        assert!(!identity().is_unwritten(&before));
    }

    #[test]
    fn each_keeps_the_order() {
        let items: Vec<usize> = (0..100).collect();
        let doubled: Vec<usize> = items.iter().map(|n| n * 2).collect();
        assert_eq!(each(&items, |n| n * 2), doubled);
        assert!(each(&[] as &[usize], |n| *n).is_empty());
    }
}

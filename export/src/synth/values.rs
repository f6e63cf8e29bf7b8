//! The random values of the weights, made by all cores in bounded memory.

use std::{
    fs::File,
    io::{Seek, SeekFrom, Write},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use half::bf16;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use sha2::{Digest, Sha256};

use super::layout::{ELEMENT_BYTES, Shard, Tensor};

use crate::{
    error::{Error, Result},
    output::output_error,
};

/// What one worker makes at a time; memory is this times the number of cores.
const CHUNK_BYTES: u64 = 4 << 20;
/// The generator's position counts words of this size.
const WORD_BYTES: u64 = 4;

/// A piece of a tensor.
struct Chunk<'a> {
    shard: &'a Shard,
    tensor: &'a Tensor,
    /// First byte, counted from the tensor's.
    begin: u64,
    /// First byte, counted from the file's.
    offset: u64,
    bytes: usize,
}

/// Fills the weight files in `dir`, which hold their headers already.
///
/// # Errors
/// [`Error::Write`] when one cannot be written; the first of them stops the rest.
pub(super) fn fill(dir: &Path, shards: &[Shard], seed: u64) -> Result<()> {
    let chunks = chunks(shards);
    let next = AtomicUsize::new(0);
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let work = || {
        let mut buffer = Vec::new();
        while let Some(chunk) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
            buffer.resize(chunk.bytes, 0);
            values(chunk.tensor, seed, chunk.begin, &mut buffer);
            let path = dir.join(&chunk.shard.name);
            if let Err(e) = write_at(&path, chunk.offset, &buffer) {
                next.store(chunks.len(), Ordering::Relaxed);
                let mut failure = failure.lock().unwrap_or_else(|e| e.into_inner());
                failure.get_or_insert(output_error(&path, "write it", e));
                return;
            }
        }
    };
    let workers = thread::available_parallelism().map_or(1, |n| n.get());
    thread::scope(|scope| {
        for _ in 1..workers.min(chunks.len()) {
            scope.spawn(work);
        }
        work();
    });
    match failure.into_inner().unwrap_or_else(|e| e.into_inner()) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn chunks(shards: &[Shard]) -> Vec<Chunk<'_>> {
    let mut chunks = Vec::new();
    for shard in shards {
        for (offset, tensor) in &shard.tensors {
            let mut begin = 0;
            while begin < tensor.bytes {
                let bytes = CHUNK_BYTES.min(tensor.bytes - begin);
                chunks.push(Chunk {
                    shard,
                    tensor,
                    begin,
                    offset: offset + begin,
                    bytes: bytes as usize,
                });
                begin += bytes;
            }
        }
    }
    chunks
}

fn write_at(path: &Path, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes)
}

/// The bytes of `tensor` from `begin` on.
///
/// They depend on the seed, the tensor's name and the position only: not on
/// other tensors, the division into files, or the number of cores.
fn values(tensor: &Tensor, seed: u64, begin: u64, out: &mut [u8]) {
    let mut hash = Sha256::new();
    hash.update(b"worldpm-ort synth 1");
    hash.update(seed.to_le_bytes());
    hash.update(tensor.name.as_bytes());
    let mut rng = ChaCha8Rng::from_seed(hash.finalize().into());
    rng.set_word_pos(u128::from(begin / WORD_BYTES));
    rng.fill_bytes(out);

    // A uniform distribution is sqrt(12) standard deviations wide.
    let step = tensor.std * 12f32.sqrt() / 65536.0;
    let (pairs, _) = out.as_chunks_mut::<{ ELEMENT_BYTES as usize }>();
    for pair in pairs {
        let uniform = f32::from(u16::from_le_bytes(*pair)) - 32767.5;
        *pair = bf16::from_f32(tensor.mean + uniform * step).to_le_bytes();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn tensor(name: &str, elements: u64, mean: f32, std: f32) -> Tensor {
        Tensor {
            name: name.to_owned(),
            shape: vec![elements],
            bytes: elements * ELEMENT_BYTES,
            mean,
            std,
        }
    }

    fn make(tensor: &Tensor, seed: u64) -> Vec<u8> {
        let mut bytes = vec![0; tensor.bytes as usize];
        values(tensor, seed, 0, &mut bytes);
        bytes
    }

    #[test]
    fn moments_and_range() {
        for (mean, std) in [(0.0, 1.0), (1.0, 0.15), (0.0, 0.02)] {
            let bytes = make(&tensor("t", 1 << 18, mean, std), 0);
            let values: Vec<f64> = bytes
                .as_chunks::<2>()
                .0
                .iter()
                .map(|&b| bf16::from_le_bytes(b).to_f64())
                .collect();
            let n = values.len() as f64;
            let found_mean = values.iter().sum::<f64>() / n;
            let found_std =
                (values.iter().map(|v| (v - found_mean).powi(2)).sum::<f64>() / n).sqrt();
            let (mean, std) = (f64::from(mean), f64::from(std));
            assert!((found_mean - mean).abs() < 0.01 * std, "{found_mean}");
            assert!((found_std / std - 1.0).abs() < 0.01, "{found_std}");
            let widest = values.iter().map(|v| (v - mean).abs()).fold(0.0, f64::max);
            assert!(widest < 1.75 * std, "{widest}");
        }
    }

    #[test]
    fn name_and_seed_decide() {
        let (a, b) = (tensor("a", 64, 0.0, 1.0), tensor("b", 64, 0.0, 1.0));
        assert_eq!(make(&a, 1), make(&a, 1));
        assert_ne!(make(&a, 1), make(&a, 2));
        assert_ne!(make(&a, 1), make(&b, 1));
    }

    #[test]
    fn pieces_equal_the_whole() {
        let tensor = tensor("t", 5000, 0.0, 1.0);
        let whole = make(&tensor, 7);
        for begin in [0, 4, 64, 256, 1000, 9996] {
            let mut piece = vec![0; whole.len() - begin];
            values(&tensor, 7, begin as u64, &mut piece);
            assert_eq!(piece, whole[begin..], "{begin}");
        }
    }

    /// Writing to `/dev/full` fails as on a full disk.
    #[cfg(target_os = "linux")]
    #[test]
    fn full_disk() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/full", dir.path().join("m.safetensors")).unwrap();
        let shard = Shard {
            name: "m.safetensors".to_owned(),
            head: Vec::new(),
            bytes: 64,
            tensors: vec![(0, tensor("t", 32, 0.0, 1.0))],
        };
        let error = fill(dir.path(), &[shard], 0).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, Error::Write { .. }));
        for part in ["m.safetensors", "No space left", "free some space"] {
            assert!(message.contains(part), "{message}");
        }
    }
}

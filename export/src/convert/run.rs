//! Does the jobs of weight files, on all cores and in bounded memory.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use worldpm_ort_bundle::{
    Overflow,
    files::open_regular,
    float_type::{self, Overflowed},
    manifest::OverflowedTensor,
};

use super::{
    encode::{Buffers, encode},
    job::{Encoding, Job},
    rules::{Progress, Rules},
};
use crate::{
    error::{Error, Result},
    output::output_error,
};

/// Bytes of the source that a worker reads at a time. Its memory is a few times this.
const CHUNK_BYTES: u64 = 1 << 20;
/// Rows that are rounded together at least where their inputs are known: all that is known is read for each chunk.
const CALIBRATED_ROWS: u64 = 256;

/// A file to fill, and what fills it.
pub(crate) struct Sink<'a> {
    pub(crate) path: PathBuf,
    /// Where its tensors begin.
    pub(crate) data_start: u64,
    pub(crate) jobs: &'a [Job],
}

/// Some units of a job.
struct Chunk {
    sink: usize,
    job: usize,
    first: u64,
    units: u64,
}

/// Does the jobs of all `sinks`, whose files exist, and makes them durable. `sources` are the files that
/// [`Source::file`](super::Source::file) counts.
///
/// Returns the tensors with values that overflowed and were clamped.
///
/// # Errors
/// [`Error::Bundle`] and [`Error::Write`] when a file cannot be read or written, [`Error::Overflow`] when values
/// overflow and may not, [`Error::Tensor`] when one has to be finite and is not. What was written so far stays.
pub(crate) fn run(
    sources: &[&Path],
    sinks: &[Sink<'_>],
    rules: &Rules<'_>,
) -> Result<Vec<OverflowedTensor>> {
    let open_source = |path: &&Path| open_regular(path).map_err(|e| Error::io("open", path, e));
    let open_sink = |sink: &Sink<'_>| {
        let opened = File::options().write(true).open(&sink.path);
        opened.map_err(|e| output_error(&sink.path, "open it", e))
    };
    let work = Work {
        paths: sources,
        sources: sources.iter().map(open_source).collect::<Result<_>>()?,
        files: sinks.iter().map(open_sink).collect::<Result<_>>()?,
        sinks,
        rules,
        chunks: chunks(sinks, rules),
        total: sinks
            .iter()
            .flat_map(|sink| sink.jobs)
            .map(|job| job.source.bytes())
            .sum(),
        done: AtomicU64::new(0),
        next: AtomicUsize::new(0),
        refused: AtomicBool::new(false),
        failure: Mutex::new(None),
        overflowed: Mutex::new(Vec::new()),
    };
    let workers = rules.threads().get().min(work.chunks.len());
    thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(|| work.take_chunks());
        }
        work.take_chunks();
    });
    work.finish()
}

/// What the workers share.
struct Work<'a> {
    paths: &'a [&'a Path],
    sources: Vec<File>,
    files: Vec<File>,
    sinks: &'a [Sink<'a>],
    rules: &'a Rules<'a>,
    chunks: Vec<Chunk>,
    total: u64,
    done: AtomicU64,
    next: AtomicUsize,
    /// Whether the result is refused already: then values are only counted, for the report.
    refused: AtomicBool,
    /// The failure of the earliest chunk that failed.
    failure: Mutex<Option<(usize, Error)>>,
    /// The chunks with values that overflowed.
    overflowed: Mutex<Vec<(usize, Overflowed)>>,
}

impl Work<'_> {
    /// Works until there is nothing left to do, or something has failed.
    fn take_chunks(&self) {
        let mut buffers = Buffers::default();
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(chunk) = self.chunks.get(index) else {
                return;
            };
            match self.convert(chunk, &mut buffers) {
                Ok(found) if found.count > 0 => {
                    if self.rules.overflow == Overflow::Refuse {
                        self.refused.store(true, Ordering::Relaxed);
                    }
                    lock(&self.overflowed).push((index, found));
                }
                Ok(_) => {}
                Err(error) => {
                    // Chunks before this one are done or under way, so the earliest failure is always the same.
                    self.next.store(self.chunks.len(), Ordering::Relaxed);
                    let mut failure = lock(&self.failure);
                    if failure.as_ref().is_none_or(|(first, _)| index < *first) {
                        *failure = Some((index, error));
                    }
                    return;
                }
            }
        }
    }

    fn convert(&self, chunk: &Chunk, buffers: &mut Buffers) -> Result<Overflowed> {
        let (Some(sink), Some(file)) = (self.sinks.get(chunk.sink), self.files.get(chunk.sink))
        else {
            return Ok(Overflowed::default());
        };
        let Some(job) = sink.jobs.get(chunk.job) else {
            return Ok(Overflowed::default());
        };
        let read_error = |error| {
            let path = self.paths.get(job.source.file).copied();
            Error::io("read", path.unwrap_or(Path::new("")), error)
        };
        let Some(source) = self.sources.get(job.source.file) else {
            return Err(read_error(io::ErrorKind::NotFound.into()));
        };
        let unit = job.encoding.unit(&job.source.shape) as usize;
        let element = job.source.float.bytes();
        let bytes = chunk.units as usize * unit * element;
        let from = job.source.offset + chunk.first * (unit * element) as u64;
        let write = |bytes: &[u8], output: usize| {
            let Some(output) = job.outputs.get(output) else {
                return Ok(());
            };
            let to = sink.data_start + output.offset + chunk.first * output.unit_bytes;
            file.write_all_at(bytes, to)
                .map_err(|e| output_error(&sink.path, "write it", e))
        };

        buffers.input.resize(bytes, 0);
        source
            .read_exact_at(&mut buffers.input, from)
            .map_err(read_error)?;
        if self.rules.finite
            && let Some(index) = float_type::first_not_finite(job.source.float, &buffers.input)
        {
            let index = chunk.first * unit as u64 + index as u64;
            return Err(self.not_finite(job, index));
        }
        let mut found = Overflowed::default();
        if job.encoding == Encoding::Copy {
            write(&buffers.input, 0)?;
        } else {
            found = encode(job, unit, chunk.first, buffers, self.rules)?;
            if !self.refused.load(Ordering::Relaxed) {
                for (number, output) in buffers.outputs.iter().enumerate() {
                    write(output, number)?;
                }
            }
        }
        let done = self.done.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        (self.rules.progress)(Progress {
            done,
            total: self.total,
        });
        Ok(found)
    }

    fn not_finite(&self, job: &Job, index: u64) -> Error {
        let file = self.paths.get(job.source.file);
        Error::Tensor {
            tensor: job.source.tensor.clone(),
            file: file
                .map(|path| path.display().to_string())
                .unwrap_or_default(),
            problem: format!(
                "the value at {} is infinite or not a number, and cannot be quantised; \
                 export in bf16 or fp32, or repair the checkpoint",
                place(&job.source.shape, index)
            ),
        }
    }

    fn finish(self) -> Result<Vec<OverflowedTensor>> {
        if let Some((_, error)) = into_inner(self.failure) {
            return Err(error);
        }
        let mut overflowed = into_inner(self.overflowed);
        overflowed.sort_by_key(|(chunk, _)| *chunk);
        let mut tensors: Vec<OverflowedTensor> = Vec::new();
        for (index, found) in overflowed {
            let job = self
                .chunks
                .get(index)
                .and_then(|chunk| self.sinks.get(chunk.sink)?.jobs.get(chunk.job));
            let Some(job) = job else { continue };
            match tensors.last_mut() {
                Some(last) if last.tensor == job.source.tensor => {
                    last.count += found.count;
                    last.largest = last.largest.max(found.largest);
                }
                _ => tensors.push(OverflowedTensor {
                    tensor: job.source.tensor.clone(),
                    count: found.count,
                    largest: found.largest,
                }),
            }
        }
        if self.rules.overflow == Overflow::Refuse && !tensors.is_empty() {
            return Err(Error::Overflow { tensors });
        }
        for (sink, file) in self.sinks.iter().zip(&self.files) {
            file.sync_all()
                .map_err(|e| output_error(&sink.path, "write it to the disk", e))?;
        }
        Ok(tensors)
    }
}

/// The indices of an element, as in `[3, 17]`.
fn place(shape: &[u64], mut index: u64) -> String {
    let mut indices: Vec<String> = Vec::new();
    for &size in shape.iter().rev() {
        indices.insert(0, (index % size).to_string());
        index /= size;
    }
    format!("[{}]", indices.join(", "))
}

fn chunks(sinks: &[Sink<'_>], rules: &Rules<'_>) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    for (sink, jobs) in sinks.iter().map(|sink| sink.jobs).enumerate() {
        for (index, job) in jobs.iter().enumerate() {
            let unit = job.encoding.unit(&job.source.shape).max(1);
            let total = job.source.elements() / unit;
            let least = match rules.inputs(job) {
                Some(_) => CALIBRATED_ROWS,
                None => 1,
            };
            let most = (CHUNK_BYTES / (unit * job.source.float.bytes() as u64)).max(least);
            let mut first = 0;
            while first < total {
                let units = most.min(total - first);
                chunks.push(Chunk {
                    sink,
                    job: index,
                    first,
                    units,
                });
                first += units;
            }
        }
    }
    chunks
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}

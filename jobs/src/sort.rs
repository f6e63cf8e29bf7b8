//! Any number of texts in the order of their keys, in bounded memory: as many as the budget has room for are sorted and
//! written to the disk as a run, and the runs are merged. How the keys are distributed is no matter.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
};

use zstd::stream::{read::Decoder, write::Encoder};

use crate::{
    error::{JobError, Result},
    fs::{FileSystem, Scratch},
};

/// What is sorted by; equal ones are in the order of their numbers.
pub(crate) type Key = [u8; 16];

/// Runs that are merged at once, at most.
const MOST_RUNS: usize = 64;
/// Bytes that each of them takes beside a text, about.
const RUN_BYTES: usize = 512 << 10;
/// The distance, as a power of two, at which the compressor of runs looks for what it has seen: it bounds their memory.
const WINDOW_LOG: u32 = 17;
const LEVEL: i32 = 1;

/// Takes texts in any order.
pub(crate) struct Sort<'a> {
    fs: &'a dyn FileSystem,
    /// Bytes that are held in memory, about, or one text.
    budget: usize,
    texts: Vec<u8>,
    held: Vec<Held>,
    largest: usize,
    /// Runs of texts that were held, then runs that were merged of so many of them, and so on.
    levels: Vec<Vec<Box<dyn Scratch>>>,
}

pub(crate) struct Held {
    key: Key,
    number: u64,
    start: usize,
    length: usize,
}

/// A text with its key and its number.
pub(crate) type Item = (Key, u64, Vec<u8>);

/// The texts in order.
pub(crate) enum Sorted {
    Held {
        texts: Vec<u8>,
        held: std::vec::IntoIter<Held>,
    },
    Merged(Merge),
}

impl<'a> Sort<'a> {
    /// With runs in files without names, of which nothing is left whatever ends the process.
    pub(crate) fn new(fs: &'a dyn FileSystem, budget: usize) -> Self {
        Self {
            fs,
            budget,
            texts: Vec::new(),
            held: Vec::new(),
            largest: 0,
            levels: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, key: Key, number: u64, text: &[u8]) -> Result<()> {
        let bytes = self.texts.len() + text.len() + (self.held.len() + 1) * size_of::<Held>();
        if bytes > self.budget && !self.held.is_empty() {
            self.spill()?;
        }
        self.largest = self.largest.max(text.len());
        self.held.push(Held {
            key,
            number,
            start: self.texts.len(),
            length: text.len(),
        });
        self.texts.extend_from_slice(text);
        Ok(())
    }

    /// Writes what is held as a run.
    fn spill(&mut self) -> Result<()> {
        let mut held = std::mem::take(&mut self.held);
        sort(&mut held);
        let texts = &self.texts;
        let mut items = held
            .iter()
            .map(|one| (one.key, one.number, one.text(texts)));
        let run = write_run(self.fs, || Ok(items.next()))?;
        drop(items);
        self.texts.clear();
        held.clear();
        self.held = held;
        self.add_run(run)
    }

    /// Runs of one level are made one of the next when they are many, so that few files are open.
    fn add_run(&mut self, mut run: Box<dyn Scratch>) -> Result<()> {
        let most = self.most_runs();
        for level in 0.. {
            if level == self.levels.len() {
                self.levels.push(Vec::new());
            }
            self.levels[level].push(run);
            if self.levels[level].len() < most {
                break;
            }
            run = merge_to_one(self.fs, std::mem::take(&mut self.levels[level]))?;
        }
        Ok(())
    }

    fn most_runs(&self) -> usize {
        (self.budget / (self.largest + RUN_BYTES)).clamp(2, MOST_RUNS)
    }

    pub(crate) fn finish(mut self) -> Result<Sorted> {
        if self.levels.is_empty() {
            sort(&mut self.held);
            return Ok(Sorted::Held {
                texts: self.texts,
                held: self.held.into_iter(),
            });
        }
        self.spill()?;
        (self.texts, self.held) = (Vec::new(), Vec::new());
        let most = self.most_runs();
        let mut runs: Vec<_> = self.levels.into_iter().flatten().collect();
        while runs.len() > most {
            let few = runs.drain(..most).collect();
            runs.push(merge_to_one(self.fs, few)?);
        }
        Ok(Sorted::Merged(Merge::new(self.fs, runs)?))
    }
}

fn sort(held: &mut [Held]) {
    held.sort_unstable_by_key(|one| (one.key, one.number));
}

impl Held {
    fn text<'t>(&self, texts: &'t [u8]) -> &'t [u8] {
        &texts[self.start..self.start + self.length]
    }
}

impl Sorted {
    pub(crate) fn next(&mut self) -> Result<Option<Item>> {
        match self {
            Self::Held { texts, held } => {
                let next = held.next();
                Ok(next.map(|one| (one.key, one.number, one.text(texts).to_vec())))
            }
            Self::Merged(merge) => merge.next(),
        }
    }
}

/// What a system said of a file without a name.
fn cannot(action: &'static str, fs: &dyn FileSystem) -> impl FnOnce(io::Error) -> JobError + use<> {
    JobError::io(action, fs.locate(""))
}

const WRITE: &str = "write a file to sort with in";
const READ: &str = "read a file to sort with in";

/// Writes items, which are in order.
fn write_run<T: AsRef<[u8]>>(
    fs: &dyn FileSystem,
    mut next: impl FnMut() -> Result<Option<(Key, u64, T)>>,
) -> Result<Box<dyn Scratch>> {
    let begun = fs.scratch().and_then(RunWriter::new);
    let mut run = begun.map_err(cannot(WRITE, fs))?;
    while let Some((key, number, text)) = next()? {
        let added = run.add(key, number, text.as_ref());
        added.map_err(cannot(WRITE, fs))?;
    }
    run.finish().map_err(cannot(WRITE, fs))
}

fn merge_to_one(fs: &dyn FileSystem, runs: Vec<Box<dyn Scratch>>) -> Result<Box<dyn Scratch>> {
    let mut merge = Merge::new(fs, runs)?;
    write_run(fs, || merge.next())
}

/// Runs that are read at once.
pub(crate) struct Merge {
    runs: Vec<Run>,
    /// The next of each run that has more.
    next: BinaryHeap<Reverse<(Key, u64, usize)>>,
    /// The directory, for errors.
    path: std::path::PathBuf,
}

struct Run {
    reader: RunReader,
    text: Vec<u8>,
}

impl Merge {
    fn new(fs: &dyn FileSystem, runs: Vec<Box<dyn Scratch>>) -> Result<Self> {
        let mut merge = Self {
            runs: Vec::with_capacity(runs.len()),
            next: BinaryHeap::new(),
            path: fs.locate(""),
        };
        for run in runs {
            let reader = RunReader::new(run).map_err(cannot(READ, fs))?;
            let text = Vec::new();
            merge.runs.push(Run { reader, text });
            merge.advance(merge.runs.len() - 1)?;
        }
        Ok(merge)
    }

    fn next(&mut self) -> Result<Option<Item>> {
        let Some(Reverse((key, number, run))) = self.next.pop() else {
            return Ok(None);
        };
        let text = std::mem::take(&mut self.runs[run].text);
        self.advance(run)?;
        Ok(Some((key, number, text)))
    }

    fn advance(&mut self, number: usize) -> Result<()> {
        let run = &mut self.runs[number];
        let read = run.reader.next(&mut run.text);
        if let Some((key, of_text)) = read.map_err(JobError::io(READ, self.path.clone()))? {
            self.next.push(Reverse((key, of_text, number)));
        }
        Ok(())
    }
}

struct RunWriter(Encoder<'static, BufWriter<Box<dyn Scratch>>>);

impl RunWriter {
    fn new(file: Box<dyn Scratch>) -> io::Result<Self> {
        let mut encoder = Encoder::new(BufWriter::new(file), LEVEL)?;
        encoder.window_log(WINDOW_LOG)?;
        Ok(Self(encoder))
    }

    fn add(&mut self, key: Key, number: u64, text: &[u8]) -> io::Result<()> {
        self.0.write_all(&key)?;
        self.0.write_all(&number.to_le_bytes())?;
        self.0.write_all(&(text.len() as u64).to_le_bytes())?;
        self.0.write_all(text)
    }

    fn finish(self) -> io::Result<Box<dyn Scratch>> {
        let written = self.0.finish()?.into_inner();
        let mut file = written.map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(file)
    }
}

struct RunReader(BufReader<Decoder<'static, BufReader<Box<dyn Scratch>>>>);

impl RunReader {
    fn new(file: Box<dyn Scratch>) -> io::Result<Self> {
        Ok(Self(BufReader::new(Decoder::new(file)?)))
    }

    fn next(&mut self, text: &mut Vec<u8>) -> io::Result<Option<(Key, u64)>> {
        if self.0.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let (mut key, mut number, mut length) = ([0; 16], [0; 8], [0; 8]);
        self.0.read_exact(&mut key)?;
        self.0.read_exact(&mut number)?;
        self.0.read_exact(&mut length)?;
        let length = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
        text.resize(length, 0);
        self.0.read_exact(text)?;
        Ok(Some((key, u64::from_le_bytes(number))))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use fastrand::Rng;

    use super::*;
    use crate::Directory;

    fn sorted(items: &[Item], budget: usize) -> (Vec<Item>, usize) {
        let dir = tempfile::tempdir().unwrap();
        let files = Directory::open(dir.path()).unwrap();
        let mut sort = Sort::new(&files, budget);
        let mut most = 0;
        for (key, number, text) in items {
            sort.add(*key, *number, text).unwrap();
            let room = sort.texts.len() + sort.held.len() * size_of::<Held>();
            most = most.max(room);
        }
        let longest = items.iter().map(|item| item.2.len()).max().unwrap_or(0);
        assert!(
            most <= budget.max(longest + size_of::<Held>()),
            "{most} bytes are held"
        );
        let levels = sort.levels.len();
        let mut sorted = sort.finish().unwrap();
        let all = std::iter::from_fn(|| sorted.next().unwrap()).collect();
        drop(sorted);
        assert_eq!(files.list("").unwrap(), Vec::<String>::new());
        (all, levels)
    }

    #[test]
    fn whatever_the_budget_the_order_is_the_same() {
        for seed in 0..30 {
            let mut rng = Rng::with_seed(seed);
            let keys = [1, 3, 1000][rng.usize(..3)];
            let mut items: Vec<Item> = (0..rng.u64(0..400))
                .map(|number| {
                    let text = vec![rng.u8(..); rng.usize(..200)];
                    ([rng.u8(..keys.min(255) as u8); 16], number, text)
                })
                .collect();
            rng.shuffle(&mut items);
            let mut expected = items.clone();
            expected.sort();
            for budget in [0, 1000, 20_000, 1 << 20] {
                assert!(
                    sorted(&items, budget).0 == expected,
                    "seed {seed}, budget {budget}"
                );
            }
        }
    }

    #[test]
    fn one_key_of_many_takes_no_more_memory() {
        let items: Vec<Item> = (0..100_000)
            .map(|number| ([7; 16], number, vec![b'x'; 50]))
            .collect();
        let (all, levels) = sorted(&items, 1 << 20);
        assert!(all == items);
        assert!(levels > 1, "runs are merged to runs");
    }
}

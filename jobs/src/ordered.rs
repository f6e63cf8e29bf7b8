//! The results of a job in the order of its input, whatever the order in which they were computed.

use std::collections::BTreeMap;

use crate::{
    error::Result,
    fs::FileSystem,
    index::Index,
    results,
    sort::{Sort, Sorted},
    spool::{Spooled, record_hash},
};

/// The result of a record, in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// The number of the record in the input, from 0.
    pub number: u64,
    /// The result, without the end of its line.
    pub line: Vec<u8>,
    /// A hash of the record as it was copied ([`record_hash`]), where that was asked for and there is a copy.
    pub record: Option<[u8; 8]>,
}

/// How results are brought in order.
#[derive(Clone, Copy, Debug)]
pub struct OrderOptions {
    /// Bytes of memory that it takes to sort them, about, where the shards have them in another order.
    pub sort_bytes: usize,
    /// Whether the hash of each record comes with its result.
    pub with_hashes: bool,
}

/// Bytes that sorting takes, where nothing else is asked for: 64 MiB.
pub const SORT_BYTES: usize = 64 << 20;

impl Default for OrderOptions {
    fn default() -> Self {
        Self {
            sort_bytes: SORT_BYTES,
            with_hashes: false,
        }
    }
}

/// Results in the order of the input, in bounded memory.
pub struct InOrder<'a> {
    shards: Shards<'a>,
    sorted: Option<Sorted>,
    current: std::vec::IntoIter<Numbered>,
    failures: BTreeMap<String, u64>,
}

struct Shards<'a> {
    fs: &'a dyn FileSystem,
    index: &'a Index,
    with_hashes: bool,
    next: usize,
}

impl<'a> InOrder<'a> {
    /// `None` when `is_wanted` says so on the way.
    pub(crate) fn new(
        fs: &'a dyn FileSystem,
        index: &'a Index,
        options: OrderOptions,
        is_wanted: impl Fn() -> bool,
    ) -> Result<Option<Self>> {
        let mut all = Self {
            shards: Shards {
                fs,
                index,
                with_hashes: options.with_hashes,
                next: 0,
            },
            sorted: None,
            current: Vec::new().into_iter(),
            failures: BTreeMap::new(),
        };
        if !index.is_grouped() {
            return Ok(Some(all));
        }
        let mut sort = Sort::new(fs, options.sort_bytes);
        while let Some(results) = all.shards.read_next(&mut all.failures)? {
            if !is_wanted() {
                return Ok(None);
            }
            for one in results {
                let mut text = one.record.unwrap_or_default().to_vec();
                text.extend_from_slice(&one.line);
                sort.add([0; 16], one.number, &text)?;
            }
        }
        all.sorted = Some(sort.finish()?);
        Ok(Some(all))
    }

    /// The next result; `None` after the last.
    ///
    /// # Errors
    /// [`Damaged`](crate::JobError::Damaged) and [`Io`](crate::JobError::Io)
    pub fn next_result(&mut self) -> Result<Option<Numbered>> {
        if let Some(sorted) = &mut self.sorted {
            let next = sorted.next()?;
            return Ok(next.map(|(_, number, mut line)| {
                let record = line.first_chunk().copied();
                line.drain(..record.map_or(0, |hash: [u8; 8]| hash.len()));
                Numbered {
                    number,
                    line,
                    record,
                }
            }));
        }
        loop {
            if let Some(one) = self.current.next() {
                return Ok(Some(one));
            }
            match self.shards.read_next(&mut self.failures)? {
                Some(results) => self.current = results.into_iter(),
                None => return Ok(None),
            }
        }
    }

    /// How many of the results so far are errors, by kind; all of them after the last.
    #[must_use]
    pub fn failures(&self) -> &BTreeMap<String, u64> {
        &self.failures
    }
}

impl Iterator for InOrder<'_> {
    type Item = Result<Numbered>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_result().transpose()
    }
}

impl Shards<'_> {
    /// The results of the next shard, with the numbers of their records.
    fn read_next(&mut self, failures: &mut BTreeMap<String, u64>) -> Result<Option<Vec<Numbered>>> {
        let shard = self.next;
        let Some((_, first, stretch)) = self.index.get(shard) else {
            return Ok(None);
        };
        self.next += 1;
        let results = results::read(self.fs, shard, stretch.records)?;
        for (kind, count) in &results.failures {
            *failures.entry(kind.clone()).or_default() += count;
        }
        let is_copied = self.index.is_grouped() || self.with_hashes;
        let mut records = match is_copied {
            true => Spooled::read(self.fs, self.index, shard)?,
            false => None,
        };
        let numbered = (first..).zip(results.lines()).map(|(in_order, line)| {
            let record = records.as_mut().and_then(Spooled::next_record);
            Numbered {
                number: record.map_or(in_order, |(number, _)| number),
                record: record.map(|(_, text)| record_hash(text)),
                line: line.to_vec(),
            }
        });
        Ok(Some(numbered.collect()))
    }
}

//! An object that is read here and there, in blocks that are kept for a while.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

use crate::object::Object;

/// Bytes of a block.
const BLOCK: u64 = 1 << 20;
/// Blocks that are asked for at once, where the one before them was read.
const AHEAD: u64 = 8;
/// Blocks that are kept: as many as sixteen columns need that are read side by side.
const KEPT: usize = 128;

/// Reads an object here and there, as Parquet is read: a request brings one megabyte, or eight where reading goes on from
/// bytes that are here. At most 128 megabytes are kept.
#[derive(Clone, Debug)]
pub struct Ranges {
    object: Object,
    blocks: Arc<Mutex<Blocks>>,
}

#[derive(Debug, Default)]
struct Blocks {
    /// Each with the time of its last use.
    kept: BTreeMap<u64, (u64, Bytes)>,
    time: u64,
}

impl Ranges {
    /// None is read yet.
    #[must_use]
    pub fn new(object: Object) -> Self {
        Self {
            object,
            blocks: Arc::default(),
        }
    }

    /// The bytes of the object.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.object.bytes()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads some bytes from a place on: 0 only behind the last. Also says how many bytes came from the store for it.
    ///
    /// # Errors
    ///
    /// As of [`Object::read_range`].
    pub fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<(usize, usize)> {
        if at >= self.len() {
            return Ok((0, 0));
        }
        let number = at / BLOCK;
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut came = 0;
        if !blocks.kept.contains_key(&number) {
            let goes_on = number > 0 && blocks.kept.contains_key(&(number - 1));
            let wanted = if goes_on { AHEAD } else { 1 };
            let end = (number + 1..number + wanted)
                .find(|next| blocks.kept.contains_key(next))
                .unwrap_or(number + wanted);
            let range = number * BLOCK..(end * BLOCK).min(self.len());
            let mut bytes = self.object.read_range(range)?;
            came = bytes.len();
            for number in number..end {
                let block = bytes.split_to(bytes.len().min(BLOCK as usize));
                if !block.is_empty() {
                    blocks.keep(number, block);
                }
            }
        }
        let Some(block) = blocks.take(number) else {
            return Ok((0, came));
        };
        let from = usize::try_from(at - number * BLOCK).unwrap_or(usize::MAX);
        let rest = block.get(from..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok((read, came))
    }
}

impl Blocks {
    fn take(&mut self, number: u64) -> Option<Bytes> {
        self.time += 1;
        let (used, block) = self.kept.get_mut(&number)?;
        *used = self.time;
        Some(block.clone())
    }

    fn keep(&mut self, number: u64, block: Bytes) {
        self.time += 1;
        self.kept.insert(number, (self.time, block));
        if self.kept.len() > KEPT {
            let oldest = self.kept.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(number, _)| *number) {
                self.kept.remove(&oldest);
            }
        }
    }
}

//! The queries of a tile, each in a lane.

use std::{array, ops::Range};

use super::task::{Block, KEYS, Task};
use crate::x86::pack::TILE;

/// Queries that are multiplied at a time: two tiles.
pub(super) const PAIR: usize = 2 * TILE;

/// The columns that each of a tile's queries sees. Both ends grow from lane to lane; lanes behind the last query repeat it.
pub(super) struct Lanes {
    pub(super) keys: [Range<usize>; TILE],
}

/// What each of them has summed.
pub(super) struct State {
    /// The largest score, as a power of two.
    pub(super) most: [f32; TILE],
    /// The sum of the weights.
    pub(super) total: [f32; TILE],
}

/// A pair of tiles, with a block.
pub(super) struct Pair<'a> {
    /// Its number.
    pub(super) index: usize,
    /// Its place in the buffers of two pairs.
    pub(super) slot: usize,
    pub(super) lanes: &'a [Lanes; 2],
    /// The steps of the block that any of its queries sees a key of.
    pub(super) steps: Range<usize>,
    /// The lanes that see each key of the block.
    pub(super) seen: [[u16; KEYS]; 2],
}

impl State {
    /// Of no keys. The largest score is not infinity, from which nothing can be subtracted.
    pub(super) const NEW: Self = Self {
        most: [f32::MIN; TILE],
        total: [0.0; TILE],
    };
}

impl Lanes {
    pub(super) fn new(task: &Task<'_>, tile: usize) -> Self {
        let keys = |lane: usize| {
            let column = task.column((tile * TILE + lane).min(task.rows() - 1));
            task.attention.mask.first_key(column)..column + 1
        };
        Self {
            keys: array::from_fn(keys),
        }
    }

    /// The keys of a block that any of the lanes sees.
    pub(super) fn within(&self, block: &Block) -> Range<usize> {
        block.within(&(self.keys[0].start..self.keys[TILE - 1].end))
    }

    /// Which lanes see each key of a block.
    pub(super) fn seen(&self, block: &Block) -> [u16; KEYS] {
        let all = block.within(&(self.keys[TILE - 1].start..self.keys[0].end));
        if all == (0..KEYS) {
            return [u16::MAX; KEYS];
        }
        let mut seen = [0_u16; KEYS];
        for (lane, keys) in self.keys.iter().enumerate() {
            let keys = block.within(keys);
            let (start, end) = (keys.start as u16, keys.end as u16);
            for (key, seen) in (0..).zip(&mut seen) {
                *seen |= u16::from(start <= key && key < end) << lane;
            }
        }
        seen
    }

    /// The lanes that see these columns.
    pub(super) fn with(&self, keys: &Range<usize>) -> u16 {
        let lanes = self.keys.iter().enumerate();
        lanes
            .filter(|(_, other)| *other == keys)
            .fold(0, |mask, (lane, _)| mask | 1 << lane)
    }
}

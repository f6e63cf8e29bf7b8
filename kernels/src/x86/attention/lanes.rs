//! The queries of a tile, each in a lane.

use std::{array, ops::Range};

use super::{
    KEYS,
    task::{Block, Task},
};
use crate::x86::pack::TILE;

/// What a tile's queries see, and their sums so far. Lanes behind the last query repeat it.
pub(super) struct Lanes {
    /// The columns that each sees. Both ends grow from lane to lane.
    pub(super) keys: [Range<usize>; TILE],
    /// The largest score, in powers of two.
    pub(super) most: [f32; TILE],
    /// The sum of the weights.
    pub(super) total: [f32; TILE],
}

impl Lanes {
    pub(super) fn new(task: &Task<'_>, tile: usize) -> Self {
        let keys = |lane: usize| {
            let column = task.column((tile * TILE + lane).min(task.rows() - 1));
            task.attention.mask.first_key(column)..column + 1
        };
        Self {
            keys: array::from_fn(keys),
            // Not infinity, from which nothing can be subtracted.
            most: [f32::MIN; TILE],
            total: [0.0; TILE],
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
        let mut seen = [0; KEYS];
        for (lane, keys) in self.keys.iter().enumerate() {
            for seen in &mut seen[block.within(keys)] {
                *seen |= 1 << lane;
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

//! Attention in floats, on vectors of 512 bits.
//!
//! Keys and values are read where they are; a line of queries, or of weights, has 16 of them.

use std::arch::x86_64::{
    __m512, _mm512_fmadd_ps, _mm512_mask3_fmadd_ps, _mm512_set1_ps, _mm512_setzero_ps,
};

use super::{
    lanes::{PAIR, Pair},
    products::Products,
    task::{Block, KEYS, Task},
    vectors::{load, read, store, turn},
};
use crate::x86::{
    lines::{Line, Lines},
    pack::{STEP, TILE},
};

/// Keys, or elements of values, that are multiplied at a time, each with two vectors.
const TOGETHER: usize = 8;

#[derive(Default)]
pub(super) struct Buffers {
    queries: Lines,
    scores: Lines,
    weights: Lines,
    sums: Lines,
}

pub(super) struct OnVectors<'a> {
    /// For each pair, the two lines of an element after the other.
    queries: &'a mut [Line],
    /// For each slot and tile, a line for each key.
    scores: &'a mut [Line],
    weights: &'a mut [Line],
    /// For each tile, a line for each element.
    sums: &'a mut [Line],
}

impl<'a> OnVectors<'a> {
    #[target_feature(enable = "avx512f")]
    pub(super) fn new(task: &Task<'_>, buffers: &'a mut Buffers) -> Self {
        let lines = 2 * task.size();
        let queries = buffers.queries.take(task.rows().div_ceil(PAIR) * lines);
        for (pair, lines) in queries.chunks_exact_mut(lines).enumerate() {
            for (square, lines) in lines.chunks_exact_mut(2 * TILE).enumerate() {
                for half in 0..2 {
                    let mut tile = [Line([0; 16]); TILE];
                    for (lane, line) in tile.iter_mut().enumerate() {
                        let query = task.query((2 * pair + half) * TILE + lane);
                        store(read(query.unwrap_or_default(), square * TILE), line);
                    }
                    turn(&mut tile);
                    for (lines, line) in lines.chunks_exact_mut(2).zip(tile) {
                        lines[half] = line;
                    }
                }
            }
        }
        Self {
            queries,
            scores: buffers.scores.take(2 * 2 * KEYS),
            weights: buffers.weights.take(2 * 2 * KEYS),
            sums: buffers.sums.take(2 * task.size().next_multiple_of(STEP)),
        }
    }

    #[target_feature(enable = "avx512f")]
    fn score(&mut self, task: &Task<'_>, block: &Block, pair: &Pair<'_>) {
        let size = task.size();
        let queries = &self.queries[pair.index * 2 * size..][..2 * size];
        let scores = &mut self.scores[pair.slot * 2 * KEYS..][..2 * KEYS];
        for first in (pair.steps.start * STEP..pair.steps.end * STEP).step_by(TOGETHER) {
            let keys: [&[f32]; TOGETHER] = std::array::from_fn(|key| {
                let place = block.places[first + key];
                &task.attention.key[place..place + size]
            });
            let mut sums = [[_mm512_setzero_ps(); 2]; TOGETHER];
            for (element, queries) in queries.chunks_exact(2).enumerate() {
                let queries = [load(&queries[0]), load(&queries[1])];
                for (key, sums) in keys.iter().zip(&mut sums) {
                    let element = _mm512_set1_ps(key[element]);
                    for (sum, query) in sums.iter_mut().zip(queries) {
                        *sum = _mm512_fmadd_ps(element, query, *sum);
                    }
                }
            }
            for (key, sums) in sums.iter().enumerate() {
                for (tile, sum) in sums.iter().enumerate() {
                    store(*sum, &mut scores[tile * KEYS + first + key]);
                }
            }
        }
    }

    #[target_feature(enable = "avx512f")]
    fn sum(&mut self, task: &Task<'_>, block: &Block, pair: &Pair<'_>) {
        let columns = self.sums.len() / 2;
        let weights = &self.weights[pair.slot * 2 * KEYS..][..2 * KEYS];
        let keys = pair.steps.start * STEP..block.keys.min(pair.steps.end * STEP);
        for first in (0..task.size()).step_by(TOGETHER) {
            let mut sums = [[_mm512_setzero_ps(); 2]; TOGETHER];
            for key in keys.clone() {
                let values = &task.attention.value[block.places[key] + first..][..TOGETHER];
                let weights = [load(&weights[key]), load(&weights[KEYS + key])];
                for (value, sums) in values.iter().zip(&mut sums) {
                    let value = _mm512_set1_ps(*value);
                    for ((sum, weight), seen) in sums.iter_mut().zip(weights).zip(&pair.seen) {
                        // A weight of 0 times infinity is not 0.
                        *sum = _mm512_mask3_fmadd_ps(weight, value, *sum, seen[key]);
                    }
                }
            }
            for (element, sums) in sums.iter().enumerate() {
                for (tile, sum) in sums.iter().enumerate() {
                    store(*sum, &mut self.sums[tile * columns + first + element]);
                }
            }
        }
    }
}

impl Products for OnVectors<'_> {
    const PARTS: usize = 0;

    unsafe fn take(&mut self, _: &Task<'_>, _: &Block) {}

    #[target_feature(enable = "avx512f")]
    unsafe fn start(
        &mut self,
        task: &Task<'_>,
        block: &Block,
        sum: Option<&Pair<'_>>,
        score: Option<&Pair<'_>>,
        _: usize,
    ) {
        if let Some(pair) = sum {
            self.sum(task, block, pair);
        }
        if let Some(pair) = score {
            self.score(task, block, pair);
        }
    }

    fn scores(&mut self, pair: &Pair<'_>, tile: usize) -> &mut [Line] {
        &mut self.scores[(pair.slot * 2 + tile) * KEYS..][..KEYS]
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn put(&mut self, pair: &Pair<'_>, tile: usize, key: usize, weights: [__m512; 2]) {
        let lines = &mut self.weights[(pair.slot * 2 + tile) * KEYS..][..KEYS];
        for (weight, key) in weights.into_iter().zip([key, key + TILE]) {
            store(weight, &mut lines[key]);
        }
    }

    fn finish(&mut self) {}

    fn sums(&self) -> &[Line] {
        self.sums
    }
}

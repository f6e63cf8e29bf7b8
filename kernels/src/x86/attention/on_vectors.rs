//! Attention in floats, on vectors of 512 bits.
//!
//! Keys and values are read where they are; a line of queries, or of weights, has 16 of them.

use std::arch::x86_64::{
    __m512, _mm512_castps_si512, _mm512_fmadd_ps, _mm512_mask3_fmadd_ps, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_setzero_si512,
};

use super::{
    KEYS, PAIR, Pair, Products,
    task::{Block, Task},
    vectors::{load, read, store, store_columns},
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
    weights: Lines,
}

pub(super) struct OnVectors<'a> {
    /// For each pair, the two lines of an element after the other.
    queries: &'a mut [Line],
    /// For each tile of a pair, a line for each key.
    weights: &'a mut [Line],
}

impl<'a> OnVectors<'a> {
    #[target_feature(enable = "avx512f")]
    pub(super) fn new(task: &Task<'_>, buffers: &'a mut Buffers) -> Self {
        let lines = 2 * task.size();
        let queries = buffers.queries.take(task.rows().div_ceil(PAIR) * lines);
        for (pair, lines) in queries.chunks_exact_mut(lines).enumerate() {
            for (square, lines) in lines.chunks_exact_mut(2 * TILE).enumerate() {
                for half in 0..2 {
                    let mut columns = [_mm512_setzero_si512(); TILE];
                    for (lane, column) in columns.iter_mut().enumerate() {
                        if let Some(query) = task.query((2 * pair + half) * TILE + lane) {
                            *column = _mm512_castps_si512(read(query, square * TILE));
                        }
                    }
                    let mut tile = [Line([0; 16]); TILE];
                    store_columns(&mut columns, &mut tile);
                    for (lines, line) in lines.chunks_exact_mut(2).zip(tile) {
                        lines[half] = line;
                    }
                }
            }
        }
        Self {
            queries,
            weights: buffers.weights.take(2 * KEYS),
        }
    }
}

impl Products for OnVectors<'_> {
    const PARTS: usize = 0;

    #[target_feature(enable = "avx512f")]
    unsafe fn take(&mut self, _: &Task<'_>, _: &Block) {}

    #[target_feature(enable = "avx512f")]
    unsafe fn score(&self, task: &Task<'_>, block: &Block, pair: &Pair<'_>, scores: &mut [Line]) {
        let size = task.size();
        let queries = &self.queries[pair.index * 2 * size..][..2 * size];
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

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn put(&mut self, tile: usize, key: usize, weights: [__m512; 2]) {
        for (weight, key) in weights.into_iter().zip([key, key + TILE]) {
            store(weight, &mut self.weights[tile * KEYS + key]);
        }
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn sum(&mut self, task: &Task<'_>, block: &Block, pair: &Pair<'_>, sums: &mut [Line]) {
        let between = sums.len() / 2;
        let keys = pair.steps.start * STEP..block.keys.min(pair.steps.end * STEP);
        for first in (0..task.size()).step_by(TOGETHER) {
            let mut acc = [[_mm512_setzero_ps(); 2]; TOGETHER];
            for key in keys.clone() {
                let value = &task.attention.value[block.places[key] + first..][..TOGETHER];
                let weights = [load(&self.weights[key]), load(&self.weights[KEYS + key])];
                for (value, acc) in value.iter().zip(&mut acc) {
                    let value = _mm512_set1_ps(*value);
                    for ((acc, weight), seen) in acc.iter_mut().zip(weights).zip(&pair.seen) {
                        // A weight of 0 times infinity is not 0.
                        *acc = _mm512_mask3_fmadd_ps(weight, value, *acc, seen[key]);
                    }
                }
            }
            for (element, acc) in acc.iter().enumerate() {
                for (tile, acc) in acc.iter().enumerate() {
                    store(*acc, &mut sums[tile * between + first + element]);
                }
            }
        }
    }
}

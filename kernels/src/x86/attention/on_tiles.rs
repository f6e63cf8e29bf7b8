//! Attention on AMX tiles.
//!
//! Each float is split into bfloat16 parts, see `pack.rs`: for a step of 32 elements, and each part, there are two tiles.
//! - Keys: a line is a key's 32 elements.
//! - Queries: line `p` has elements `2p` and `2p + 1` of 16 queries.
//! - Values: a line is an element of 32 keys: each with the 16th behind it.
//! - Weights: line `p` has keys `p` and `p + 16` for 16 queries.

use std::{
    arch::x86_64::{
        __m512, __m512i, _CMP_NLE_UQ, _mm512_abs_ps, _mm512_add_epi32, _mm512_and_si512,
        _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cmp_ps_mask, _mm512_loadu_si512,
        _mm512_mask_blend_epi16, _mm512_mask_mov_ps, _mm512_permutexvar_epi16, _mm512_set1_epi32,
        _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_srli_epi32,
        _mm512_store_si512, _mm512_sub_ps,
    },
    ops::Range,
};

use super::{
    KEYS, PAIR, Pair, Products,
    product::product,
    task::{Block, Task},
    vectors::{load, read, store, store_columns},
};
use crate::x86::{
    amx::Tiles,
    lines::{Line, Lines},
    pack::{STEP, STEP_LINES, TILE, parts},
};

/// The largest bfloat16 number: what is larger may be infinity when it is rounded.
const LARGEST: f32 = 3.389_531_4e38;

/// The order in which 16 elements of a key stand in turn with those of the 16th behind it.
const MIXED: [u16; STEP] = {
    let mut order = [0; STEP];
    let mut at = 0;
    while at < STEP {
        order[at] = (at / 2 + at % 2 * TILE) as u16;
        at += 1;
    }
    order
};

#[derive(Default)]
pub(super) struct Buffers {
    queries: Lines,
    keys: Lines,
    values: Lines,
    weights: Lines,
    sums: Lines,
}

pub(super) struct OnTiles<'a, const PARTS: usize> {
    tiles: &'a Tiles,
    queries: &'a mut [Line],
    keys: &'a mut [Line],
    values: &'a mut [Line],
    weights: &'a mut [Line],
    /// Of a query alone.
    sums: &'a mut [Line],
    /// Whether the products of the block's values with 0 are 0.
    finite: bool,
}

impl<'a, const PARTS: usize> OnTiles<'a, PARTS> {
    /// Lines of a step.
    const STEP: usize = PARTS * STEP_LINES;

    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(super) fn new(tiles: &'a Tiles, task: &Task<'_>, buffers: &'a mut Buffers) -> Self {
        let steps = task.size().div_ceil(STEP);
        let lines = steps * Self::STEP;
        let queries = buffers.queries.take(task.rows().div_ceil(PAIR) * lines);
        for (pair, lines) in queries.chunks_exact_mut(lines).enumerate() {
            for half in 0..2 {
                let rows = (2 * pair + half) * TILE..;
                let query = |lane, element| match task.query(rows.start + lane) {
                    Some(query) => [read(query, element), read(query, element + TILE)],
                    None => [_mm512_setzero_ps(); 2],
                };
                for (step, lines) in lines.chunks_exact_mut(Self::STEP).enumerate() {
                    let mut columns = [[_mm512_setzero_si512(); TILE]; PARTS];
                    for lane in 0..TILE {
                        let [low, high] = query(lane, step * STEP);
                        for (columns, part) in columns.iter_mut().zip(parts::<PARTS>(low, high)) {
                            columns[lane] = part;
                        }
                    }
                    store_parts(&mut columns, half, lines);
                }
            }
        }
        Self {
            tiles,
            queries,
            keys: buffers.keys.take(KEYS / STEP * lines),
            values: buffers.values.take(KEYS / STEP * lines),
            weights: buffers.weights.take(KEYS / STEP * Self::STEP),
            sums: buffers.sums.take(2 * steps * STEP),
            finite: true,
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    fn pack_keys(&mut self, task: &Task<'_>, block: &Block) {
        let lines = task.size().div_ceil(STEP) * Self::STEP;
        for (key, &place) in block.places.iter().enumerate().take(block.keys) {
            let elements = &task.attention.key[place..place + task.size()];
            let lines = &mut self.keys[key / STEP * lines..][..lines];
            for (step, lines) in lines.chunks_exact_mut(Self::STEP).enumerate() {
                let low = read(elements, step * STEP);
                let high = read(elements, step * STEP + TILE);
                for (part, value) in parts::<PARTS>(low, high).into_iter().enumerate() {
                    let line = &mut lines[part * STEP_LINES + key % STEP];
                    // SAFETY: a line is aligned and of the vector's size.
                    unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), value) };
                }
            }
        }
    }

    /// The values of some keys, with zeros in place of the others. Whether they are finite is returned.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    fn pack_values(&mut self, task: &Task<'_>, block: &Block, keys: &Range<usize>) -> bool {
        let mut large = 0;
        let mut value = |key: usize, element| {
            let value = match keys.contains(&key) {
                true => {
                    let place = block.places[key];
                    read(&task.attention.value[place..place + task.size()], element)
                }
                false => _mm512_setzero_ps(),
            };
            large |=
                _mm512_cmp_ps_mask::<_CMP_NLE_UQ>(_mm512_abs_ps(value), _mm512_set1_ps(LARGEST));
            value
        };
        // SAFETY: there are as many elements as a vector has.
        let mixed = unsafe { _mm512_loadu_si512(MIXED.as_ptr().cast()) };
        for (index, lines) in self.values.chunks_exact_mut(Self::STEP).enumerate() {
            let (element, first) = (index / (KEYS / STEP) * STEP, index % (KEYS / STEP) * STEP);
            if first >= block.keys {
                continue;
            }
            for half in 0..2 {
                let mut columns = [[_mm512_setzero_si512(); TILE]; PARTS];
                for key in 0..TILE {
                    let element = element + half * TILE;
                    let low = value(first + key, element);
                    let high = value(first + key + TILE, element);
                    for (columns, part) in columns.iter_mut().zip(parts::<PARTS>(low, high)) {
                        columns[key] = _mm512_permutexvar_epi16(mixed, part);
                    }
                }
                store_parts(&mut columns, half, lines);
            }
        }
        large == 0
    }

    /// The values of a pair's steps, times their weights.
    fn multiply(&self, steps: &Range<usize>, sums: &mut [Line]) {
        let lines = steps.start * Self::STEP..steps.end * Self::STEP;
        let between = sums.len() / 2;
        let blocks = self.values.chunks_exact(KEYS / STEP * Self::STEP);
        for (index, values) in blocks.enumerate() {
            product::<PARTS>(
                self.tiles,
                &values[lines.clone()],
                &self.weights[lines.clone()],
                &mut sums[index * STEP..],
                between,
            );
        }
    }
}

impl<const PARTS: usize> Products for OnTiles<'_, PARTS> {
    const PARTS: usize = PARTS;

    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn take(&mut self, task: &Task<'_>, block: &Block) {
        self.pack_keys(task, block);
        self.finite = self.pack_values(task, block, &(0..block.keys));
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn score(&self, task: &Task<'_>, _: &Block, pair: &Pair<'_>, scores: &mut [Line]) {
        let lines = task.size().div_ceil(STEP) * Self::STEP;
        for step in pair.steps.clone() {
            product::<PARTS>(
                self.tiles,
                &self.keys[step * lines..][..lines],
                &self.queries[pair.index * lines..][..lines],
                &mut scores[step * STEP..],
                KEYS,
            );
        }
    }

    /// The parts are cut off, not rounded: three have all of a weight's bits. The last one of fewer is rounded.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn put(&mut self, tile: usize, key: usize, [mut low, mut high]: [__m512; 2]) {
        let upper = _mm512_set1_epi32(0xffff_0000_u32.cast_signed());
        let rest = |value| {
            let part = _mm512_and_si512(_mm512_castps_si512(value), upper);
            _mm512_sub_ps(value, _mm512_castsi512_ps(part))
        };
        let round = |value| {
            let half = _mm512_set1_epi32(0x8000);
            _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(value), half))
        };
        let lines = &mut self.weights[key / STEP * Self::STEP..][..Self::STEP];
        for (part, lines) in lines.chunks_exact_mut(STEP_LINES).enumerate() {
            if PARTS < 3 && part == PARTS - 1 {
                (low, high) = (round(low), round(high));
            }
            let line = _mm512_mask_blend_epi16(
                0xaaaa_aaaa,
                _mm512_srli_epi32::<16>(_mm512_castps_si512(low)),
                _mm512_castps_si512(high),
            );
            store(
                _mm512_castsi512_ps(line),
                &mut lines[tile * TILE + key % STEP],
            );
            (low, high) = (rest(low), rest(high));
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn sum(&mut self, task: &Task<'_>, block: &Block, pair: &Pair<'_>, sums: &mut [Line]) {
        if self.finite {
            return self.multiply(&pair.steps, sums);
        }
        // A weight of 0 times infinity is not 0: each query gets the values that it sees.
        sums.fill(Line([0; 16]));
        let alone = std::mem::take(&mut self.sums);
        let mut before = 0..0;
        for keys in pair.lanes.iter().flat_map(|lanes| &lanes.keys) {
            if *keys == before {
                continue;
            }
            before = keys.clone();
            self.pack_values(task, block, &block.within(keys));
            self.multiply(&pair.steps, alone);
            let halves = sums.len() / 2;
            for (tile, lanes) in pair.lanes.iter().enumerate() {
                let mask = lanes.with(keys);
                let lines = tile * halves..(tile + 1) * halves;
                for (sum, alone) in sums[lines.clone()].iter_mut().zip(&alone[lines]) {
                    store(_mm512_mask_mov_ps(load(sum), mask, load(alone)), sum);
                }
            }
        }
        self.sums = alone;
    }
}

/// Writes the tiles of a half of a step, whose columns the vectors are.
#[target_feature(enable = "avx512f")]
fn store_parts<const PARTS: usize>(
    columns: &mut [[__m512i; TILE]; PARTS],
    half: usize,
    lines: &mut [Line],
) {
    for (columns, lines) in columns.iter_mut().zip(lines.chunks_exact_mut(STEP_LINES)) {
        store_columns(columns, &mut lines[half * TILE..][..TILE]);
    }
}

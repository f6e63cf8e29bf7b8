//! Attention on AMX tiles.
//!
//! Each float is split into bfloat16 parts, see `pack.rs`: a step of 32 elements has two tiles for each part.
//! - Keys: a line is a key's 32 elements.
//! - Queries: line `p` has elements `2p` and `2p + 1` of 16 queries.
//! - Values: a line is an element of 32 keys, each beside the 16th behind it.
//! - Weights: line `p` has keys `p` and `p + 16` for 16 queries.

use std::{
    arch::x86_64::{
        __m512, _CMP_NLE_UQ, _mm512_abs_ps, _mm512_add_epi32, _mm512_and_si512,
        _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cmp_ps_mask, _mm512_loadu_si512,
        _mm512_mask_blend_epi16, _mm512_mask_mov_ps, _mm512_permutexvar_epi16, _mm512_set1_epi32,
        _mm512_set1_ps, _mm512_srli_epi32, _mm512_sub_ps,
    },
    ops::Range,
};

use super::{
    lanes::{PAIR, Pair},
    product::{Product, Queue},
    products::Products,
    task::{Block, KEYS, Task},
    vectors::{load, put, read, store, turn},
};
use crate::x86::{
    amx::Tiles,
    lines::{Line, Lines},
    pack::{STEP, STEP_LINES, TILE, parts},
};

/// Steps of a block.
const STEPS: usize = KEYS / STEP;
/// The largest bfloat16 number: what is larger may be rounded to infinity.
const LARGEST: f32 = 3.389_531_4e38;
/// The order in which 16 elements of a key stand in turn with those of the 16th key behind it.
const IN_TURN: [u16; STEP] = {
    let mut order = [0; STEP];
    let mut at = 0;
    while at < STEP {
        order[at] = (at / 2 + at % 2 * TILE) as u16;
        at += 1;
    }
    order
};
/// What stands for a product that is due.
const ONE: usize = 1 << 16;

#[derive(Default)]
pub(super) struct Buffers {
    lines: Lines,
    queue: Queue,
}

/// Where operands begin in the buffer.
struct Places {
    queries: usize,
    keys: usize,
    values: usize,
    /// Of two pairs: for each of a pair's tiles a line for each key.
    scores: usize,
    /// Of two pairs.
    weights: usize,
    /// Of a pair: for each of its tiles a line for each element.
    sums: usize,
    /// Such sums of one query after the other.
    alone: usize,
    end: usize,
}

pub(super) struct OnTiles<'a, const PARTS: usize> {
    tiles: &'a Tiles,
    lines: &'a mut [Line],
    places: Places,
    /// Lines of all elements of a pair's queries, and of a step's keys.
    elements: usize,
    /// Whether the block's values are finite: their products with 0 are 0.
    finite: bool,
    queue: &'a mut Queue,
    /// How much of a part is due at each call of `put`, and has not been done.
    pace: usize,
    due: usize,
}

impl<'a, const PARTS: usize> OnTiles<'a, PARTS> {
    /// Lines of a step of 32 elements, or keys.
    const STEP: usize = PARTS * STEP_LINES;

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512bf16")]
    pub(super) fn new(tiles: &'a Tiles, task: &Task<'_>, buffers: &'a mut Buffers) -> Self {
        let elements = task.size().div_ceil(STEP) * Self::STEP;
        let columns = task.size().next_multiple_of(STEP);
        let places = Places::new([
            task.rows().div_ceil(PAIR) * elements,
            STEPS * elements,
            STEPS * elements,
            2 * 2 * KEYS,
            2 * STEPS * Self::STEP,
            2 * columns,
            2 * columns,
        ]);
        let lines = buffers.lines.take(places.end);
        buffers.queue.clear(places.end);
        let queries = &mut lines[places.queries..places.keys];
        for (pair, lines) in queries.chunks_exact_mut(elements).enumerate() {
            for place in 0..PAIR {
                let query = task.query(pair * PAIR + place).unwrap_or_default();
                for (step, lines) in lines.chunks_exact_mut(Self::STEP).enumerate() {
                    let low = read(query, step * STEP);
                    let high = read(query, step * STEP + TILE);
                    for (part, value) in parts::<PARTS>(low, high).into_iter().enumerate() {
                        put(value, &mut lines[part * STEP_LINES + place]);
                    }
                }
            }
            lines.chunks_exact_mut(TILE).for_each(|tile| turn(tile));
        }
        Self {
            tiles,
            lines,
            places,
            elements,
            finite: true,
            queue: &mut buffers.queue,
            pace: 0,
            due: 0,
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512bf16")]
    fn pack_keys(&mut self, task: &Task<'_>, block: &Block) {
        let lines = &mut self.lines[self.places.keys..self.places.values];
        for (key, &place) in block.places.iter().enumerate().take(block.keys) {
            let elements = &task.attention.key[place..place + task.size()];
            let lines = &mut lines[key / STEP * self.elements..][..self.elements];
            for (step, lines) in lines.chunks_exact_mut(Self::STEP).enumerate() {
                let low = read(elements, step * STEP);
                let high = read(elements, step * STEP + TILE);
                for (part, value) in parts::<PARTS>(low, high).into_iter().enumerate() {
                    put(value, &mut lines[part * STEP_LINES + key % STEP]);
                }
            }
        }
    }

    /// The values of some keys, with zeros in place of the others. Whether they are finite is returned.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512bf16")]
    fn pack_values(&mut self, task: &Task<'_>, block: &Block, keys: &Range<usize>) -> bool {
        let mut large = 0;
        let mut value = |key: usize, element| {
            let values = match keys.contains(&key) {
                true => &task.attention.value[block.places[key]..][..task.size()],
                false => &[],
            };
            let value = read(values, element);
            let largest = _mm512_set1_ps(LARGEST);
            large |= _mm512_cmp_ps_mask::<_CMP_NLE_UQ>(_mm512_abs_ps(value), largest);
            value
        };
        // SAFETY: there are as many numbers as a vector has.
        let in_turn = unsafe { _mm512_loadu_si512(IN_TURN.as_ptr().cast()) };
        let lines = &mut self.lines[self.places.values..self.places.scores];
        for (index, lines) in lines.chunks_exact_mut(Self::STEP).enumerate() {
            let (element, first) = (index / STEPS * STEP, index % STEPS * STEP);
            if first >= block.keys {
                continue;
            }
            for place in 0..STEP {
                let element = element + place / TILE * TILE;
                let key = first + place % TILE;
                let (low, high) = (value(key, element), value(key + TILE, element));
                for (part, value) in parts::<PARTS>(low, high).into_iter().enumerate() {
                    let value = _mm512_permutexvar_epi16(in_turn, value);
                    put(value, &mut lines[part * STEP_LINES + place]);
                }
            }
            lines.chunks_exact_mut(TILE).for_each(|tile| turn(tile));
        }
        large == 0
    }

    fn push_scores(&mut self, pair: &Pair<'_>) {
        for step in pair.steps.clone() {
            let product = Product {
                left: self.places.keys + step * self.elements,
                right: self.places.queries + pair.index * self.elements,
                steps: self.elements / Self::STEP,
                sums: self.places.scores + pair.slot * 2 * KEYS + step * STEP,
                between: KEYS,
            };
            self.queue.push(&product, PARTS);
        }
    }

    fn push_sums(&mut self, pair: &Pair<'_>) {
        let first = pair.steps.start * Self::STEP;
        let blocks = self.elements / Self::STEP;
        for block in 0..blocks {
            let product = Product {
                left: self.places.values + block * STEPS * Self::STEP + first,
                right: self.places.weights + pair.slot * STEPS * Self::STEP + first,
                steps: pair.steps.len(),
                sums: self.places.sums + block * STEP,
                between: blocks * STEP,
            };
            self.queue.push(&product, PARTS);
        }
    }

    /// The sums of a pair's queries, each of which gets the values that it sees alone.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512bf16")]
    fn sum_alone(&mut self, task: &Task<'_>, block: &Block, pair: &Pair<'_>) {
        self.lines[self.places.alone..].fill(Line([0; 16]));
        let mut before = 0..0;
        for keys in pair.lanes.iter().flat_map(|lanes| &lanes.keys) {
            if *keys == before {
                continue;
            }
            before = keys.clone();
            self.pack_values(task, block, &block.within(keys));
            self.push_sums(pair);
            self.queue.finish(self.tiles, self.lines);
            let (sums, alone) =
                self.lines[self.places.sums..].split_at_mut(self.places.alone - self.places.sums);
            let columns = sums.len() / 2;
            for (place, (sum, alone)) in sums.iter().zip(alone).enumerate() {
                let mask = pair.lanes[place / columns].with(keys);
                store(_mm512_mask_mov_ps(load(alone), mask, load(sum)), alone);
            }
        }
        self.lines
            .copy_within(self.places.alone..self.places.end, self.places.sums);
    }
}

impl Places {
    fn new(lines: [usize; 7]) -> Self {
        let mut end = 0;
        let [queries, keys, values, scores, weights, sums, alone] = lines.map(|lines| {
            end += lines;
            end - lines
        });
        Self {
            queries,
            keys,
            values,
            scores,
            weights,
            sums,
            alone,
            end,
        }
    }
}

impl<const PARTS: usize> Products for OnTiles<'_, PARTS> {
    const PARTS: usize = PARTS;

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512bf16")]
    unsafe fn take(&mut self, task: &Task<'_>, block: &Block) {
        self.pack_keys(task, block);
        self.finite = self.pack_values(task, block, &(0..block.keys));
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512bf16")]
    unsafe fn start(
        &mut self,
        task: &Task<'_>,
        block: &Block,
        sum: Option<&Pair<'_>>,
        score: Option<&Pair<'_>>,
        puts: usize,
    ) {
        match sum {
            Some(pair) if self.finite => self.push_sums(pair),
            Some(pair) => self.sum_alone(task, block, pair),
            None => {}
        }
        if let Some(pair) = score {
            self.push_scores(pair);
        }
        self.pace = self.queue.len() * ONE / puts.max(1);
        self.due = 0;
    }

    fn scores(&mut self, pair: &Pair<'_>, tile: usize) -> &mut [Line] {
        let place = self.places.scores + (pair.slot * 2 + tile) * KEYS;
        &mut self.lines[place..place + KEYS]
    }

    /// The parts are cut off, not rounded: three have all of a weight's bits. The last one of fewer is rounded.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512bf16")]
    unsafe fn put(&mut self, pair: &Pair<'_>, tile: usize, key: usize, weights: [__m512; 2]) {
        let [mut low, mut high] = weights;
        let place = self.places.weights + (pair.slot * STEPS + key / STEP) * Self::STEP;
        let lines = &mut self.lines[place..place + Self::STEP];
        for (part, lines) in lines.chunks_exact_mut(STEP_LINES).enumerate() {
            if PARTS < 3 && part == PARTS - 1 {
                (low, high) = (round(low), round(high));
            }
            let line = _mm512_mask_blend_epi16(
                0xaaaa_aaaa,
                _mm512_srli_epi32::<16>(_mm512_castps_si512(low)),
                _mm512_castps_si512(high),
            );
            put(line, &mut lines[tile * TILE + key % STEP]);
            (low, high) = (rest(low), rest(high));
        }
        self.due += self.pace;
        while self.due >= ONE {
            self.due -= ONE;
            self.queue.advance(self.tiles, self.lines);
        }
    }

    fn finish(&mut self) {
        self.queue.finish(self.tiles, self.lines);
    }

    fn sums(&self) -> &[Line] {
        &self.lines[self.places.sums..self.places.alone]
    }
}

/// What is left of floats when a part of them is cut off.
#[target_feature(enable = "avx512f")]
fn rest(value: __m512) -> __m512 {
    let upper = _mm512_set1_epi32(0xffff_0000_u32.cast_signed());
    let part = _mm512_and_si512(_mm512_castps_si512(value), upper);
    _mm512_sub_ps(value, _mm512_castsi512_ps(part))
}

/// Floats, of which the upper half is the nearest bfloat16 number.
#[target_feature(enable = "avx512f")]
fn round(value: __m512) -> __m512 {
    let half = _mm512_set1_epi32(0x8000);
    _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(value), half))
}

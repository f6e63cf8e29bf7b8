//! Attention of packed tokens to the rows that they are in.
//!
//! A task has a head of keys and values and some of a row's queries, of all heads that share it. It goes through the keys
//! of its row a block at a time, as flash attention does: it keeps the largest score so far, the sum of the
//! exponentials, and the sum of the values times those, and rescales both sums when a larger score comes.
//!
//! Scores have a line for each key with 16 queries in it, and sums of values one for each element: what is done to a
//! query is done to 16 at once, each in a lane of its own, and none of them reaches another.

mod lanes;
mod on_tiles;
mod on_vectors;
mod product;
mod products;
mod task;
mod vectors;
mod weigh;

use std::{
    arch::x86_64::{
        __m512, _mm512_div_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mul_ps, _mm512_set1_ps,
        _mm512_setzero_ps, _mm512_storeu_ps,
    },
    cell::RefCell,
};

use self::{
    lanes::{Lanes, PAIR, Pair, State},
    on_tiles::OnTiles,
    on_vectors::OnVectors,
    products::Products,
    task::Task,
    vectors::{load, store, turn},
    weigh::weigh,
};
use super::{
    amx::Tiles,
    lines::{Line, Lines, Shared},
    pack::{STEP, TILE},
    unit::Unit,
};
use crate::{Attention, Threads};

/// Queries of a task: this many, or more where few heads share keys; twice as many where each thread has some tasks still.
const QUERIES: usize = 64;
const QUERIES_OF_HEADS: usize = 192;
const TASKS: usize = 4;

#[derive(Default)]
struct Buffers {
    on_tiles: on_tiles::Buffers,
    on_vectors: on_vectors::Buffers,
    /// Of all blocks: for each tile, a line for each element.
    totals: Lines,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// Attention, of checked operands. Floats are split into `parts` where tiles multiply them.
pub(crate) fn attention(
    unit: Unit,
    threads: &dyn Threads,
    parts: usize,
    attention: &Attention<'_>,
    out: &mut [f32],
) {
    let index = |cell: i64| usize::try_from(cell).unwrap_or_default();
    let mut order: Vec<(usize, usize)> = attention
        .cells
        .iter()
        .enumerate()
        .map(|(at, &cell)| (index(cell), at))
        .collect();
    order.sort_unstable();
    let heads = attention.key_value_heads;
    let least = QUERIES.max(QUERIES_OF_HEADS / (attention.heads / heads));
    let enough = order.len() / (2 * least) * heads >= TASKS * threads.count();
    let most = if enough { 2 * least } else { least };
    let row = |&(cell, _): &(usize, usize)| cell / attention.columns;
    let mut queries: Vec<&[(usize, usize)]> = order
        .chunk_by(|one, next| row(one) == row(next))
        .flat_map(|queries| queries.chunks(most))
        .collect();
    // The longest first: what is left at the end is short.
    queries.reverse();
    let out = Shared::new(out);
    threads.run(queries.len() * heads, &|index| {
        let queries = queries[index / heads];
        let task = Task {
            attention,
            row: row(&queries[0]),
            head: index % heads,
            queries,
        };
        BUFFERS.with_borrow_mut(|buffers| {
            // SAFETY: whoever has a `Unit` has AVX-512.
            unsafe { attend(unit, parts, &task, buffers, out) };
        });
    });
}

/// The attention of a task's queries.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512bf16")]
fn attend(unit: Unit, parts: usize, task: &Task<'_>, buffers: &mut Buffers, out: Shared<f32>) {
    let Buffers {
        on_tiles,
        on_vectors,
        totals,
    } = buffers;
    let pairs = task.rows().div_ceil(PAIR);
    let totals = totals.take(pairs * 2 * task.size().next_multiple_of(STEP));
    match (&Tiles::configure(unit), parts) {
        (None, _) => sum(task, OnVectors::new(task, on_vectors), totals, out),
        (Some(tiles), 1) => sum(task, OnTiles::<1>::new(tiles, task, on_tiles), totals, out),
        (Some(tiles), 2) => sum(task, OnTiles::<2>::new(tiles, task, on_tiles), totals, out),
        (Some(tiles), _) => sum(task, OnTiles::<3>::new(tiles, task, on_tiles), totals, out),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512bf16")]
fn sum<P: Products>(task: &Task<'_>, mut products: P, totals: &mut [Line], out: Shared<f32>) {
    let columns = task.size().next_multiple_of(STEP);
    let tiles = totals.len() / columns;
    let lanes: Vec<[Lanes; 2]> = (0..tiles)
        .step_by(2)
        .map(|tile| [Lanes::new(task, tile), Lanes::new(task, tile + 1)])
        .collect();
    let mut states: Vec<State> = (0..tiles).map(|_| State::NEW).collect();
    totals.fill(Line([0; 16]));
    let mut pairs = Vec::new();
    for block in task.blocks() {
        pairs.clear();
        for (index, lanes) in lanes.iter().enumerate() {
            let [one, other] = [&lanes[0], &lanes[1]].map(|lanes| lanes.within(&block));
            let keys = one.start.min(other.start)..one.end.max(other.end);
            if !keys.is_empty() {
                pairs.push(Pair {
                    index,
                    slot: pairs.len() % 2,
                    lanes,
                    steps: keys.start / STEP..keys.end.div_ceil(STEP),
                    seen: [lanes[0].seen(&block), lanes[1].seen(&block)],
                });
            }
        }
        // SAFETY: the processor has AVX-512, here and below.
        unsafe {
            products.take(task, &block);
            products.start(task, &block, None, pairs.first(), 0);
        }
        products.finish();
        let mut before: Option<(&Pair<'_>, [__m512; 2])> = None;
        for (at, pair) in pairs.iter().enumerate() {
            let sum = before.map(|(pair, _)| pair);
            let puts = pair.steps.len() * STEP;
            // SAFETY: as above.
            unsafe { products.start(task, &block, sum, pairs.get(at + 1), puts) };
            let mask = task.attention.mask;
            let mut factors = [_mm512_setzero_ps(); 2];
            for (tile, factor) in factors.iter_mut().enumerate() {
                let state = &mut states[2 * pair.index + tile];
                *factor = weigh(&mut products, mask, pair, tile, state);
            }
            products.finish();
            if let Some((pair, factors)) = before {
                add(totals, pair, factors, products.sums());
            }
            before = Some((pair, factors));
        }
        if let Some((pair, factors)) = before {
            // SAFETY: as above.
            unsafe { products.start(task, &block, Some(pair), None, 0) };
            products.finish();
            add(totals, pair, factors, products.sums());
        }
    }
    for ((tile, totals), state) in totals.chunks_exact_mut(columns).enumerate().zip(&states) {
        write(task, tile, state, totals, out);
    }
}

/// Adds a pair's sums to those of the blocks before, times their factors.
#[target_feature(enable = "avx512f")]
fn add(totals: &mut [Line], pair: &Pair<'_>, factors: [__m512; 2], sums: &[Line]) {
    let totals = &mut totals[pair.index * sums.len()..][..sums.len()];
    let halves = totals.chunks_exact_mut(sums.len() / 2);
    for ((totals, sums), factor) in halves.zip(sums.chunks_exact(sums.len() / 2)).zip(factors) {
        for (total, sum) in totals.iter_mut().zip(sums) {
            store(_mm512_fmadd_ps(load(total), factor, load(sum)), total);
        }
    }
}

/// Writes the outputs of a tile.
#[target_feature(enable = "avx512f")]
fn write(task: &Task<'_>, tile: usize, state: &State, totals: &mut [Line], out: Shared<f32>) {
    // SAFETY: there are as many elements as a vector has.
    let total = unsafe { _mm512_loadu_ps(state.total.as_ptr()) };
    let share = _mm512_div_ps(_mm512_set1_ps(1.0), total);
    for line in &mut *totals {
        store(_mm512_mul_ps(load(line), share), line);
    }
    totals
        .chunks_exact_mut(TILE)
        .for_each(|square| turn(square));
    for row in tile * TILE..task.rows().min((tile + 1) * TILE) {
        // SAFETY: a task writes to its own heads of its own queries.
        let out = unsafe { out.slice(task.out(row), task.size()) };
        for (out, square) in out.chunks_exact_mut(TILE).zip(totals.chunks_exact(TILE)) {
            // SAFETY: there is room for a vector.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr(), load(&square[row % TILE])) };
        }
    }
}

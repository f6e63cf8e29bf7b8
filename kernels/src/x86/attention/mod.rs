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
mod task;
mod vectors;
mod weigh;

use std::{
    arch::x86_64::{
        __m512, _mm512_div_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_setzero_ps,
        _mm512_storeu_ps,
    },
    cell::RefCell,
    ops::Range,
};

use self::{
    lanes::Lanes,
    on_tiles::OnTiles,
    on_vectors::OnVectors,
    task::{Block, Task},
    vectors::{columns, load, store},
    weigh::weigh,
};
use super::{
    amx::Tiles,
    lines::{Line, Lines, Shared},
    pack::{STEP, TILE},
    unit::Unit,
};
use crate::{Attention, Threads};

/// Keys of a block: two steps. Blocks begin at the row's beginning, so that a query's sums do not depend on the others.
const KEYS: usize = 64;
/// Queries that are multiplied at a time: two tiles.
const PAIR: usize = 2 * TILE;
/// Queries of a task: this many, or more where few heads share keys.
const QUERIES: usize = 64;
const QUERIES_OF_HEADS: usize = 192;

/// What multiplies queries with keys, and weights with values.
trait Products {
    /// How many numbers stand for a weight; 0 if it is multiplied as it is.
    const PARTS: usize;

    /// Takes the keys and values of a block.
    ///
    /// # Safety
    /// The processor has AVX-512, here and below.
    unsafe fn take(&mut self, task: &Task<'_>, block: &Block);

    /// The products of a pair's queries with the keys of some steps: for each of its tiles, a line for each of [`KEYS`].
    unsafe fn score(&self, task: &Task<'_>, block: &Block, pair: &Pair<'_>, scores: &mut [Line]);

    /// Keeps the weights of key `key` of the block and of the 16th behind it, for a tile of a pair.
    unsafe fn put(&mut self, tile: usize, key: usize, weights: [__m512; 2]);

    /// The sums of the values of some steps, times the weights that were put: for each of a pair's tiles, a line for
    /// each element. A lane without a key adds nothing; a value that a lane does not see does not reach it.
    unsafe fn sum(&mut self, task: &Task<'_>, block: &Block, pair: &Pair<'_>, sums: &mut [Line]);
}

/// What is computed at a time: a pair of tiles with some steps of a block.
struct Pair<'a> {
    /// Its number.
    index: usize,
    lanes: &'a mut [Lanes; 2],
    /// Those of the block that any of its queries sees a key of.
    steps: Range<usize>,
    /// The lanes that see each key of the block.
    seen: [[u16; KEYS]; 2],
}

#[derive(Default)]
struct Buffers {
    lanes: Vec<[Lanes; 2]>,
    on_tiles: on_tiles::Buffers,
    on_vectors: on_vectors::Buffers,
    /// Of a pair and a block.
    scores: Lines,
    sums: Lines,
    /// Of all blocks, for each pair.
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
    let most = QUERIES.max(QUERIES_OF_HEADS / (attention.heads / heads));
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
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn attend(unit: Unit, parts: usize, task: &Task<'_>, buffers: &mut Buffers, out: Shared<f32>) {
    let columns = task.size().next_multiple_of(STEP);
    let pairs = task.rows().div_ceil(PAIR);
    let lanes = &mut buffers.lanes;
    lanes.clear();
    lanes.extend((0..pairs).map(|pair| [0, 1].map(|half| Lanes::new(task, 2 * pair + half))));
    let totals = buffers.totals.take(pairs * 2 * columns);
    totals.fill(Line([0; 16]));
    let sums = Sums {
        lanes,
        scores: buffers.scores.take(2 * KEYS),
        sums: buffers.sums.take(2 * columns),
        totals,
    };
    match (Tiles::configure(unit), parts) {
        (None, _) => sums.add(task, OnVectors::new(task, &mut buffers.on_vectors)),
        (Some(tiles), 1) => sums.add(task, OnTiles::<1>::new(&tiles, task, &mut buffers.on_tiles)),
        (Some(tiles), 2) => sums.add(task, OnTiles::<2>::new(&tiles, task, &mut buffers.on_tiles)),
        (Some(tiles), _) => sums.add(task, OnTiles::<3>::new(&tiles, task, &mut buffers.on_tiles)),
    }
    for (index, (lanes, totals)) in lanes
        .iter()
        .zip(
            buffers
                .totals
                .take(pairs * 2 * columns)
                .chunks_exact(2 * columns),
        )
        .enumerate()
    {
        for (half, (lanes, totals)) in lanes.iter().zip(totals.chunks_exact(columns)).enumerate() {
            write(task, 2 * index + half, lanes, totals, out);
        }
    }
}

/// What is summed over blocks.
struct Sums<'a> {
    lanes: &'a mut [[Lanes; 2]],
    scores: &'a mut [Line],
    sums: &'a mut [Line],
    totals: &'a mut [Line],
}

impl Sums<'_> {
    /// Adds all blocks.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    fn add<P: Products>(self, task: &Task<'_>, mut products: P) {
        let lines = self.sums.len();
        for block in task.blocks() {
            // SAFETY: the processor has AVX-512, here and below.
            unsafe { products.take(task, &block) };
            let pairs = self
                .lanes
                .iter_mut()
                .zip(self.totals.chunks_exact_mut(lines));
            for (index, (lanes, totals)) in pairs.enumerate() {
                let [one, other] = [&lanes[0], &lanes[1]].map(|lanes| lanes.within(&block));
                let keys = one.start.min(other.start)..one.end.max(other.end);
                if keys.is_empty() {
                    continue;
                }
                let mut pair = Pair {
                    index,
                    seen: [&lanes[0], &lanes[1]].map(|lanes| lanes.seen(&block)),
                    lanes,
                    steps: keys.start / STEP..keys.end.div_ceil(STEP),
                };
                // SAFETY: as above.
                unsafe { products.score(task, &block, &pair, self.scores) };
                let mut factors = [_mm512_setzero_ps(); 2];
                for (tile, scores) in self.scores.chunks_exact_mut(KEYS).enumerate() {
                    let mask = task.attention.mask;
                    factors[tile] = weigh(&mut products, mask, &mut pair, tile, scores);
                }
                // SAFETY: as above.
                unsafe { products.sum(task, &block, &pair, self.sums) };
                for (tile, factor) in factors.into_iter().enumerate() {
                    let lines = tile * lines / 2..(tile + 1) * lines / 2;
                    for (total, sum) in totals[lines.clone()].iter_mut().zip(&self.sums[lines]) {
                        store(_mm512_fmadd_ps(load(total), factor, load(sum)), total);
                    }
                }
            }
        }
    }
}

/// Writes the outputs of a tile.
#[target_feature(enable = "avx512f")]
fn write(task: &Task<'_>, tile: usize, lanes: &Lanes, totals: &[Line], out: Shared<f32>) {
    // SAFETY: there are as many elements as a vector has.
    let total = unsafe { _mm512_loadu_ps(lanes.total.as_ptr()) };
    for element in (0..task.size()).step_by(TILE) {
        let mut values = [_mm512_setzero_ps(); TILE];
        for (value, line) in values.iter_mut().zip(&totals[element..]) {
            *value = _mm512_div_ps(load(line), total);
        }
        let rows = tile * TILE..task.rows();
        for (row, value) in rows.zip(columns(values)) {
            // SAFETY: a task writes to its own heads of its own queries, and there is room for a vector.
            unsafe {
                let out = out.slice(task.out(row) + element, TILE);
                _mm512_storeu_ps(out.as_mut_ptr(), value);
            }
        }
    }
}

//! Attention of packed tokens to the rows that they are in.
//!
//! A task has a head of keys and values and some of a row's queries. It gathers the keys of its row a block at a time and
//! goes through them as flash attention does: it keeps the largest score so far, the sum of the exponentials, and the sum
//! of the values times those, and rescales both sums when a larger score comes. Queries of the heads that share keys are
//! computed together.

use std::{
    arch::x86_64::{
        __m512, _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mul_ps,
        _mm512_reduce_add_ps, _mm512_reduce_max_ps, _mm512_set1_ps, _mm512_setzero_ps,
        _mm512_storeu_ps, _mm512_sub_ps,
    },
    cell::RefCell,
    ops::Range,
};

use super::{
    lines::Shared,
    vector::{exp, tanh},
};
use crate::{Attention, Mask, Threads};

/// Keys of a block: four vectors. Blocks begin at the row's beginning, so that a query's sums do not depend on the others.
const KEYS: usize = 64;
const VECTORS: usize = KEYS / LANES;
const LANES: usize = 16;
/// Queries of a task.
const QUERIES: usize = 64;
/// Queries that are multiplied at a time: with four vectors, 24 registers of sums.
const TOGETHER: usize = 6;

/// A part of a row's queries, as places in the order of cells.
struct Task {
    row: usize,
    queries: Range<usize>,
}

#[derive(Default)]
struct Buffers {
    /// `[size, KEYS]`.
    keys: Vec<f32>,
    /// `[KEYS, size]`, in panels of 64 columns.
    values: Vec<f32>,
    /// `[queries, size]`.
    queries: Vec<f32>,
    /// `[queries, KEYS]`.
    scores: Vec<f32>,
    /// `[queries, size]`.
    sums: Vec<f32>,
    /// Largest score and sum of exponentials of each query.
    state: Vec<(f32, f32)>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// Attention, of checked operands.
pub(crate) fn attention(threads: &dyn Threads, attention: &Attention<'_>, out: &mut [f32]) {
    let index = |cell: i64| usize::try_from(cell).unwrap_or_default();
    let mut order: Vec<(usize, usize)> = attention
        .cells
        .iter()
        .enumerate()
        .map(|(at, &cell)| (index(cell), at))
        .collect();
    order.sort_unstable();
    let mut tasks: Vec<Task> = Vec::new();
    for (at, (cell, _)) in order.iter().enumerate() {
        let row = cell / attention.columns;
        match tasks.last_mut() {
            Some(task) if task.row == row && task.queries.len() < QUERIES => task.queries.end += 1,
            _ => tasks.push(Task {
                row,
                queries: at..at + 1,
            }),
        }
    }
    // The longest first: what is left at the end is short.
    tasks.reverse();
    let heads = attention.key_value_heads;
    let shared = Shared::new(out);
    threads.run(tasks.len() * heads, &|index| {
        let task = &tasks[index / heads];
        let queries = &order[task.queries.clone()];
        BUFFERS.with_borrow_mut(|buffers| {
            // SAFETY: whoever calls this has a `Unit`, and with it AVX-512.
            unsafe { attend(attention, task.row, index % heads, queries, buffers, shared) };
        });
    });
}

/// The attention of some queries of a row, in the heads that share one of keys and values.
#[target_feature(enable = "avx512f")]
fn attend(
    attention: &Attention<'_>,
    row: usize,
    head: usize,
    queries: &[(usize, usize)],
    buffers: &mut Buffers,
    out: Shared<f32>,
) {
    let &Attention {
        size,
        columns,
        mask,
        ..
    } = attention;
    let group = attention.heads / attention.key_value_heads;
    let width = attention.heads * size;
    let token = |cell: usize| usize::try_from(attention.row_tokens[cell]).unwrap_or_default();
    let rows = queries.len() * group;
    buffers.prepare(rows, size);
    for (&(cell, _), to) in queries
        .iter()
        .zip(buffers.queries.chunks_exact_mut(group * size))
    {
        let from = token(cell) * width + head * group * size;
        to.copy_from_slice(&attention.query[from..from + group * size]);
    }
    let column = |query: usize| queries[query].0 % columns;
    let (nearest, farthest) = (column(0), column(queries.len() - 1));
    let begin = mask.first_key(nearest) / KEYS * KEYS;
    for block in (begin..=farthest).step_by(KEYS) {
        let keys = KEYS.min(farthest + 1 - block);
        for key in 0..keys {
            let token = token(row * columns + block + key);
            let from = (token * attention.key_value_heads + head) * size;
            for (at, &element) in attention.key[from..from + size].iter().enumerate() {
                buffers.keys[at * KEYS + key] = element;
            }
            for (panel, part) in attention.value[from..from + size].chunks(KEYS).enumerate() {
                let to = (panel * KEYS + key) * KEYS;
                buffers.values[to..to + part.len()].copy_from_slice(part);
            }
        }
        // Queries before the block see nothing of it.
        let first = queries.partition_point(|&(cell, _)| cell % columns < block);
        buffers.score(first * group..rows, size);
        for query in first..queries.len() {
            let at = column(query);
            let seen = mask.first_key(at).saturating_sub(block)..keys.min(at + 1 - block);
            for row in query * group..(query + 1) * group {
                buffers.weigh(row, &seen, mask, size);
            }
        }
        // A query's products end with its own key: what stands behind it, be it NaN, is not even multiplied by 0.
        let whole = queries.partition_point(|&(cell, _)| cell % columns + 1 < block + keys);
        for query in first..whole.max(first) {
            let seen = keys.min(column(query) + 1 - block);
            buffers.sum(query * group..(query + 1) * group, seen, size);
        }
        buffers.sum(whole.max(first) * group..rows, keys, size);
    }
    for (query, &(_, at)) in queries.iter().enumerate() {
        // SAFETY: a task writes to its own heads of its own queries.
        let out = unsafe { out.slice(at * width + head * group * size, group * size) };
        for (offset, out) in out.chunks_exact_mut(size).enumerate() {
            let row = query * group + offset;
            let (_, total) = buffers.state[row];
            for (out, sum) in out.iter_mut().zip(&buffers.sums[row * size..]) {
                *out = sum / total;
            }
        }
    }
}

impl Mask {
    /// The first key that a query in `column` sees.
    fn first_key(&self, column: usize) -> usize {
        self.window
            .map_or(0, |window| (column + 1).saturating_sub(window))
    }
}

impl Buffers {
    fn prepare(&mut self, rows: usize, size: usize) {
        let panels = size.div_ceil(KEYS);
        let rounded = rows.next_multiple_of(TOGETHER);
        for (buffer, count) in [
            (&mut self.keys, size * KEYS),
            (&mut self.values, panels * KEYS * KEYS),
            (&mut self.queries, rows * size),
            (&mut self.scores, rounded * KEYS),
        ] {
            buffer.resize(count, 0.0);
        }
        self.sums.clear();
        self.sums.resize(rows * size, 0.0);
        self.state.clear();
        self.state.resize(rows, (f32::NEG_INFINITY, 0.0));
    }

    /// Products of queries with the keys of the block.
    #[target_feature(enable = "avx512f")]
    fn score(&mut self, rows: Range<usize>, size: usize) {
        for first in rows.clone().step_by(TOGETHER) {
            let count = TOGETHER.min(rows.end - first);
            let left = |row: usize| &self.queries[(first + row) * size..][..size];
            let sums = products(
                count,
                left,
                &self.keys,
                size,
                [[_mm512_setzero_ps(); VECTORS]; TOGETHER],
            );
            for (row, sums) in sums.iter().take(count).enumerate() {
                let out = &mut self.scores[(first + row) * KEYS..][..KEYS];
                for (out, sum) in out.chunks_exact_mut(LANES).zip(sums) {
                    // SAFETY: a chunk has room for a vector.
                    unsafe { _mm512_storeu_ps(out.as_mut_ptr(), *sum) };
                }
            }
        }
    }

    /// Makes a row's scores of the keys that it sees into exponentials, and zeros of the others.
    #[target_feature(enable = "avx512f")]
    fn weigh(&mut self, row: usize, seen: &Range<usize>, mask: Mask, size: usize) {
        let scores = &mut self.scores[row * KEYS..][..KEYS];
        let mut vectors = [_mm512_setzero_ps(); VECTORS];
        for (vector, scores) in vectors.iter_mut().zip(scores.chunks_exact(LANES)) {
            // SAFETY: a chunk has a vector.
            let score = unsafe { _mm512_loadu_ps(scores.as_ptr()) };
            let score = _mm512_mul_ps(score, _mm512_set1_ps(mask.scale));
            *vector = match mask.softcap {
                Some(cap) => {
                    let bent = tanh(_mm512_mul_ps(score, _mm512_set1_ps(1.0 / cap)));
                    _mm512_mul_ps(bent, _mm512_set1_ps(cap))
                }
                None => score,
            };
        }
        put(&vectors, scores);
        for (key, score) in scores.iter_mut().enumerate() {
            if !seen.contains(&key) {
                *score = f32::NEG_INFINITY;
            }
        }
        if seen.is_empty() {
            scores.fill(0.0);
            return;
        }
        let mut largest = f32::NEG_INFINITY;
        for scores in scores.chunks_exact(LANES) {
            // SAFETY: a chunk has a vector.
            largest = largest.max(_mm512_reduce_max_ps(unsafe {
                _mm512_loadu_ps(scores.as_ptr())
            }));
        }
        let (before, total) = self.state[row];
        let most = before.max(largest);
        let mut sum = _mm512_setzero_ps();
        for (vector, scores) in vectors.iter_mut().zip(scores.chunks_exact(LANES)) {
            // SAFETY: a chunk has a vector.
            let score = unsafe { _mm512_loadu_ps(scores.as_ptr()) };
            *vector = exp(_mm512_sub_ps(score, _mm512_set1_ps(most)));
            sum = _mm512_add_ps(sum, *vector);
        }
        put(&vectors, scores);
        for (key, score) in scores.iter_mut().enumerate() {
            if !seen.contains(&key) {
                *score = 0.0;
            }
        }
        let mut total = total;
        if before < most && before > f32::NEG_INFINITY {
            let mut factor = [0.0; LANES];
            // SAFETY: the array has room for a vector.
            unsafe { _mm512_storeu_ps(factor.as_mut_ptr(), exp(_mm512_set1_ps(before - most))) };
            for sum in &mut self.sums[row * size..(row + 1) * size] {
                *sum *= factor[0];
            }
            total *= factor[0];
        }
        self.state[row] = (most, total + _mm512_reduce_add_ps(sum));
    }

    /// Adds the first `keys` values of the block, each times its exponential.
    #[target_feature(enable = "avx512f")]
    fn sum(&mut self, rows: Range<usize>, keys: usize, size: usize) {
        for first in rows.clone().step_by(TOGETHER) {
            let count = TOGETHER.min(rows.end - first);
            for (panel, values) in self.values.chunks_exact(KEYS * KEYS).enumerate() {
                let columns = panel * KEYS..size.min((panel + 1) * KEYS);
                let left = |row: usize| &self.scores[(first + row) * KEYS..][..keys];
                let mut start = [[_mm512_setzero_ps(); VECTORS]; TOGETHER];
                for (row, start) in start.iter_mut().take(count).enumerate() {
                    let sums = &self.sums[(first + row) * size..][columns.clone()];
                    for (start, sums) in start.iter_mut().zip(sums.chunks_exact(LANES)) {
                        // SAFETY: a chunk has a vector.
                        *start = unsafe { _mm512_loadu_ps(sums.as_ptr()) };
                    }
                }
                let sums = products(count, left, values, keys, start);
                for (row, sums) in sums.iter().take(count).enumerate() {
                    let out = &mut self.sums[(first + row) * size..][columns.clone()];
                    put(sums, out);
                }
            }
        }
    }
}

/// Writes as many of the vectors as `out` has room for.
#[target_feature(enable = "avx512f")]
fn put(vectors: &[__m512; VECTORS], out: &mut [f32]) {
    for (out, vector) in out.chunks_exact_mut(LANES).zip(vectors) {
        // SAFETY: a chunk has room for a vector.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), *vector) };
    }
}

/// `sums[row] += left(row)[i] * right[i]` for each of the first `inner` of `right`, which are 64 wide.
#[target_feature(enable = "avx512f")]
fn products<'a>(
    count: usize,
    left: impl Fn(usize) -> &'a [f32],
    right: &[f32],
    inner: usize,
    mut sums: [[__m512; VECTORS]; TOGETHER],
) -> [[__m512; VECTORS]; TOGETHER] {
    let rows: [&[f32]; TOGETHER] = std::array::from_fn(|row| left(row.min(count - 1)));
    assert!(rows.iter().all(|row| row.len() >= inner));
    for (at, right) in right.chunks_exact(KEYS).take(inner).enumerate() {
        let mut vectors = [_mm512_setzero_ps(); VECTORS];
        for (vector, right) in vectors.iter_mut().zip(right.chunks_exact(LANES)) {
            // SAFETY: a chunk has a vector.
            *vector = unsafe { _mm512_loadu_ps(right.as_ptr()) };
        }
        for (row, sums) in rows.iter().zip(&mut sums) {
            let element = _mm512_set1_ps(row[at]);
            for (sum, vector) in sums.iter_mut().zip(vectors) {
                *sum = _mm512_fmadd_ps(element, vector, *sum);
            }
        }
    }
    sums
}

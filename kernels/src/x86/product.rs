//! Linear layers: which part of a product is computed when.
//!
//! Tokens are packed some hundreds at a time. Then each task takes a range of a weight's rows: it packs them, a part of
//! the inner dimension after the other, so that they stay in the cache of its core, and multiplies them with all of those
//! tokens. Each part is summed by itself and added to those before. Where the parts end depends on the inner dimension and
//! the precision alone, so the order of summation does too.

use std::{
    arch::x86_64::{
        __m512, __m512i, _mm512_add_ps, _mm512_castsi512_ps, _mm512_load_ps, _mm512_load_si512,
        _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_mul_ps, _mm512_setzero_ps,
        _mm512_setzero_si512, _mm512_store_ps,
    },
    cell::RefCell,
    ops::Range,
};

use super::{
    amx::{self, Tiles},
    avx512,
    lines::{Line, Lines, Shared},
    pack::{BLOCK, STEP, STEP_LINES, TILE, pack_tokens},
    rows::pack_rows,
    unit::Unit,
    vector::{activate, transpose},
};
use crate::{Activation, Threads, Values, Weight};

/// Tokens that are packed at a time.
const TOKENS: usize = 512;
/// Most rows of a weight in a task.
const ROWS: usize = 128;
/// Steps that are summed before they are added to the steps before: fewer roundings add up than in one long sum. Where
/// inputs are rounded that matters less than the additions cost.
const STEPS: usize = 16;
const STEPS_OF_ROUNDED: usize = 32;
/// Tasks for each thread, where there are rows enough: the threads are done at about the same time.
const TASKS: usize = 4;
/// Lines of the sums of a block of rows and one of tokens.
const SUMS: usize = 4 * TILE;

thread_local! {
    /// Packed rows, and the sums of a task.
    static BUFFERS: RefCell<(Lines, [Lines; 2])> = RefCell::default();
}

/// Some hundred packed tokens.
#[derive(Clone, Copy)]
struct Tokens<'a> {
    lines: &'a [Line],
    count: usize,
    inner: usize,
    parts: usize,
}

impl Tokens<'_> {
    fn blocks(&self) -> usize {
        self.count.div_ceil(BLOCK)
    }

    fn steps(&self) -> usize {
        self.inner.div_ceil(STEP)
    }

    /// Some steps of a block.
    fn block(&self, block: usize, steps: &Range<usize>) -> &[Line] {
        let step = self.parts * STEP_LINES;
        &self.lines[(block * self.steps() + steps.start) * step..][..steps.len() * step]
    }
}

/// `x . weight + bias`, of `width` outputs.
pub(crate) fn linear(
    (unit, scratch): (Unit, &mut Lines),
    threads: &dyn Threads,
    parts: usize,
    (x, inner): (&[f32], usize),
    weight: &Weight<'_>,
    (out, width): (&mut [f32], usize),
) {
    let rows = task_rows(width, threads.count(), ROWS);
    let out = Shared::new(out);
    each_tokens(scratch, threads, parts, (x, inner), |start, tokens| {
        threads.run(width.div_ceil(rows), &|task| {
            let range = task * rows..width.min((task + 1) * rows);
            BUFFERS.with_borrow_mut(|(panel, [sums, _])| {
                let sums = accumulate(unit, tokens, &weight.values, &range, panel, sums);
                let columns = Columns {
                    first_token: start,
                    count: tokens.count,
                    range: &range,
                    width,
                };
                // SAFETY: whoever has a `Unit` has AVX-512.
                unsafe { finish(&columns, (sums, weight), out) };
            });
        });
    });
}

/// `activation(x . gate) * (x . up)`, of `width` outputs.
pub(crate) fn gated(
    (unit, scratch): (Unit, &mut Lines),
    threads: &dyn Threads,
    parts: usize,
    (x, inner): (&[f32], usize),
    (gate, up): (&Weight<'_>, &Weight<'_>),
    activation: Activation,
    (out, width): (&mut [f32], usize),
) {
    let rows = task_rows(width, threads.count(), ROWS / 2);
    let out = Shared::new(out);
    each_tokens(scratch, threads, parts, (x, inner), |start, tokens| {
        threads.run(width.div_ceil(rows), &|task| {
            let range = task * rows..width.min((task + 1) * rows);
            BUFFERS.with_borrow_mut(|(panel, [gates, ups])| {
                let gates = accumulate(unit, tokens, &gate.values, &range, panel, gates);
                let ups = accumulate(unit, tokens, &up.values, &range, panel, ups);
                let columns = Columns {
                    first_token: start,
                    count: tokens.count,
                    range: &range,
                    width,
                };
                // SAFETY: whoever has a `Unit` has AVX-512.
                unsafe {
                    let (gates, ups) = ((gates, gate), (ups, up));
                    finish_gated(&columns, gates, ups, activation, out);
                }
            });
        });
    });
}

/// The part of an output that a task writes.
struct Columns<'a> {
    /// Number of the first token.
    first_token: usize,
    /// Tokens.
    count: usize,
    /// The columns: rows of the weight.
    range: &'a Range<usize>,
    /// Columns of the whole output.
    width: usize,
}

impl Columns<'_> {
    /// The elements of a tile's token.
    #[allow(clippy::mut_from_ref)]
    fn of<'o>(&self, out: &'o Shared<f32>, tile: &Tile, token: usize) -> &'o mut [f32] {
        let start = (self.first_token + token) * self.width + tile.column;
        // SAFETY: a task writes to its own columns of these tokens.
        unsafe { out.slice(start, tile.width) }
    }
}

/// Writes the sums of a linear layer.
#[target_feature(enable = "avx512f")]
fn finish(columns: &Columns<'_>, (sums, weight): (&[Line], &Weight<'_>), out: Shared<f32>) {
    for tile in tiles(columns.count, columns.range) {
        let values = by_token(&sums[tile.lines()]);
        for (value, token) in values.iter().zip(tile.tokens.clone()) {
            store(
                complete(*value, weight, tile.column),
                columns.of(&out, &tile, token),
            );
        }
    }
}

/// Writes the outputs of a gated layer.
#[target_feature(enable = "avx512f")]
fn finish_gated(
    columns: &Columns<'_>,
    (gates, gate_weight): (&[Line], &Weight<'_>),
    (ups, up_weight): (&[Line], &Weight<'_>),
    activation: Activation,
    out: Shared<f32>,
) {
    for tile in tiles(columns.count, columns.range) {
        let (gates, ups) = (by_token(&gates[tile.lines()]), by_token(&ups[tile.lines()]));
        for ((gate, up), token) in gates.iter().zip(ups).zip(tile.tokens.clone()) {
            let gate = activate(activation, complete(*gate, gate_weight, tile.column));
            let value = _mm512_mul_ps(gate, complete(up, up_weight, tile.column));
            store(value, columns.of(&out, &tile, token));
        }
    }
}

/// Rows of a weight for each task.
fn task_rows(width: usize, threads: usize, most: usize) -> usize {
    let wanted = width.div_ceil(threads.max(1) * TASKS);
    wanted.next_multiple_of(BLOCK).clamp(BLOCK, most)
}

/// Packs some hundred rows of `x` at a time, on all threads, for `work`, which also gets the number of the first one.
fn each_tokens(
    scratch: &mut Lines,
    threads: &dyn Threads,
    parts: usize,
    (x, inner): (&[f32], usize),
    work: impl Fn(usize, Tokens<'_>),
) {
    let block_lines = inner.div_ceil(STEP) * parts * STEP_LINES;
    for (index, x) in x.chunks(TOKENS * inner).enumerate() {
        let count = x.len() / inner;
        let blocks = count.div_ceil(BLOCK);
        let lines = scratch.take(blocks * block_lines);
        let shared = Shared::new(lines);
        threads.run(blocks, &|block| {
            let first = block * BLOCK * inner;
            let rows = &x[first..x.len().min(first + BLOCK * inner)];
            // SAFETY: each task has a block of its own.
            let lines = unsafe { shared.slice(block * block_lines, block_lines) };
            // SAFETY: whoever has a `Unit`, as the callers do, has AVX-512.
            unsafe { pack_tokens(rows, inner, parts, lines) };
        });
        let tokens = Tokens {
            lines,
            count,
            inner,
            parts,
        };
        work(index * TOKENS, tokens);
    }
}

/// The sums of a range of a weight's rows with all tokens, in the order of [`tiles`].
fn accumulate<'s>(
    unit: Unit,
    tokens: Tokens<'_>,
    weight: &Values<'_>,
    range: &Range<usize>,
    panel: &mut Lines,
    sums: &'s mut Lines,
) -> &'s [Line] {
    let blocks = range.len().div_ceil(BLOCK);
    let sums = sums.take(tokens.blocks() * blocks * SUMS);
    let steps = tokens.steps();
    let most = match tokens.parts {
        3 => STEPS,
        _ => STEPS_OF_ROUNDED,
    };
    let at_once = steps.div_ceil(steps.div_ceil(most));
    let mut more = [Line([0; 16]); SUMS];
    let tiles = Tiles::configure(unit);
    for first in (0..steps).step_by(at_once) {
        let steps = first..steps.min(first + at_once);
        let block_lines = steps.len() * STEP_LINES;
        let panels = panel.take(weight.parts(tokens.parts) * blocks * block_lines);
        let (whole, rest) = panels.split_at_mut(blocks * block_lines);
        for block in 0..blocks {
            let start = range.start + block * BLOCK;
            let rows = start..range.end.min(start + BLOCK);
            let lines = block * block_lines..(block + 1) * block_lines;
            let rest = rest.get_mut(lines.clone()).unwrap_or_default();
            // SAFETY: whoever has a `Unit` has AVX-512.
            unsafe { pack_rows(weight, rows, tokens.inner, first, &mut whole[lines], rest) };
        }
        for (part, panel) in [&*whole, rest].into_iter().enumerate() {
            for (block, sums) in sums.chunks_exact_mut(blocks * SUMS).enumerate() {
                let tokens_block = tokens.block(block, &steps);
                for (rows, sums) in panel
                    .chunks_exact(block_lines)
                    .zip(sums.chunks_exact_mut(SUMS))
                {
                    let used = used_parts(part, tokens.parts);
                    let fresh = first == 0 && part == 0;
                    let to = if fresh { &mut *sums } else { &mut more[..] };
                    multiply(tiles.as_ref(), (used, tokens.parts), rows, tokens_block, to);
                    if !fresh {
                        // SAFETY: whoever has a `Unit` has AVX-512.
                        unsafe { add_lines(sums, &more) };
                    }
                }
            }
        }
    }
    sums
}

/// How many parts of the tokens are multiplied with a part of a weight. The product of both last parts is below what the
/// parts leave out.
fn used_parts(part: usize, parts: usize) -> usize {
    parts.saturating_sub(part).max(1)
}

/// Multiplies a block of rows with the first `used` of the `parts` of one of tokens.
fn multiply(
    tiles: Option<&Tiles>,
    (used, parts): (usize, usize),
    rows: &[Line],
    tokens: &[Line],
    sums: &mut [Line],
) {
    let steps = rows.len() / STEP_LINES;
    assert!(tokens.len() == steps * parts * STEP_LINES && sums.len() == SUMS);
    let (from, with, to) = (rows.as_ptr(), tokens.as_ptr(), sums.as_mut_ptr());
    // SAFETY: the operands are of as many steps, as was just checked, and whoever has a `Unit` has AVX-512.
    unsafe {
        match (tiles, used, parts) {
            (None, ..) => avx512::product((used, parts), rows, tokens, sums),
            (Some(tiles), 1, 1) => amx::one_of_one(tiles, steps, from, with, to),
            (Some(tiles), 1, 2) => amx::one_of_two(tiles, steps, from, with, to),
            (Some(tiles), 2, 2) => amx::two_of_two(tiles, steps, from, with, to),
            (Some(tiles), 2, _) => amx::two_of_three(tiles, steps, from, with, to),
            (Some(tiles), ..) => amx::three_of_three(tiles, steps, from, with, to),
        }
    }
}

/// Adds sums to sums.
#[target_feature(enable = "avx512f")]
fn add_lines(sums: &mut [Line], more: &[Line]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        // SAFETY: a line is aligned and of the vector's size.
        unsafe {
            let added = _mm512_add_ps(
                _mm512_load_ps(sum.0.as_ptr().cast()),
                _mm512_load_ps(more.0.as_ptr().cast()),
            );
            _mm512_store_ps(sum.0.as_mut_ptr().cast(), added);
        }
    }
}

/// Sums of 16 rows and 16 tokens.
struct Tile {
    /// Its number.
    index: usize,
    /// The tokens that there are.
    tokens: Range<usize>,
    /// The first row, which is a column of the output.
    column: usize,
    /// How many rows there are.
    width: usize,
}

impl Tile {
    fn lines(&self) -> Range<usize> {
        self.index * TILE..(self.index + 1) * TILE
    }
}

/// The tiles of some tokens and a range of rows: by block of tokens, block of rows, half of the rows, half of the tokens.
fn tiles(count: usize, range: &Range<usize>) -> impl Iterator<Item = Tile> {
    let blocks = range.len().div_ceil(BLOCK);
    let range = range.clone();
    (0..count.div_ceil(BLOCK) * blocks * 4).filter_map(move |index| {
        let block = index / 4;
        let token = block / blocks * BLOCK + index % 2 * TILE;
        let column = range.start + block % blocks * BLOCK + index / 2 % 2 * TILE;
        (token < count && column < range.end).then(|| Tile {
            index,
            tokens: token..count.min(token + TILE),
            column,
            width: TILE.min(range.end - column),
        })
    })
}

/// The sums of a tile, by token.
#[target_feature(enable = "avx512f")]
fn by_token(lines: &[Line]) -> [__m512; TILE] {
    let mut rows: [__m512i; TILE] = [_mm512_setzero_si512(); TILE];
    for (row, line) in rows.iter_mut().zip(lines) {
        // SAFETY: a line is aligned and of the vector's size.
        *row = unsafe { _mm512_load_si512(line.0.as_ptr().cast()) };
    }
    transpose(&mut rows);
    let mut values = [_mm512_setzero_ps(); TILE];
    for (value, row) in values.iter_mut().zip(rows) {
        *value = _mm512_castsi512_ps(row);
    }
    values
}

/// The outputs of up to 16 columns from `column` on: the sums with their rows' scales and the bias, where there are any.
#[target_feature(enable = "avx512f")]
fn complete(sums: __m512, weight: &Weight<'_>, column: usize) -> __m512 {
    let scaled = match from(weight.values.row_scales(), column) {
        Some(scales) => _mm512_mul_ps(sums, scales),
        None => sums,
    };
    match from(weight.bias, column) {
        Some(bias) => _mm512_add_ps(scaled, bias),
        None => scaled,
    }
}

/// Up to 16 elements from `column` on.
#[target_feature(enable = "avx512f")]
fn from(elements: Option<&[f32]>, column: usize) -> Option<__m512> {
    let elements = elements?.get(column..)?;
    // SAFETY: reads no more than there is.
    Some(unsafe { _mm512_maskz_loadu_ps(first(elements.len()), elements.as_ptr()) })
}

/// Writes as many elements as there is room for.
#[target_feature(enable = "avx512f")]
fn store(value: __m512, out: &mut [f32]) {
    // SAFETY: writes no more than there is room for.
    unsafe { _mm512_mask_storeu_ps(out.as_mut_ptr(), first(out.len()), value) };
}

/// A mask of the first `count` of 16 elements.
fn first(count: usize) -> u16 {
    ((1u32 << count.min(TILE)) - 1) as u16
}

//! What becomes of sums: scales, bias and activation, and their way into the output or into packed tokens.

use std::{
    arch::x86_64::{
        __m512, __m512i, _mm512_add_ps, _mm512_castsi512_ps, _mm512_load_ps, _mm512_load_si512,
        _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_mul_ps, _mm512_set1_ps,
        _mm512_setzero_ps, _mm512_setzero_si512, _mm512_store_si512,
    },
    ops::Range,
};

use super::{
    lines::{Line, Shared},
    pack::{STEP, STEP_LINES, SUMS, TILE, in_pairs, parts},
    vector::{activate, transpose},
};
use crate::{Activation, Weight};

/// Where the sums of a block of tokens with some rows of a weight go.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The tokens: rows of the output.
    tokens: Range<usize>,
    /// The rows of the weight: columns of the output.
    columns: Range<usize>,
    /// Columns of the whole output.
    width: usize,
}

/// Sums of 16 rows and 16 tokens.
struct Tile {
    /// The number of its block of rows.
    block: usize,
    /// Its lines among those of the block.
    lines: Range<usize>,
    /// The first token.
    token: usize,
    /// How many there are.
    tokens: usize,
    /// The first column of the output.
    column: usize,
    /// How many there are.
    width: usize,
}

impl Place {
    /// Of a block of those tokens of which the first has that number.
    pub(crate) fn new(
        first: usize,
        block: &Range<usize>,
        columns: &Range<usize>,
        width: usize,
    ) -> Self {
        Self {
            tokens: first + block.start..first + block.end,
            columns: columns.clone(),
            width,
        }
    }

    /// The tiles: by half of the tokens, then by columns, so that each token's output is written from left to right.
    fn tiles(&self) -> impl Iterator<Item = Tile> {
        let halves = self.tokens.clone().step_by(TILE).enumerate();
        halves.flat_map(move |(side, token)| {
            let columns = self.columns.clone().step_by(TILE).enumerate();
            columns.map(move |(at, column)| {
                let first = (at % 2 * 2 + side) * TILE;
                Tile {
                    block: at / 2,
                    lines: first..first + TILE,
                    token,
                    tokens: TILE.min(self.tokens.end - token),
                    column,
                    width: TILE.min(self.columns.end - column),
                }
            })
        })
    }

    /// Writes a tile's values, one line for each token.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn write(&self, out: Shared<f32>, tile: &Tile, values: [__m512; TILE]) {
        let mask = first(tile.width);
        for (token, value) in values.into_iter().enumerate() {
            if token < tile.tokens {
                let start = (tile.token + token) * self.width + tile.column;
                // SAFETY: a task writes to its own columns of these tokens.
                let out = unsafe { out.slice(start, tile.width) };
                // SAFETY: writes no more than there is room for.
                unsafe { _mm512_mask_storeu_ps(out.as_mut_ptr(), mask, value) };
            }
        }
    }
}

/// Writes the sums of a linear layer, which come by block of rows.
#[target_feature(enable = "avx512f")]
pub(crate) fn finish(place: &Place, sums: &[Line], weight: &Weight<'_>, out: Shared<f32>) {
    for tile in place.tiles() {
        let sums = &sums[tile.block * SUMS..][..SUMS];
        let complete = Complete::of(weight, tile.column);
        let mut values = by_token(&sums[tile.lines.clone()]);
        for value in &mut values {
            *value = complete.apply(*value);
        }
        place.write(out, &tile, values);
    }
}

/// Writes the outputs of a gated layer, whose sums come by block of rows, those of the gate first.
#[target_feature(enable = "avx512f")]
pub(crate) fn finish_gated(
    place: &Place,
    sums: &[Line],
    [gate, up]: [&Weight<'_>; 2],
    activation: Activation,
    out: Shared<f32>,
) {
    for tile in place.tiles() {
        let (gates, ups) = sums[tile.block * 2 * SUMS..][..2 * SUMS].split_at(SUMS);
        let complete = Complete::of(gate, tile.column);
        let mut values = by_token(&gates[tile.lines.clone()]);
        for value in &mut values {
            *value = activate(activation, complete.apply(*value));
        }
        let complete = Complete::of(up, tile.column);
        for (value, up) in values.iter_mut().zip(by_token(&ups[tile.lines.clone()])) {
            *value = _mm512_mul_ps(*value, complete.apply(up));
        }
        place.write(out, &tile, values);
    }
}

/// The outputs of a gated layer in some columns, a step of them, as packed tokens of `parts` parts.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(crate) fn finish_packed(
    columns: Range<usize>,
    sums: [&[Line]; 2],
    weights: [&Weight<'_>; 2],
    activation: Activation,
    parts: usize,
    out: &mut [Line],
) {
    match parts {
        1 => finish_parts::<1>(columns, sums, weights, activation, out),
        2 => finish_parts::<2>(columns, sums, weights, activation, out),
        _ => finish_parts::<3>(columns, sums, weights, activation, out),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn finish_parts<const PARTS: usize>(
    columns: Range<usize>,
    [gates, ups]: [&[Line]; 2],
    [gate, up]: [&Weight<'_>; 2],
    activation: Activation,
    out: &mut [Line],
) {
    assert!(columns.len() <= STEP && out.len() == PARTS * STEP_LINES);
    let value = |side: usize, place: usize| {
        let line = (place / TILE * 2 + side) * TILE + place % TILE;
        let column = columns.start + place;
        let gate = activate(activation, complete_row(&gates[line], gate, column));
        _mm512_mul_ps(gate, complete_row(&ups[line], up, column))
    };
    for side in 0..2 {
        for pair in 0..TILE {
            let (even, odd) = (value(side, 2 * pair), value(side, 2 * pair + 1));
            for (part, elements) in parts::<PARTS>(even, odd).into_iter().enumerate() {
                let line = &mut out[part * STEP_LINES + side * TILE + pair];
                // SAFETY: a line is aligned and of the vector's size.
                unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), in_pairs(elements)) };
            }
        }
    }
}

/// What [`Complete`] makes of the sums of one column with 16 tokens. Beyond the last column it is zero.
#[inline]
#[target_feature(enable = "avx512f")]
fn complete_row(sums: &Line, weight: &Weight<'_>, column: usize) -> __m512 {
    let of = |elements: &[f32]| {
        let element = elements.get(column).copied().unwrap_or(0.0);
        _mm512_set1_ps(element)
    };
    let complete = Complete {
        scales: weight.values.row_scales().map(of),
        bias: weight.bias.map(of),
    };
    // SAFETY: a line is aligned and of the vector's size.
    complete.apply(unsafe { _mm512_load_ps(sums.0.as_ptr().cast()) })
}

/// The sums of a tile, by token.
#[inline]
#[target_feature(enable = "avx512f")]
fn by_token(lines: &[Line]) -> [__m512; TILE] {
    let mut rows: [__m512i; TILE] = [_mm512_setzero_si512(); TILE];
    for (row, line) in rows.iter_mut().zip(lines) {
        // SAFETY: a line is aligned and of the vector's size.
        *row = unsafe { _mm512_load_si512(line.0.as_ptr().cast()) };
    }
    let mut values = [_mm512_setzero_ps(); TILE];
    for (value, token) in values.iter_mut().zip(transpose(rows)) {
        *value = _mm512_castsi512_ps(token);
    }
    values
}

/// What makes sums of up to 16 columns outputs: their rows' scales and the bias, where there are any.
struct Complete {
    scales: Option<__m512>,
    bias: Option<__m512>,
}

impl Complete {
    #[target_feature(enable = "avx512f")]
    fn of(weight: &Weight<'_>, column: usize) -> Self {
        Self {
            scales: from(weight.values.row_scales(), column),
            bias: from(weight.bias, column),
        }
    }

    #[target_feature(enable = "avx512f")]
    fn apply(&self, sums: __m512) -> __m512 {
        let scaled = match self.scales {
            Some(scales) => _mm512_mul_ps(sums, scales),
            None => sums,
        };
        match self.bias {
            Some(bias) => _mm512_add_ps(scaled, bias),
            None => scaled,
        }
    }
}

/// Up to 16 elements from `column` on.
#[target_feature(enable = "avx512f")]
fn from(elements: Option<&[f32]>, column: usize) -> Option<__m512> {
    let elements = elements?.get(column..)?;
    // SAFETY: reads no more than there is.
    Some(unsafe { _mm512_maskz_loadu_ps(first(elements.len()), elements.as_ptr()) })
}

/// A mask of the first `count` of 16 elements.
fn first(count: usize) -> u16 {
    ((1u32 << count.min(TILE)) - 1) as u16
}

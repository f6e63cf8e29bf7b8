//! Operands in the order in which the units read them.
//!
//! The inner dimension is cut into steps of 32 elements. A *tile* is 16 lines.
//! - Weights: for each step two tiles of 16 rows, in which a line is a row's 32 elements.
//! - Tokens: for each step and part two tiles of 16 tokens, in which line `p` has elements `2p` and `2p + 1` of each token.
//!
//! What a tile has beyond the last row, token or element is zero.

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _mm512_castsi512_ps, _mm512_castsi512_si256, _mm512_cvtepu16_epi32,
    _mm512_cvtne2ps_pbh, _mm512_extracti64x4_epi64, _mm512_loadu_si512, _mm512_maskz_loadu_ps,
    _mm512_permutexvar_epi16, _mm512_setzero_si512, _mm512_slli_epi32, _mm512_store_si512,
    _mm512_sub_ps,
};

use super::{lines::Line, vector::transpose};

/// Tokens, or rows of a weight, that are multiplied at a time.
pub(crate) const BLOCK: usize = 32;
/// Elements of the inner dimension in a step.
pub(crate) const STEP: usize = 32;
/// Lines of a tile.
pub(crate) const TILE: usize = 16;
/// Lines of a step: two tiles.
pub(crate) const STEP_LINES: usize = 2 * TILE;
/// Lines of the sums of a block of rows and one of tokens: by half of the rows, half of the tokens.
pub(crate) const SUMS: usize = 4 * TILE;

/// A mask of the first `count` of 32 elements.
pub(crate) fn first(count: usize) -> u32 {
    ((1u64 << count.min(STEP)) - 1) as u32
}

/// Packs up to 32 rows of `x`, which has `inner` columns, as tokens of `parts` parts.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(crate) fn pack_tokens(x: &[f32], inner: usize, parts: usize, out: &mut [Line]) {
    match parts {
        1 => pack_parts::<1>(x, inner, out),
        2 => pack_parts::<2>(x, inner, out),
        _ => pack_parts::<3>(x, inner, out),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn pack_parts<const PARTS: usize>(x: &[f32], inner: usize, out: &mut [Line]) {
    debug_assert_eq!(out.len(), inner.div_ceil(STEP) * PARTS * STEP_LINES);
    let mut rows = [[_mm512_setzero_si512(); TILE]; PARTS];
    for (step, out) in out.chunks_exact_mut(PARTS * STEP_LINES).enumerate() {
        let from = step * STEP;
        let mask = first(inner - from);
        for half in 0..2 {
            for token in 0..TILE {
                let start = (half * TILE + token) * inner;
                let split = match x.get(start..start + inner) {
                    Some(row) => split(&row[from..], mask),
                    None => [_mm512_setzero_si512(); PARTS],
                };
                for (rows, part) in rows.iter_mut().zip(split) {
                    rows[token] = part;
                }
            }
            for (part, rows) in rows.iter().enumerate() {
                let tile = &mut out[(part * 2 + half) * TILE..][..TILE];
                for (line, pairs) in tile.iter_mut().zip(transpose(*rows)) {
                    // SAFETY: a line is aligned and of the vector's size.
                    unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), pairs) };
                }
            }
        }
    }
}

/// The first 32 elements of a row, of which those in the mask count, as some bfloat16 numbers each.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn split<const PARTS: usize>(row: &[f32], mask: u32) -> [__m512i; PARTS] {
    let (low, high) = (mask as u16, (mask >> 16) as u16);
    debug_assert!(mask.count_ones() as usize <= row.len());
    // SAFETY: only elements in the mask are read, which the row has.
    let (low, high) = unsafe {
        (
            _mm512_maskz_loadu_ps(low, row.as_ptr()),
            _mm512_maskz_loadu_ps(high, row.as_ptr().wrapping_add(16)),
        )
    };
    parts(low, high)
}

/// 32 floats as up to three bfloat16 numbers each: the nearest one, the nearest to what is left, and so on.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(crate) fn parts<const PARTS: usize>(mut low: __m512, mut high: __m512) -> [__m512i; PARTS] {
    let mut parts = [_mm512_setzero_si512(); PARTS];
    for part in &mut parts {
        // SAFETY: both are 64 bytes of plain numbers.
        *part = unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) };
        let floats =
            |half| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(half)));
        low = _mm512_sub_ps(low, floats(_mm512_castsi512_si256(*part)));
        high = _mm512_sub_ps(high, floats(_mm512_extracti64x4_epi64::<1>(*part)));
    }
    parts
}

/// 16 bfloat16 numbers and 16 more, by turns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) fn in_pairs(numbers: __m512i) -> __m512i {
    const ORDER: [u16; 32] = {
        let mut order = [0; 32];
        let mut at = 0;
        while at < 32 {
            order[at] = (at / 2 + at % 2 * 16) as u16;
            at += 1;
        }
        order
    };
    // SAFETY: reads the whole array.
    let order = unsafe { _mm512_loadu_si512(ORDER.as_ptr().cast()) };
    _mm512_permutexvar_epi16(order, numbers)
}

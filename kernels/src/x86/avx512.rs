//! Products on vectors of 512 bits.

use std::arch::x86_64::{
    __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_load_ps, _mm512_load_si512, _mm512_set1_epi32,
    _mm512_setzero_ps, _mm512_store_ps,
};

use super::{
    lines::Line,
    pack::{STEP_LINES, TILE},
};

/// Rows that are summed at once: with 32 tokens, two registers of sums for each.
const ROWS: usize = 8;

/// Sums the products of a block of 32 rows with one of 32 tokens, over the steps that both have, from
/// zero or from what is in `sums`: with the first `used` of the `parts` of the tokens.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(crate) fn product(
    (used, parts): (usize, usize),
    rows: &[Line],
    tokens: &[Line],
    begin: bool,
    sums: &mut [Line],
) {
    debug_assert_eq!(rows.len() * parts, tokens.len());
    for first in (0..2 * TILE).step_by(ROWS) {
        let (half, within) = (first / TILE, first % TILE);
        let place = |row: usize, side: usize| (half * 2 + side) * TILE + within + row;
        let mut acc = [[_mm512_setzero_ps(); 2]; ROWS];
        if !begin {
            for (row, acc) in acc.iter_mut().enumerate() {
                for (side, acc) in acc.iter_mut().enumerate() {
                    // SAFETY: a line is aligned and of the vector's size.
                    *acc = unsafe { _mm512_load_ps(sums[place(row, side)].0.as_ptr().cast()) };
                }
            }
        }
        for (rows, tokens) in rows
            .chunks_exact(STEP_LINES)
            .zip(tokens.chunks_exact(parts * STEP_LINES))
        {
            let rows: &[Line] = &rows[first..first + ROWS];
            for tokens in tokens.chunks_exact(STEP_LINES).take(used) {
                for pair in 0..TILE {
                    let (left, right) = (pairs(&tokens[pair]), pairs(&tokens[TILE + pair]));
                    for (row, acc) in rows.iter().zip(&mut acc) {
                        let row = bf16(_mm512_set1_epi32(row.0[pair].cast_signed()));
                        acc[0] = _mm512_dpbf16_ps(acc[0], row, left);
                        acc[1] = _mm512_dpbf16_ps(acc[1], row, right);
                    }
                }
            }
        }
        for (row, acc) in acc.iter().enumerate() {
            for (side, acc) in acc.iter().enumerate() {
                // SAFETY: a line is aligned and of the vector's size.
                unsafe { _mm512_store_ps(sums[place(row, side)].0.as_mut_ptr().cast(), *acc) };
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bf16")]
fn pairs(line: &Line) -> __m512bh {
    // SAFETY: a line is aligned and of the vector's size.
    bf16(unsafe { _mm512_load_si512(line.0.as_ptr().cast()) })
}

#[target_feature(enable = "avx512f,avx512bf16")]
fn bf16(bits: __m512i) -> __m512bh {
    // SAFETY: both are 64 bytes of plain numbers.
    unsafe { std::mem::transmute(bits) }
}

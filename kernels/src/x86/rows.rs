//! Rows of a weight in the order in which the units read them, from every form that they are stored in.

use std::arch::x86_64::{
    __m128i, __m512, __m512i, _mm_and_si128, _mm_loadu_si128, _mm_set1_epi8, _mm_srli_epi16,
    _mm_unpackhi_epi8, _mm_unpacklo_epi8, _mm256_castsi256_si128, _mm256_extracti128_si256,
    _mm256_loadu_si256, _mm512_castsi512_si128, _mm512_castsi512_si256, _mm512_cvtepi8_epi32,
    _mm512_cvtepi32_ps, _mm512_cvtepu8_epi32, _mm512_cvtph_ps, _mm512_extracti32x4_epi32,
    _mm512_extracti64x4_epi64, _mm512_maskz_loadu_epi8, _mm512_maskz_loadu_epi16, _mm512_mul_ps,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_si512, _mm512_store_si512, _mm512_sub_epi32,
};
use std::ops::Range;

use super::{
    lines::Line,
    pack::{BLOCK, STEP, STEP_LINES, first, parts},
};
use crate::{Blocks, Values};

/// Packs up to 32 rows of a weight of `inner` columns: the elements of its steps from `first_step` on, as many as `out` has
/// room for. `rest` gets the second parts of values that have two.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(crate) fn pack_rows(
    values: &Values<'_>,
    rows: Range<usize>,
    inner: usize,
    first_step: usize,
    out: &mut [Line],
    rest: &mut [Line],
) {
    let steps = out.len() / STEP_LINES;
    for place in 0..BLOCK {
        let row = (place < rows.len()).then_some(rows.start + place);
        for step in 0..steps {
            let at = step * STEP_LINES + place;
            let column = (first_step + step) * STEP;
            let [whole, second] = match row {
                None => [_mm512_setzero_si512(); 2],
                Some(row) if rest.is_empty() => {
                    let [whole] = read(values, row, inner, column);
                    [whole, _mm512_setzero_si512()]
                }
                Some(row) => read(values, row, inner, column),
            };
            put(whole, &mut out[at]);
            if let Some(line) = rest.get_mut(at) {
                put(second, line);
            }
        }
    }
}

#[target_feature(enable = "avx512f")]
fn put(values: __m512i, line: &mut Line) {
    // SAFETY: a line is aligned and of the vector's size.
    unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), values) };
}

/// The first parts of up to 32 values of a row, from `column` on.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn read<const PARTS: usize>(
    values: &Values<'_>,
    row: usize,
    inner: usize,
    column: usize,
) -> [__m512i; PARTS] {
    let mask = first(inner - column);
    match values {
        Values::Bf16(values) => {
            let values = &values[row * inner + column..(row + 1) * inner];
            // SAFETY: only elements in the mask are read, which the row has.
            let whole = unsafe { _mm512_maskz_loadu_epi16(mask, values.as_ptr().cast()) };
            let mut found = [_mm512_setzero_si512(); PARTS];
            found[0] = whole;
            found
        }
        Values::F16(values) => {
            let values = &values[row * inner + column..(row + 1) * inner];
            // SAFETY: as above.
            let halves = unsafe { _mm512_maskz_loadu_epi16(mask, values.as_ptr().cast()) };
            let low = _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
            let high = _mm512_cvtph_ps(_mm512_extracti64x4_epi64::<1>(halves));
            parts(low, high)
        }
        Values::Rows(rows) => {
            let integers = &rows.integers[row * inner + column..(row + 1) * inner];
            // SAFETY: as above.
            let bytes = unsafe { _mm512_maskz_loadu_epi8(mask.into(), integers.as_ptr()) };
            let floats = |bytes| _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
            let low = floats(_mm512_castsi512_si128(bytes));
            let high = floats(_mm512_extracti32x4_epi32::<1>(bytes));
            parts(low, high)
        }
        Values::Blocks(blocks) => {
            let block = column / blocks.block_size;
            let scale = blocks.scales[row * blocks.row_blocks(inner) + block];
            let zero_point = zero_point(blocks, row, inner, block);
            let start = row * blocks.row_bytes(inner) + column * blocks.bits / 8;
            let bytes = &blocks.integers[start..][..STEP * blocks.bits / 8];
            let (low, high) = match blocks.bits {
                // SAFETY: there are as many bytes as are read.
                8 => unsafe {
                    let all = _mm256_loadu_si256(bytes.as_ptr().cast());
                    (
                        _mm256_castsi256_si128(all),
                        _mm256_extracti128_si256::<1>(all),
                    )
                },
                // SAFETY: as above.
                _ => nibbles(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }),
            };
            parts(
                floats(low, zero_point, scale),
                floats(high, zero_point, scale),
            )
        }
    }
}

fn zero_point(blocks: &Blocks<'_>, row: usize, inner: usize, block: usize) -> i32 {
    let Some(zero_points) = blocks.zero_points else {
        return 1 << (blocks.bits - 1);
    };
    let row = &zero_points[row * blocks.row_zero_points(inner)..];
    match blocks.bits {
        8 => row[block].into(),
        _ => (row[block / 2] >> (block % 2 * 4) & 15).into(),
    }
}

/// 32 integers of 4 bits as bytes, the lower half of a byte first.
#[target_feature(enable = "avx512f")]
fn nibbles(bytes: __m128i) -> (__m128i, __m128i) {
    let mask = _mm_set1_epi8(15);
    let even = _mm_and_si128(bytes, mask);
    let odd = _mm_and_si128(_mm_srli_epi16::<4>(bytes), mask);
    (_mm_unpacklo_epi8(even, odd), _mm_unpackhi_epi8(even, odd))
}

/// `(integer - zero_point) * scale`.
#[target_feature(enable = "avx512f")]
fn floats(bytes: __m128i, zero_point: i32, scale: f32) -> __m512 {
    let integers = _mm512_sub_epi32(_mm512_cvtepu8_epi32(bytes), _mm512_set1_epi32(zero_point));
    _mm512_mul_ps(_mm512_cvtepi32_ps(integers), _mm512_set1_ps(scale))
}

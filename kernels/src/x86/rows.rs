//! Rows of a weight in the order in which the units read them, from every form that they are stored in.

use std::arch::x86_64::{
    __m128i, __m512, __m512i, _MM_HINT_T0, _mm_and_si128, _mm_loadu_si128, _mm_prefetch,
    _mm_set1_epi8, _mm_srli_epi16, _mm_unpackhi_epi8, _mm_unpacklo_epi8, _mm256_castsi256_si128,
    _mm256_extracti128_si256, _mm256_loadu_si256, _mm512_castsi512_si128, _mm512_castsi512_si256,
    _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps, _mm512_cvtepu8_epi32, _mm512_cvtph_ps,
    _mm512_extracti32x4_epi32, _mm512_extracti64x4_epi64, _mm512_maskz_loadu_epi8,
    _mm512_maskz_loadu_epi16, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_si512, _mm512_store_si512, _mm512_sub_epi32,
};
use std::ops::Range;

use super::{
    lines::Line,
    pack::{STEP, STEP_LINES, first, parts},
};
use crate::{Blocks, Values};

/// Up to 32 rows of a weight of `inner` columns, over some steps.
#[derive(Clone, Debug)]
pub(crate) struct Panel<'a> {
    pub(crate) values: &'a Values<'a>,
    pub(crate) rows: Range<usize>,
    pub(crate) inner: usize,
    pub(crate) steps: Range<usize>,
}

impl Panel<'_> {
    /// Lines that it has when it is packed.
    pub(crate) fn lines(&self) -> usize {
        self.steps.len() * STEP_LINES
    }

    /// Packs some of the lines, counted row by row, into those of the whole panel. `rest` gets the second parts of values
    /// that have two.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(crate) fn pack(&self, lines: Range<usize>, whole: &mut [Line], rest: &mut [Line]) {
        let inner = self.inner;
        match self.values {
            Values::Bf16(values) => self.put(lines, [whole], |row, column, mask| {
                let values = values[row * inner + column..].as_ptr().cast();
                // SAFETY: only elements in the mask are read, which the row has.
                [unsafe { _mm512_maskz_loadu_epi16(mask, values) }]
            }),
            Values::F16(values) => self.put(lines, [whole, rest], |row, column, mask| {
                let values = values[row * inner + column..].as_ptr().cast();
                // SAFETY: as above.
                let halves = unsafe { _mm512_maskz_loadu_epi16(mask, values) };
                let low = _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
                let high = _mm512_cvtph_ps(_mm512_extracti64x4_epi64::<1>(halves));
                parts::<2>(low, high)
            }),
            Values::Rows(weight) => self.put(lines, [whole], |row, column, mask| {
                let integers = weight.integers[row * inner + column..].as_ptr();
                // SAFETY: as above.
                let bytes = unsafe { _mm512_maskz_loadu_epi8(mask.into(), integers) };
                let floats = |bytes| _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
                let low = floats(_mm512_castsi512_si128(bytes));
                let high = floats(_mm512_extracti32x4_epi32::<1>(bytes));
                parts::<1>(low, high)
            }),
            Values::Blocks(blocks) if rest.is_empty() => {
                self.put(lines, [whole], |row, column, _| {
                    let (low, high) = from_blocks(blocks, inner, row, column);
                    parts::<1>(low, high)
                });
            }
            Values::Blocks(blocks) => self.put(lines, [whole, rest], |row, column, _| {
                let (low, high) = from_blocks(blocks, inner, row, column);
                parts::<2>(low, high)
            }),
        }
    }

    /// Asks for the memory of some of the lines, counted row by row.
    pub(crate) fn fetch(&self, lines: Range<usize>) {
        let (start, row_bytes, step_bytes) = match self.values {
            Values::Bf16(values) => (values.as_ptr().cast::<i8>(), 2 * self.inner, 2 * STEP),
            Values::F16(values) => (values.as_ptr().cast(), 2 * self.inner, 2 * STEP),
            Values::Rows(rows) => (rows.integers.as_ptr(), self.inner, STEP),
            Values::Blocks(blocks) => (
                blocks.integers.as_ptr().cast(),
                blocks.row_bytes(self.inner),
                STEP * blocks.bits / 8,
            ),
        };
        let steps = self.steps.len();
        for line in lines {
            let row = self.rows.start + line / steps;
            let step = self.steps.start + line % steps;
            let address = start.wrapping_add(row * row_bytes + step * step_bytes);
            // SAFETY: no address is wrong: nothing is read.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
        }
    }

    /// Writes what `read` makes of the elements of a row from a column on, as far as the mask says that there are any.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    fn put<const PARTS: usize>(
        &self,
        mut lines: Range<usize>,
        mut out: [&mut [Line]; PARTS],
        read: impl Fn(usize, usize, u32) -> [__m512i; PARTS],
    ) {
        let steps = self.steps.len();
        while !lines.is_empty() {
            let (place, first_step) = (lines.start / steps, lines.start % steps);
            let count = lines.len().min(steps - first_step);
            lines.start += count;
            let row = self.rows.start + place;
            for step in first_step..first_step + count {
                let column = (self.steps.start + step) * STEP;
                let parts = if row >= self.rows.end {
                    [_mm512_setzero_si512(); PARTS]
                } else if column + STEP <= self.inner {
                    read(row, column, u32::MAX)
                } else {
                    read(row, column, first(self.inner - column))
                };
                for (out, part) in out.iter_mut().zip(parts) {
                    let line = &mut out[step * STEP_LINES + place];
                    // SAFETY: a line is aligned and of the vector's size.
                    unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), part) };
                }
            }
        }
    }
}

/// 32 values of a row, from `column` on.
#[target_feature(enable = "avx512f,avx512bw")]
fn from_blocks(blocks: &Blocks<'_>, inner: usize, row: usize, column: usize) -> (__m512, __m512) {
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
    (
        floats(low, zero_point, scale),
        floats(high, zero_point, scale),
    )
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

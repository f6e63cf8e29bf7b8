//! Lines as vectors.

use std::arch::x86_64::{
    __m512, __m512i, _mm512_castps_si512, _mm512_castsi512_ps, _mm512_load_ps, _mm512_loadu_ps,
    _mm512_setzero_ps, _mm512_setzero_si512, _mm512_store_ps, _mm512_store_si512,
};

use crate::x86::{lines::Line, pack::TILE, vector::transpose};

#[target_feature(enable = "avx512f")]
pub(super) fn load(line: &Line) -> __m512 {
    // SAFETY: a line is aligned and of the vector's size.
    unsafe { _mm512_load_ps(line.0.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
pub(super) fn store(value: __m512, line: &mut Line) {
    // SAFETY: as above.
    unsafe { _mm512_store_ps(line.0.as_mut_ptr().cast(), value) };
}

/// 16 elements from `start` on, or zeros where there are none.
#[target_feature(enable = "avx512f")]
pub(super) fn read(elements: &[f32], start: usize) -> __m512 {
    match elements.get(start..start + TILE) {
        // SAFETY: there are as many as are read.
        Some(elements) => unsafe { _mm512_loadu_ps(elements.as_ptr()) },
        None => _mm512_setzero_ps(),
    }
}

/// Writes a tile whose columns the vectors are.
#[target_feature(enable = "avx512f")]
pub(super) fn store_columns(columns: &mut [__m512i; TILE], tile: &mut [Line]) {
    transpose(columns);
    for (line, value) in tile.iter_mut().zip(columns) {
        // SAFETY: a line is aligned and of the vector's size.
        unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), *value) };
    }
}

/// A tile's columns.
#[target_feature(enable = "avx512f")]
pub(super) fn columns(lines: [__m512; TILE]) -> [__m512; TILE] {
    let mut square = [_mm512_setzero_si512(); TILE];
    for (row, line) in square.iter_mut().zip(lines) {
        *row = _mm512_castps_si512(line);
    }
    transpose(&mut square);
    let mut columns = lines;
    for (column, row) in columns.iter_mut().zip(square) {
        *column = _mm512_castsi512_ps(row);
    }
    columns
}

//! Lines as vectors.

use std::arch::x86_64::{
    __m512, __m512i, _mm512_load_ps, _mm512_loadu_ps, _mm512_setzero_ps, _mm512_store_ps,
    _mm512_store_si512,
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

#[target_feature(enable = "avx512f")]
pub(super) fn put(value: __m512i, line: &mut Line) {
    // SAFETY: as above.
    unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), value) };
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

/// Makes a tile's lines its columns.
#[target_feature(enable = "avx512f")]
pub(super) fn turn(tile: &mut [Line]) {
    let tile: &mut [Line; TILE] = tile.try_into().expect("a tile");
    // SAFETY: a line is aligned and of the vector's size, and both are plain numbers.
    let tile = unsafe { &mut *std::ptr::from_mut(tile).cast::<[__m512i; TILE]>() };
    *tile = transpose(*tile);
}

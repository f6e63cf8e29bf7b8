//! Functions of 16 floats.

use std::arch::x86_64::{
    __m512, __m512i, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT, _mm512_add_ps, _mm512_div_ps,
    _mm512_fmadd_ps, _mm512_fnmadd_ps, _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps,
    _mm512_roundscale_ps, _mm512_scalef_ps, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_shuffle_i32x4, _mm512_sub_ps, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

use crate::Activation;

/// Lines become columns: a square of 16 by 16 numbers of 32 bits.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn transpose(rows: [__m512i; 16]) -> [__m512i; 16] {
    let mut pairs = rows;
    for i in (0..16).step_by(2) {
        pairs[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    // Afterwards `fours[4 * g + c]` has, in its 128-bit lane `l`, column `4 * l + c` of the rows from `4 * g` on.
    let mut fours = pairs;
    for i in (0..16).step_by(4) {
        fours[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
        fours[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
        fours[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
        fours[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
    }
    let mut columns = fours;
    for c in 0..4 {
        let even = _mm512_shuffle_i32x4::<0x88>(fours[c], fours[4 + c]);
        let odd = _mm512_shuffle_i32x4::<0xdd>(fours[c], fours[4 + c]);
        let later_even = _mm512_shuffle_i32x4::<0x88>(fours[8 + c], fours[12 + c]);
        let later_odd = _mm512_shuffle_i32x4::<0xdd>(fours[8 + c], fours[12 + c]);
        columns[c] = _mm512_shuffle_i32x4::<0x88>(even, later_even);
        columns[4 + c] = _mm512_shuffle_i32x4::<0x88>(odd, later_odd);
        columns[8 + c] = _mm512_shuffle_i32x4::<0xdd>(even, later_even);
        columns[12 + c] = _mm512_shuffle_i32x4::<0xdd>(odd, later_odd);
    }
    columns
}

/// `e^x`, within two units in the last place. Below -104 it is 0; NaN stays NaN.
///
/// `x` is `n * ln 2 + r` with `r` within half of `ln 2`; `e^r` is its Taylor polynomial of degree 7, whose next term is
/// below 1e-8.
#[target_feature(enable = "avx512f")]
pub(crate) fn exp(x: __m512) -> __m512 {
    // ln 2 in two parts, of which the first has few bits: its products with n are exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const TAYLOR: [f32; 7] = [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    // The second operand of max and min is what comes out of NaN.
    let x = _mm512_max_ps(_mm512_set1_ps(-110.0), x);
    let x = _mm512_min_ps(_mm512_set1_ps(100.0), x);
    let n = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(
        _mm512_mul_ps(x, _mm512_set1_ps(std::f32::consts::LOG2_E)),
    );
    let r = _mm512_fnmadd_ps(n, _mm512_set1_ps(LN_2_HIGH), x);
    let r = _mm512_fnmadd_ps(n, _mm512_set1_ps(LN_2_LOW), r);
    let mut sum = _mm512_set1_ps(1.0 / 5040.0);
    for term in TAYLOR {
        sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(term));
    }
    _mm512_scalef_ps(sum, n)
}

/// `1 / (1 + e^-x)`.
#[target_feature(enable = "avx512f")]
fn sigmoid(x: __m512) -> __m512 {
    let one = _mm512_set1_ps(1.0);
    let e = exp(_mm512_sub_ps(_mm512_setzero_ps(), x));
    _mm512_div_ps(one, _mm512_add_ps(one, e))
}

/// The hyperbolic tangent: `2 / (1 + e^-2x) - 1`, whose error is a unit in the last place of 1.
#[target_feature(enable = "avx512f")]
pub(crate) fn tanh(x: __m512) -> __m512 {
    let two = _mm512_set1_ps(2.0);
    let s = sigmoid(_mm512_mul_ps(two, x));
    _mm512_fmadd_ps(two, s, _mm512_set1_ps(-1.0))
}

/// The activation of 16 gates.
#[target_feature(enable = "avx512f")]
pub(crate) fn activate(activation: Activation, x: __m512) -> __m512 {
    match activation {
        Activation::Silu => _mm512_mul_ps(x, sigmoid(x)),
        Activation::GeluTanh => {
            // `x / 2 * (1 + tanh(y))` with `y = sqrt(2 / pi) * (x + 0.044715 x^3)` is `x * sigmoid(2 y)`.
            const TWICE_ROOT: f32 = 1.595_769_2;
            let square = _mm512_mul_ps(x, x);
            let inner = _mm512_fmadd_ps(_mm512_set1_ps(0.044_715), _mm512_mul_ps(square, x), x);
            _mm512_mul_ps(x, sigmoid(_mm512_mul_ps(_mm512_set1_ps(TWICE_ROOT), inner)))
        }
    }
}

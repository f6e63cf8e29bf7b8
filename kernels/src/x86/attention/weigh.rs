//! Weights of scores.

use std::{
    arch::x86_64::{
        __m512, _CMP_NLT_UQ, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEG_INF, _mm512_add_ps,
        _mm512_fmadd_ps, _mm512_fmsub_ps, _mm512_loadu_ps, _mm512_mask_cmp_ps_mask,
        _mm512_mask_max_ps, _mm512_maskz_scalef_ps, _mm512_max_ps, _mm512_mul_ps, _mm512_reduce_ps,
        _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps, _mm512_sub_ps,
    },
    f32::consts::LOG2_E,
};

use super::{
    lanes::{Pair, State},
    products::Products,
    vectors::{load, store},
};
use crate::{
    Mask,
    x86::{
        pack::{STEP, TILE},
        vector::tanh,
    },
};

/// Coefficients of polynomials nearest to `2^x` where `x` is between 0 and 1, of the highest power first.
/// The relative error is at most 1.9e-9, which is less than that of a float; 2.6e-6, 2^-18; and 7.5e-5, 2^-13.
// One is near the logarithm of 2, and is not it.
#[allow(clippy::approx_constant)]
const OF_FLOATS: [f32; 7] = [
    2.170_226_8e-4,
    1.243_968_4e-3,
    9.678_841e-3,
    5.548_334e-2,
    2.402_298_4e-1,
    6.931_47e-1,
    1.0,
];
const OF_TWO_PARTS: [f32; 5] = [
    1.353_416_8e-2,
    5.201_146e-2,
    2.414_427_6e-1,
    6.930_038_3e-1,
    1.000_002_6,
];
const OF_ONE_PART: [f32; 4] = [7.802_453e-2, 2.260_671_5e-1, 6.958_335_4e-1, 9.999_252e-1];

/// Below it a weight is 0: nothing of it would be left in a sum.
const LEAST: f32 = -100.0;

/// Makes the scores of a tile of a pair into weights, for `products`, and counts them in. What the sums of the tile's
/// values are to be multiplied by is returned.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512bf16")]
pub(super) fn weigh<P: Products>(
    products: &mut P,
    mask: Mask,
    pair: &Pair<'_>,
    tile: usize,
    state: &mut State,
) -> __m512 {
    let seen = &pair.seen[tile];
    let keys = pair.steps.start * STEP..pair.steps.end * STEP;
    let scores = products.scores(pair, tile);
    let scale = match mask.softcap {
        None => mask.scale * LOG2_E,
        Some(cap) => {
            let scale = _mm512_set1_ps(mask.scale / cap);
            for line in &mut scores[keys.clone()] {
                store(tanh(_mm512_mul_ps(load(line), scale)), line);
            }
            cap * LOG2_E
        }
    };
    let scale = _mm512_set1_ps(scale);
    // SAFETY: there are as many elements as a vector has.
    let (before, total) = unsafe {
        (
            _mm512_loadu_ps(state.most.as_ptr()),
            _mm512_loadu_ps(state.total.as_ptr()),
        )
    };
    let mut tops = [before; 4];
    for (scores, seen) in scores[keys.clone()]
        .chunks_exact(4)
        .zip(seen[keys.clone()].chunks_exact(4))
    {
        for ((top, score), seen) in tops.iter_mut().zip(scores).zip(seen) {
            // The second operand is what comes out of NaN.
            *top = _mm512_mask_max_ps(*top, *seen, _mm512_mul_ps(load(score), scale), *top);
        }
    }
    let [one, two, three, four] = tops;
    let most = _mm512_max_ps(_mm512_max_ps(one, two), _mm512_max_ps(three, four));
    let mut sums = [_mm512_setzero_ps(); 2];
    for step in keys.step_by(STEP) {
        for key in step..step + TILE {
            let scores = products.scores(pair, tile);
            let weight = |key: usize| {
                let power = _mm512_fmsub_ps(load(&scores[key]), scale, most);
                power_of_two::<P>(power, seen[key])
            };
            let weights = [weight(key), weight(key + TILE)];
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum = _mm512_add_ps(*sum, weight);
            }
            // SAFETY: the processor has AVX-512.
            unsafe { products.put(pair, tile, key, weights) };
        }
    }
    let [low, high] = sums;
    let sum = _mm512_add_ps(low, high);
    // Exactly 1 where no larger score came.
    let factor = power_of(&OF_FLOATS, _mm512_sub_ps(before, most), u16::MAX);
    // SAFETY: there is room for a vector.
    unsafe {
        _mm512_storeu_ps(state.most.as_mut_ptr(), most);
        _mm512_storeu_ps(
            state.total.as_mut_ptr(),
            _mm512_fmadd_ps(total, factor, sum),
        );
    }
    factor
}

/// `2^x` in the lanes of the mask, as exactly as weights are multiplied.
#[target_feature(enable = "avx512f,avx512dq")]
fn power_of_two<P: Products>(x: __m512, seen: u16) -> __m512 {
    match P::PARTS {
        1 => power_of(&OF_ONE_PART, x, seen),
        2 => power_of(&OF_TWO_PARTS, x, seen),
        _ => power_of(&OF_FLOATS, x, seen),
    }
}

#[target_feature(enable = "avx512f,avx512dq")]
fn power_of<const COUNT: usize>(coefficients: &[f32; COUNT], x: __m512, seen: u16) -> __m512 {
    let rest = _mm512_reduce_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(x);
    let mut sum = _mm512_set1_ps(coefficients[0]);
    for coefficient in &coefficients[1..] {
        sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(*coefficient));
    }
    // The power of two that it multiplies by is rounded down too. NaN is not less than anything, and stays.
    let seen = _mm512_mask_cmp_ps_mask::<_CMP_NLT_UQ>(seen, x, _mm512_set1_ps(LEAST));
    _mm512_maskz_scalef_ps(seen, sum, x)
}

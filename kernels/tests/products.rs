//! Linear layers against sums in double precision.

#![allow(clippy::unwrap_used)]

mod support;

use fastrand::Rng;
use half::{bf16, f16};
use worldpm_ort_kernels::{
    Activation, Blocks, Kernels, OneThread, Precision, Rows, Values, Weight,
};

use support::{Several, floats};

fn weights(rng: &mut Rng, count: usize) -> Vec<bf16> {
    (0..count)
        .map(|_| bf16::from_f32(rng.f32() * 2.0 - 1.0))
        .collect()
}

/// The sum of each row of `x` with each of `weight`, and of the absolute values of its terms.
fn exact(x: &[f32], weight: &[bf16], bias: Option<&[f32]>, inner: usize) -> Vec<(f64, f64)> {
    x.chunks(inner)
        .flat_map(|x| {
            weight.chunks(inner).enumerate().map(move |(row, weight)| {
                let terms = x
                    .iter()
                    .zip(weight)
                    .map(|(x, w)| f64::from(*x) * f64::from(*w));
                let bias = bias.map_or(0.0, |bias| f64::from(bias[row]));
                terms.fold((bias, bias.abs()), |(sum, size), term| {
                    (sum + term, size + term.abs())
                })
            })
        })
        .collect()
}

/// Most that a sum may be off, as a share of the sum of the absolute values of its terms. Half of the last bit that
/// the parts keep, 8 for each, and what summing in floats loses, which does not grow with the square of the number of terms.
fn bound(precision: Precision, inner: usize) -> f64 {
    let share: f64 = match precision {
        Precision::Medium => 2f64.powi(-8),
        Precision::High => 2f64.powi(-16),
        Precision::Highest => 2f64.powi(-24),
    };
    share + 2f64.powi(-24) * ((inner * precision.parts()) as f64).sqrt().max(4.0)
}

/// Tokens, inner dimension, outputs: one of each, tails of every kind, more than is packed at a time.
const SHAPES: [(usize, usize, usize); 11] = [
    (1, 1, 1),
    (1, 32, 32),
    (2, 31, 17),
    (16, 33, 33),
    (17, 64, 48),
    (33, 100, 130),
    (32, 1024, 64),
    (7, 1025, 31),
    (100, 2049, 95),
    (513, 65, 40),
    (1100, 34, 129),
];

#[test]
fn products_are_as_exact_as_their_precision() {
    let mut rng = Rng::with_seed(1);
    for (tokens, inner, width) in SHAPES {
        let x = floats(&mut rng, tokens * inner);
        let values = weights(&mut rng, width * inner);
        let bias = floats(&mut rng, width);
        for bias in [None, Some(&bias[..])] {
            let weight = Weight {
                values: Values::Bf16(&values),
                bias,
            };
            let exact = exact(&x, &values, bias, inner);
            for mut kernels in Kernels::all() {
                for precision in Precision::ALL {
                    let mut out = vec![f32::NAN; tokens * width];
                    kernels
                        .linear(&OneThread, precision, (&x, inner), &weight, &mut out)
                        .unwrap();
                    for (at, (out, (sum, size))) in out.iter().zip(&exact).enumerate() {
                        let off = (f64::from(*out) - sum).abs() / size.max(1e-30);
                        assert!(
                            off <= bound(precision, inner),
                            "{} {precision} {tokens}x{inner}x{width} at {at}: {out} for {sum}, off by {off:e}",
                            kernels.unit()
                        );
                    }
                }
            }
        }
    }
}

/// The most exact precision is as exact as a product of floats that is summed in one order.
#[test]
fn three_parts_are_as_exact_as_floats() {
    let mut rng = Rng::with_seed(2);
    let (tokens, inner, width) = (40, 3000, 64);
    let x = floats(&mut rng, tokens * inner);
    let values = weights(&mut rng, width * inner);
    let exact = exact(&x, &values, None, inner);
    let rms = |out: &[f32]| {
        let squares = out
            .iter()
            .zip(&exact)
            .map(|(out, (sum, _))| (f64::from(*out) - sum).powi(2));
        (squares.sum::<f64>() / out.len() as f64).sqrt()
    };
    let plain: Vec<f32> = x
        .chunks(inner)
        .flat_map(|x| {
            values.chunks(inner).map(move |weight| {
                let terms = x.iter().zip(weight);
                terms.fold(0.0, |sum, (x, w)| x.mul_add(f32::from(*w), sum))
            })
        })
        .collect();
    for mut kernels in Kernels::all() {
        let weight = Weight {
            values: Values::Bf16(&values),
            bias: None,
        };
        let mut out = vec![0.0; tokens * width];
        kernels
            .linear(
                &OneThread,
                Precision::Highest,
                (&x, inner),
                &weight,
                &mut out,
            )
            .unwrap();
        let (ours, plain) = (rms(&out), rms(&plain));
        assert!(
            ours <= plain,
            "{}: {ours:e} against {plain:e}",
            kernels.unit()
        );
    }
}

#[test]
fn a_row_has_the_same_bits_in_any_batch() {
    let mut rng = Rng::with_seed(3);
    for _ in 0..40 {
        let (tokens, inner, width) = (rng.usize(1..700), rng.usize(1..1500), rng.usize(1..300));
        let x = floats(&mut rng, tokens * inner);
        let values = weights(&mut rng, width * inner);
        let weight = Weight {
            values: Values::Bf16(&values),
            bias: None,
        };
        let precision = rng.choice(Precision::ALL).unwrap();
        for mut kernels in Kernels::all() {
            let mut whole = vec![0.0; tokens * width];
            kernels
                .linear(&OneThread, precision, (&x, inner), &weight, &mut whole)
                .unwrap();
            let (start, threads) = (rng.usize(0..tokens), rng.usize(1..5));
            let end = rng.usize(start + 1..=tokens);
            let mut part = vec![0.0; (end - start) * width];
            kernels
                .linear(
                    &Several(threads),
                    precision,
                    (&x[start * inner..end * inner], inner),
                    &weight,
                    &mut part,
                )
                .unwrap();
            assert_eq!(part, whole[start * width..end * width]);
            // Some of the outputs alone.
            let columns = rng.usize(1..=width);
            let mut narrow = vec![0.0; tokens * columns];
            let weight = Weight {
                values: Values::Bf16(&values[..columns * inner]),
                bias: None,
            };
            kernels
                .linear(
                    &Several(threads),
                    precision,
                    (&x, inner),
                    &weight,
                    &mut narrow,
                )
                .unwrap();
            for (narrow, whole) in narrow.chunks(columns).zip(whole.chunks(width)) {
                assert_eq!(narrow, &whole[..columns]);
            }
        }
    }
}

#[test]
fn gates_are_activated() {
    let silu = |x: f64| x / (1.0 + (-x).exp());
    let gelu = |x: f64| {
        let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
        0.5 * x * (1.0 + inner.tanh())
    };
    let mut rng = Rng::with_seed(4);
    for (tokens, inner, width) in SHAPES {
        // Large enough for gates that are shut and gates that are open.
        let x: Vec<f32> = floats(&mut rng, tokens * inner)
            .iter()
            .map(|x| x * 8.0)
            .collect();
        let (gates, ups) = (
            weights(&mut rng, width * inner),
            weights(&mut rng, width * inner),
        );
        let bias = floats(&mut rng, width);
        let gate_sums = exact(&x, &gates, Some(&bias), inner);
        let up_sums = exact(&x, &ups, None, inner);
        for mut kernels in Kernels::all() {
            for activation in [Activation::Silu, Activation::GeluTanh] {
                let mut out = vec![f32::NAN; tokens * width];
                let gate = Weight {
                    values: Values::Bf16(&gates),
                    bias: Some(&bias),
                };
                let up = Weight {
                    values: Values::Bf16(&ups),
                    bias: None,
                };
                kernels
                    .gated(
                        &Several(3),
                        Precision::Highest,
                        (&x, inner),
                        (&gate, &up),
                        activation,
                        &mut out,
                    )
                    .unwrap();
                for ((out, (gate, size)), (up, up_size)) in out.iter().zip(&gate_sums).zip(&up_sums)
                {
                    let right = up
                        * match activation {
                            Activation::Silu => silu(*gate),
                            Activation::GeluTanh => gelu(*gate),
                        };
                    // The steepest slope of either activation is below 1.2.
                    let bound = bound(Precision::Highest, inner)
                        * (1.2 * size * up.abs() + (gate.abs() + 1.0) * up_size)
                        + right.abs() * 1e-6
                        + 1e-7;
                    assert!(
                        (f64::from(*out) - right).abs() <= bound,
                        "{activation:?} {tokens}x{inner}x{width}: {out} for {right}"
                    );
                }
            }
        }
    }
}

#[test]
fn infinity_and_nan_are_not_numbers_afterwards() {
    let values = vec![bf16::ONE; 64];
    let weight = Weight {
        values: Values::Bf16(&values),
        bias: None,
    };
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = vec![1.0; 128];
        x[7] = bad;
        for mut kernels in Kernels::all() {
            for precision in Precision::ALL {
                let mut out = [0.0; 4];
                kernels
                    .linear(&OneThread, precision, (&x, 32), &weight, &mut out)
                    .unwrap_err();
                let mut out = [0.0; 8];
                kernels
                    .linear(&OneThread, precision, (&x, 32), &weight, &mut out)
                    .unwrap();
                assert!(!out[0].is_finite() && !out[1].is_finite());
                assert_eq!(out[2..], [32.0; 6]);
            }
        }
    }
}

/// The sums of exact values of a weight, against a product of another form of them.
fn assert_close(out: &[f32], x: &[f32], weight: &[f64], inner: usize, share: f64, what: &str) {
    let right = x.chunks(inner).flat_map(|x| {
        weight.chunks(inner).map(move |weight| {
            let terms = x.iter().zip(weight).map(|(x, w)| f64::from(*x) * w);
            terms.fold((0.0, 0.0), |(sum, size): (f64, f64), term| {
                (sum + term, size + term.abs())
            })
        })
    });
    for (out, (sum, size)) in out.iter().zip(right) {
        let off = (f64::from(*out) - sum).abs() / size.max(1e-30);
        assert!(off <= share, "{what}: {out} for {sum}, off by {off:e}");
    }
}

#[test]
fn half_numbers_are_multiplied_as_they_are() {
    let mut rng = Rng::with_seed(5);
    for (tokens, inner, width) in SHAPES {
        let x = floats(&mut rng, tokens * inner);
        // Numbers of every size, with those below the smallest normal one.
        let values: Vec<f16> = (0..width * inner)
            .map(|_| f16::from_bits(rng.u16(..) & 0xbfff))
            .collect();
        let exact: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
        let weight = Weight {
            values: Values::F16(&values),
            bias: None,
        };
        for mut kernels in Kernels::all() {
            for precision in Precision::ALL {
                let mut out = vec![f32::NAN; tokens * width];
                kernels
                    .linear(&Several(2), precision, (&x, inner), &weight, &mut out)
                    .unwrap();
                let what = format!("{} {precision} {tokens}x{inner}x{width}", kernels.unit());
                // Twice as many terms.
                let share = bound(precision, 2 * inner);
                assert_close(&out, &x, &exact, inner, share, &what);
            }
        }
    }
}

#[test]
fn integers_in_blocks_are_multiplied_as_they_are_and_rounded_with_medium() {
    let mut rng = Rng::with_seed(6);
    for (tokens, inner, width) in SHAPES {
        for (bits, block_size, asymmetric) in [
            (8, 32, false),
            (8, 128, true),
            (4, 32, true),
            (4, 64, false),
        ] {
            let blocks = inner.div_ceil(block_size);
            let bytes =
                |rng: &mut Rng, count: usize| (0..count).map(|_| rng.u8(..)).collect::<Vec<u8>>();
            let integers = bytes(&mut rng, width * blocks * block_size * bits / 8);
            let zero_points = bytes(&mut rng, width * (blocks * bits).div_ceil(8));
            let scales: Vec<f32> = (0..width * blocks).map(|_| rng.f32() - 0.5).collect();
            let nibble = |bytes: &[u8], at: usize| match bits {
                8 => f32::from(bytes[at]),
                _ => f32::from(bytes[at / 2] >> (at % 2 * 4) & 15),
            };
            let exact: Vec<f32> = (0..width)
                .flat_map(|row| {
                    let integers = &integers[row * blocks * block_size * bits / 8..];
                    let zero_points = &zero_points[row * (blocks * bits).div_ceil(8)..];
                    let scales = &scales[row * blocks..];
                    (0..inner)
                        .map(|at| {
                            let block = at / block_size;
                            let zero_point = match asymmetric {
                                true => nibble(zero_points, block),
                                false => (1 << (bits - 1)) as f32,
                            };
                            (nibble(integers, at) - zero_point) * scales[block]
                        })
                        .collect::<Vec<f32>>()
                })
                .collect();
            let x = floats(&mut rng, tokens * inner);
            let weight = Weight {
                values: Values::Blocks(Blocks {
                    integers: &integers,
                    scales: &scales,
                    zero_points: asymmetric.then_some(&zero_points),
                    bits,
                    block_size,
                }),
                bias: None,
            };
            for mut kernels in Kernels::all() {
                for precision in Precision::ALL {
                    let mut out = vec![f32::NAN; tokens * width];
                    kernels
                        .linear(&OneThread, precision, (&x, inner), &weight, &mut out)
                        .unwrap();
                    let what = format!(
                        "{} {precision} {tokens}x{inner}x{width}, {bits} bits",
                        kernels.unit()
                    );
                    let used = |value: &f32| match precision {
                        Precision::Medium => f64::from(bf16::from_f32(*value)),
                        Precision::Highest | Precision::High => f64::from(*value),
                    };
                    let used: Vec<f64> = exact.iter().map(used).collect();
                    // Two parts leave out up to half of the last of 16 bits of a weight.
                    let share = bound(precision, 2 * inner) + 2f64.powi(-16);
                    assert_close(&out, &x, &used, inner, share, &what);
                }
            }
        }
    }
}

#[test]
fn integers_with_a_scale_for_each_row_are_multiplied_as_they_are() {
    let mut rng = Rng::with_seed(7);
    for (tokens, inner, width) in SHAPES {
        let integers: Vec<i8> = (0..width * inner).map(|_| rng.i8(..)).collect();
        let scales: Vec<f32> = (0..width).map(|_| rng.f32() - 0.5).collect();
        let exact: Vec<f64> = integers
            .chunks(inner)
            .zip(&scales)
            .flat_map(|(row, scale)| row.iter().map(|q| f64::from(*q) * f64::from(*scale)))
            .collect();
        let x = floats(&mut rng, tokens * inner);
        let weight = Weight {
            values: Values::Rows(Rows {
                integers: &integers,
                scales: &scales,
            }),
            bias: None,
        };
        let bias = floats(&mut rng, width);
        for mut kernels in Kernels::all() {
            for precision in Precision::ALL {
                let mut out = vec![f32::NAN; tokens * width];
                kernels
                    .linear(&Several(2), precision, (&x, inner), &weight, &mut out)
                    .unwrap();
                let what = format!("{} {precision} {tokens}x{inner}x{width}", kernels.unit());
                // And one rounding for the scale.
                let share = bound(precision, inner) + 2f64.powi(-24);
                assert_close(&out, &x, &exact, inner, share, &what);

                let with_bias = Weight {
                    bias: Some(&bias),
                    ..weight
                };
                let mut biased = vec![f32::NAN; tokens * width];
                kernels
                    .linear(&OneThread, precision, (&x, inner), &with_bias, &mut biased)
                    .unwrap();
                let mut gated = vec![f32::NAN; tokens * width];
                let weights = (&with_bias, &weight);
                kernels
                    .gated(
                        &OneThread,
                        precision,
                        (&x, inner),
                        weights,
                        Activation::Silu,
                        &mut gated,
                    )
                    .unwrap();
                for (at, &plain) in out.iter().enumerate() {
                    let gate = plain + bias[at % width];
                    assert_eq!(biased[at], gate, "{what} at {at}");
                    let silu = gate / (1.0 + (-gate).exp());
                    let off = (gated[at] - silu * plain).abs();
                    assert!(off <= 1e-5 * (1.0 + (gate * plain).abs()), "{what} at {at}");
                }
            }
        }
    }
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let weight = |values| Weight { values, bias: None };
    let blocks = Blocks {
        integers: &[0; 64],
        scales: &[1.0; 2],
        zero_points: None,
        bits: 8,
        block_size: 32,
    };
    assert_eq!(weight(Values::Blocks(blocks)).width(32), Ok(2));
    assert_eq!(weight(Values::Blocks(blocks)).width(64), Ok(1));
    for wrong in [
        Blocks { bits: 5, ..blocks },
        Blocks {
            block_size: 16,
            ..blocks
        },
        Blocks {
            block_size: 0,
            ..blocks
        },
        Blocks {
            integers: &[0; 63],
            ..blocks
        },
        Blocks {
            scales: &[1.0; 3],
            ..blocks
        },
        Blocks {
            zero_points: Some(&[0; 3]),
            ..blocks
        },
    ] {
        assert!(
            weight(Values::Blocks(wrong)).width(32).is_err(),
            "{wrong:?}"
        );
    }
    assert!(weight(Values::Bf16(&[bf16::ONE; 5])).width(2).is_err());
    assert!(weight(Values::Bf16(&[])).width(0).is_err());
    let rows = |scales| {
        Values::Rows(Rows {
            integers: &[1; 6],
            scales,
        })
    };
    assert_eq!(weight(rows(&[1.0; 2])).width(3), Ok(2));
    for wrong in [&[][..], &[1.0], &[1.0; 3]] {
        assert!(weight(rows(wrong)).width(3).is_err(), "{wrong:?}");
    }
    let bias = Weight {
        values: Values::F16(&[f16::ONE; 4]),
        bias: Some(&[1.0; 3]),
    };
    assert!(bias.width(2).is_err());
}

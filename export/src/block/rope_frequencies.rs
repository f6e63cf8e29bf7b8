//! The frequencies of rotary position embedding, rounded where `transformers` rounds
//! (`ROPE_INIT_FUNCTIONS` in `modeling_rope_utils.py`).

use std::f64::consts::PI;

use crate::checkpoint::{Rope, RopeScaling};

/// What positions are multiplied by, and what is done to the cosines and sines of the products.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frequencies {
    /// Radians per token, one for each half of the head's dimensions, falling.
    pub(crate) inverse: Vec<f32>,
    /// Factor on cosines and sines; 1 but for YaRN.
    pub(crate) magnitude: f32,
}

impl Frequencies {
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn new(rope: &Rope, head_size: usize) -> Self {
        let powers = powers(rope.theta, head_size);
        let plain = powers.iter().map(|power| 1.0 / power);
        let mut magnitude = 1.0;
        let inverse = match rope.scaling {
            RopeScaling::Default => plain.collect(),
            RopeScaling::Linear { factor } => plain.map(|f| f / factor as f32).collect(),
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => {
                let original = original_max_position_embeddings as f64;
                plain
                    .map(|f| llama3(f, factor, low_freq_factor, high_freq_factor, original))
                    .collect()
            }
            RopeScaling::Yarn {
                factor,
                attention_factor,
                beta_fast,
                beta_slow,
                truncate,
                original_max_position_embeddings,
            } => {
                magnitude = attention_factor as f32;
                let turns_at = |rotations: f64| {
                    let wavelength =
                        original_max_position_embeddings as f64 / (rotations * 2.0 * PI);
                    head_size as f64 * wavelength.ln() / (2.0 * rope.theta.ln())
                };
                let (mut low, mut high) = (turns_at(beta_fast), turns_at(beta_slow));
                if truncate {
                    (low, high) = (low.floor(), high.ceil());
                }
                let ramp = Ramp::new(low.max(0.0), high.min(head_size as f64 - 1.0));
                powers
                    .iter()
                    .enumerate()
                    .map(|(i, power)| yarn(*power, factor as f32, ramp.at(i)))
                    .collect()
            }
        };
        Self { inverse, magnitude }
    }
}

/// `theta^(2i/d)` for `i` in `0..d/2`: the exponent and the power are 32-bit floats.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
fn powers(theta: f64, head_size: usize) -> Vec<f32> {
    (0..head_size / 2)
        .map(|i| {
            let exponent = (2 * i) as f32 / head_size as f32;
            f64::from(theta as f32).powf(f64::from(exponent)) as f32
        })
        .collect()
}

#[allow(clippy::cast_possible_truncation)]
fn llama3(frequency: f32, factor: f64, low: f64, high: f64, original: f64) -> f32 {
    let wavelength = (2.0 * PI) as f32 / frequency;
    if wavelength > (original / low) as f32 {
        return frequency / factor as f32;
    }
    if wavelength < (original / high) as f32 {
        return frequency;
    }
    let smooth = (original as f32 / wavelength - low as f32) / (high - low) as f32;
    (1.0 - smooth) * frequency / factor as f32 + smooth * frequency
}

fn yarn(power: f32, factor: f32, interpolated: f32) -> f32 {
    let kept = 1.0 - interpolated;
    1.0 / (factor * power) * (1.0 - kept) + 1.0 / power * kept
}

/// 0 before `low`, 1 after `high`, linear between.
struct Ramp {
    low: f32,
    width: f32,
}

impl Ramp {
    #[allow(clippy::cast_possible_truncation)]
    fn new(low: f64, high: f64) -> Self {
        // Two equal ends would divide by zero.
        let high = if low == high { high + 0.001 } else { high };
        Self {
            low: low as f32,
            width: (high - low) as f32,
        }
    }

    #[allow(clippy::cast_precision_loss)]
    fn at(&self, i: usize) -> f32 {
        ((i as f32 - self.low) / self.width).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frequencies(theta: f64, head_size: usize, scaling: RopeScaling) -> Frequencies {
        Frequencies::new(&Rope { theta, scaling }, head_size)
    }

    #[test]
    fn frequencies_fall_from_one_by_equal_ratios() {
        let f = frequencies(10_000.0, 64, RopeScaling::Default);
        assert_eq!((f.inverse.len(), f.magnitude), (32, 1.0));
        assert_eq!(f.inverse[0], 1.0);
        for pair in f.inverse.windows(2) {
            let ratio = f64::from(pair[1]) / f64::from(pair[0]);
            assert!(
                (ratio - 10_000f64.powf(-1.0 / 32.0)).abs() < 1e-6,
                "{ratio}"
            );
        }
    }

    /// Every eighth of the frequencies and the last, and the magnitude, as `ROPE_INIT_FUNCTIONS` of
    /// `transformers` 5.23 makes them.
    #[test]
    fn scaled_frequencies_equal_those_of_transformers() {
        let yarn = RopeScaling::Yarn {
            factor: 8.0,
            attention_factor: 1.5,
            beta_fast: 32.0,
            beta_slow: 1.0,
            truncate: true,
            original_max_position_embeddings: 256,
        };
        let cases: [(usize, f64, RopeScaling, f32, [f32; 9]); 5] = [
            (
                128,
                500_000.0,
                RopeScaling::Llama3 {
                    factor: 8.0,
                    low_freq_factor: 1.0,
                    high_freq_factor: 4.0,
                    original_max_position_embeddings: 8192,
                },
                1.0,
                [
                    1.0,
                    0.193_922_76,
                    0.037_606_03,
                    0.007_292_665,
                    0.000_524_846,
                    3.428_102_4e-5,
                    6.647_869_7e-6,
                    1.289_173_2e-6,
                    3.068_926e-7,
                ],
            ),
            (
                64,
                10_000.0,
                RopeScaling::Linear { factor: 2.5 },
                1.0,
                [
                    0.4,
                    0.126_491_1,
                    0.04,
                    0.012_649_111,
                    0.004,
                    0.001_264_911_1,
                    0.000_4,
                    0.000_126_491_11,
                    5.334_086e-5,
                ],
            ),
            (
                128,
                1_000_000.0,
                RopeScaling::Yarn {
                    factor: 4.0,
                    attention_factor: 1.138_629_436_111_989,
                    beta_fast: 32.0,
                    beta_slow: 1.0,
                    truncate: true,
                    original_max_position_embeddings: 32_768,
                },
                1.138_629_4,
                [
                    1.0,
                    0.177_827_94,
                    0.031_622_78,
                    0.005_375_321_5,
                    0.000_602_941_15,
                    4.445_698_5e-5,
                    7.905_694e-6,
                    1.405_853_4e-6,
                    3.102_344_4e-7,
                ],
            ),
            (
                64,
                10_000.0,
                yarn,
                1.5,
                [
                    1.0,
                    0.231_089_53,
                    0.046_153_843,
                    0.006_081_303_6,
                    0.001_25,
                    0.000_395_284_73,
                    0.000_125,
                    3.952_847_3e-5,
                    1.666_901_9e-5,
                ],
            ),
            (
                64,
                10_000.0,
                RopeScaling::Yarn {
                    factor: 8.0,
                    attention_factor: 0.916_791_250_545_610_7,
                    beta_fast: 16.0,
                    beta_slow: 2.0,
                    truncate: false,
                    original_max_position_embeddings: 256,
                },
                0.916_791_26,
                [
                    1.0,
                    0.287_408_6,
                    0.042_441_797,
                    0.003_952_847_3,
                    0.001_25,
                    0.000_395_284_73,
                    0.000_125,
                    3.952_847_3e-5,
                    1.666_901_9e-5,
                ],
            ),
        ];
        for (head_size, theta, scaling, magnitude, expected) in cases {
            let found = frequencies(theta, head_size, scaling);
            assert_eq!(found.magnitude, magnitude, "{scaling:?}");
            assert_eq!(found.inverse.len(), head_size / 2);
            let step = head_size / 16;
            let places = (0..8).map(|i| i * step).chain([head_size / 2 - 1]);
            for (place, expected) in places.zip(expected) {
                let error = (found.inverse[place] / expected - 1.0).abs();
                assert!(
                    error < 3e-7,
                    "{scaling:?}, {place}: {}",
                    found.inverse[place]
                );
            }
        }
    }
}

//! A gated layer and the linear layer behind it, in one: the same bits as one after the other.

#![allow(clippy::unwrap_used)]

mod support;

use fastrand::Rng;
use half::{bf16, f16};
use worldpm_ort_kernels::{
    Activation, Blocks, Kernels, OneThread, Precision, Rows, Values, Weight,
};

use support::{Several, floats};

/// Tokens, inner dimension, intermediate dimension, outputs: one of each, tails, more tokens than are packed at a time, more
/// rows than are finished together.
const SHAPES: [(usize, usize, usize, usize); 7] = [
    (1, 32, 32, 1),
    (3, 64, 33, 17),
    (33, 96, 100, 48),
    (40, 1056, 352, 130),
    (70, 64, 2080, 64),
    (513, 32, 64, 40),
    (1100, 64, 95, 32),
];
const BLOCK: usize = 32;

/// A weight in every form.
struct Forms {
    numbers: Vec<bf16>,
    halves: Vec<f16>,
    integers: Vec<i8>,
    bytes: Vec<u8>,
    scales: Vec<f32>,
    bias: Vec<f32>,
}

impl Forms {
    fn new(rng: &mut Rng, width: usize, inner: usize) -> Self {
        let values = floats(rng, width * inner);
        let bytes = width * inner.next_multiple_of(BLOCK);
        Self {
            numbers: values.iter().copied().map(bf16::from_f32).collect(),
            halves: values.iter().copied().map(f16::from_f32).collect(),
            integers: values.iter().map(|value| (value * 127.0) as i8).collect(),
            bytes: (0..bytes).map(|_| rng.u8(..)).collect(),
            scales: floats(rng, bytes),
            bias: floats(rng, width),
        }
    }

    fn weights(&self, width: usize, inner: usize, bias: bool) -> [Weight<'_>; 5] {
        let blocks = |bits| {
            let elements = width * inner.next_multiple_of(BLOCK);
            Values::Blocks(Blocks {
                integers: &self.bytes[..elements * bits / 8],
                scales: &self.scales[..elements / BLOCK],
                zero_points: None,
                bits,
                block_size: BLOCK,
            })
        };
        let rows = Rows {
            integers: &self.integers,
            scales: &self.scales[..width],
        };
        [
            Values::Bf16(&self.numbers),
            Values::F16(&self.halves),
            Values::Rows(rows),
            blocks(8),
            blocks(4),
        ]
        .map(|values| Weight {
            values,
            bias: bias.then_some(&self.bias[..width]),
        })
    }
}

#[test]
fn an_mlp_has_the_bits_of_its_layers() {
    let mut rng = Rng::with_seed(7);
    for (tokens, inner, intermediate, width) in SHAPES {
        let x = floats(&mut rng, tokens * inner);
        let layers = [
            (intermediate, inner),
            (intermediate, inner),
            (width, intermediate),
        ];
        let forms = layers.map(|(width, inner)| Forms::new(&mut rng, width, inner));
        for bias in [false, true] {
            let [gates, ups, downs] = [0, 1, 2].map(|layer| {
                let (width, inner) = layers[layer];
                forms[layer].weights(width, inner, bias)
            });
            for ((gate, up), down) in gates.iter().zip(&ups).zip(&downs) {
                for mut kernels in Kernels::all() {
                    for (precision, activation) in [
                        (Precision::Highest, Activation::Silu),
                        (Precision::High, Activation::GeluTanh),
                        (Precision::Medium, Activation::Silu),
                    ] {
                        let mut hidden = vec![f32::NAN; tokens * intermediate];
                        let mut expected = vec![f32::NAN; tokens * width];
                        let mut out = vec![f32::NAN; tokens * width];
                        let one = &OneThread;
                        kernels
                            .gated(
                                one,
                                precision,
                                (&x, inner),
                                (gate, up),
                                activation,
                                &mut hidden,
                            )
                            .unwrap();
                        kernels
                            .linear(one, precision, (&hidden, intermediate), down, &mut expected)
                            .unwrap();
                        let weights = (gate, up, down);
                        kernels
                            .mlp(
                                &Several(3),
                                precision,
                                (&x, inner),
                                weights,
                                activation,
                                &mut out,
                            )
                            .unwrap();
                        let what = format!(
                            "{tokens} x {inner} x {intermediate} x {width}, {precision}, {}, bias {bias}",
                            kernels.unit()
                        );
                        assert!(out.iter().all(|value| value.is_finite()), "{what}");
                        assert_eq!(bits(&out), bits(&expected), "{what}");
                    }
                }
            }
        }
    }
}

#[test]
fn layers_that_do_not_fit_are_refused() {
    let mut rng = Rng::with_seed(8);
    let forms = [(96, 32), (64, 32)].map(|(width, inner)| Forms::new(&mut rng, width, inner));
    let [gate, ..] = forms[0].weights(96, 32, false);
    let [down, ..] = forms[1].weights(64, 32, false);
    for mut kernels in Kernels::all() {
        let mut out = vec![0.0; 64];
        let weights = (&gate, &gate, &down);
        let (x, medium) = (&[0.0; 32][..], Precision::Medium);
        let error = kernels
            .mlp(
                &OneThread,
                medium,
                (x, 32),
                weights,
                Activation::Silu,
                &mut out,
            )
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("2048 elements is not of 96 columns"),
            "{error}"
        );
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

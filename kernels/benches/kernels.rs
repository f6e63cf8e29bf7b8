//! Rates of products and of attention, on one thread: `cargo bench -p worldpm-ort-kernels`, with ` -- attention`
//! of attention alone.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::time::Instant;

use half::bf16;
use worldpm_ort_kernels::{
    Attention, Blocks, Kernels, Mask, OneThread, Precision, Rows, Values, Weight,
};

/// Tokens, inner dimension, outputs: layers of a 0.5B and of a 7B model, and few tokens.
const SHAPES: [(usize, usize, usize); 7] = [
    (246, 896, 4864),
    (246, 4864, 896),
    (1024, 896, 4864),
    (1024, 4864, 896),
    (1024, 896, 128),
    (64, 896, 4864),
    (512, 3584, 3584),
];

/// Integers of a block.
const BLOCK: usize = 32;

/// Seconds of the fastest of some runs.
fn fastest(mut work: impl FnMut()) -> f64 {
    (0..7)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min)
}

fn linear() {
    for mut kernels in Kernels::all() {
        for (tokens, inner, width) in SHAPES {
            let x: Vec<f32> = (0..tokens * inner)
                .map(|at| (at % 17) as f32 - 8.3)
                .collect();
            let values: Vec<bf16> = (0..width * inner)
                .map(|at| bf16::from_f32((at % 13) as f32 - 6.1))
                .collect();
            let integers: Vec<i8> = (0..width * inner).map(|at| (at % 251) as i8).collect();
            let bytes: Vec<u8> = integers.iter().map(|integer| *integer as u8).collect();
            let scales = vec![0.01; width * inner / BLOCK];
            let blocks = |bits| {
                Values::Blocks(Blocks {
                    integers: &bytes[..width * inner * bits / 8],
                    scales: &scales,
                    zero_points: None,
                    bits,
                    block_size: BLOCK,
                })
            };
            let rows = Values::Rows(Rows {
                integers: &integers,
                scales: &scales[..width],
            });
            let mut out = vec![0.0; tokens * width];
            for precision in Precision::ALL {
                for (form, values) in [
                    ("bfloat16", Values::Bf16(&values)),
                    ("int8 in blocks", blocks(8)),
                    ("int4 in blocks", blocks(4)),
                    ("int8 in rows", rows),
                ] {
                    let weight = Weight { values, bias: None };
                    let seconds = fastest(|| {
                        kernels
                            .linear(&OneThread, precision, (&x, inner), &weight, &mut out)
                            .unwrap();
                    });
                    let rate = 2.0 * (tokens * inner * width) as f64 / seconds / 1e9;
                    println!(
                        "{} {precision:7} {form:14} {tokens} x {inner} x {width}: {rate:.0} GFLOP/s",
                        kernels.unit()
                    );
                }
            }
        }
    }
}

/// Heads of queries, heads of keys, width: models of 0.5B, 135M and 72B.
const HEADS: [(usize, usize, usize); 3] = [(14, 2, 64), (9, 3, 64), (64, 8, 128)];

fn attention() {
    for kernels in Kernels::all() {
        for (heads, shared, size) in HEADS {
            for tokens in [246, 512, 2048] {
                let floats = |count| (0..count).map(|at| (at % 29) as f32 / 14.0 - 1.0).collect();
                let query: Vec<f32> = floats(tokens * heads * size);
                let key: Vec<f32> = floats(tokens * shared * size);
                let value: Vec<f32> = floats(tokens * shared * size);
                let cells: Vec<i64> = (0..tokens as i64).collect();
                let attention = Attention {
                    query: &query,
                    key: &key,
                    value: &value,
                    heads,
                    key_value_heads: shared,
                    size,
                    row_tokens: &cells,
                    columns: tokens,
                    cells: &cells,
                    mask: Mask {
                        scale: 1.0 / (size as f32).sqrt(),
                        softcap: None,
                        window: None,
                    },
                };
                let mut out = vec![0.0; tokens * heads * size];
                for precision in Precision::ALL {
                    let seconds = fastest(|| {
                        kernels
                            .attention(&OneThread, precision, &attention, &mut out)
                            .unwrap();
                    });
                    let rate = 2.0 * (tokens * tokens * heads * size) as f64 / seconds / 1e9;
                    println!(
                        "{} {precision:7} attention of {tokens} tokens, {heads} heads of {size} over {shared}: {rate:.0} GFLOP/s",
                        kernels.unit()
                    );
                }
            }
        }
    }
}

fn main() {
    if !std::env::args().any(|argument| argument == "attention") {
        linear();
    }
    attention();
}

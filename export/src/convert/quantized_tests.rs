//! Quantised weights against a plain reading of their definition, block by block, in 64-bit floats.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use half::{bf16, f16};
use proptest::prelude::*;
use worldpm_ort_bundle::{Overflow, float_type::FloatType};

use super::{
    Bits, Blocks, Encoding, Layout, Source,
    tests::{convert_checked, source, values},
};
use crate::error::Error;

const ALIGNMENT: usize = 4096;

/// One block as it can be read back.
pub(super) struct Block {
    pub(super) integers: Vec<f64>,
    pub(super) zero_point: f64,
    pub(super) scale: f64,
}

/// The outputs of one job, each from its place.
pub(super) fn outputs<'a>(data: &'a [u8], source: &Source, encoding: Encoding) -> Vec<&'a [u8]> {
    let mut begin = 0;
    let outputs = encoding.outputs(source).into_iter().map(|made| {
        let elements = made.shape.iter().product::<u64>() as usize;
        let bytes = elements * made.dtype.bits() as usize / 8;
        let output = &data[begin..begin + bytes];
        begin = (begin + bytes).next_multiple_of(ALIGNMENT);
        output
    });
    outputs.collect()
}

pub(super) fn read_float(float: FloatType, bytes: &[u8], index: usize) -> f64 {
    match float {
        FloatType::F32 => f64::from(f32::from_le_bytes(
            bytes[4 * index..][..4].try_into().unwrap(),
        )),
        FloatType::F16 => f16::from_le_bytes(bytes[2 * index..][..2].try_into().unwrap()).to_f64(),
        FloatType::Bf16 => {
            bf16::from_le_bytes(bytes[2 * index..][..2].try_into().unwrap()).to_f64()
        }
    }
}

/// The `index`-th of integers that are packed from the lowest bits up.
fn read_bits(bytes: &[u8], bits: usize, index: usize) -> u8 {
    let bit = index * bits;
    bytes[bit / 8] >> (bit % 8) & (0xff >> (8 - bits))
}

/// Block `index` of row `row`, as the operator that reads the layout defines it.
pub(super) fn read_block(
    blocks: &Blocks,
    outputs: &[&[u8]],
    width: usize,
    row: usize,
    index: usize,
) -> Block {
    let (size, bits) = (blocks.size as usize, blocks.bits.count() as usize);
    let in_row = width.div_ceil(size);
    let scale = read_float(blocks.scale, outputs[1], row * in_row + index);
    let length = size.min(width - index * size);
    match blocks.layout {
        Layout::Filled => {
            let bytes = &outputs[0][(row * in_row + index) * size * bits / 8..][..size * bits / 8];
            let zero_point = match outputs.get(2) {
                Some(zeros) => {
                    let row_bytes = (in_row * bits).div_ceil(8);
                    read_bits(&zeros[row * row_bytes..][..row_bytes], bits, index)
                }
                None => 1 << (bits - 1),
            };
            // What fills the last block up stands for zero.
            for filled in length..size {
                assert_eq!(read_bits(bytes, bits, filled), zero_point);
            }
            Block {
                integers: (0..length)
                    .map(|i| f64::from(read_bits(bytes, bits, i)))
                    .collect(),
                zero_point: f64::from(zero_point),
                scale,
            }
        }
        Layout::Signed => {
            let row = &outputs[0][row * width * bits / 8..][..width * bits / 8];
            let signed = |i| {
                let raw = read_bits(row, bits, index * size + i);
                f64::from((raw << (8 - bits)).cast_signed() >> (8 - bits))
            };
            Block {
                integers: (0..length).map(signed).collect(),
                zero_point: 0.0,
                scale,
            }
        }
    }
}

/// Checks a block against the values that it stands for.
fn check(blocks: &Blocks, block: &Block, values: &[f32], what: &str) {
    let steps = 2_f64.powi(blocks.bits.count() as i32);
    let (low, high) = values.iter().fold((0.0_f64, 0.0_f64), |(low, high), &x| {
        (low.min(f64::from(x)), high.max(f64::from(x)))
    });
    let ideal = match blocks.symmetric {
        true => (if high >= -low { high } else { low }) / -(steps / 2.0),
        false => (high - low) / (steps - 1.0),
    };
    let precision = match blocks.scale {
        FloatType::F32 => 2_f64.powi(-22),
        FloatType::F16 => 2_f64.powi(-11),
        FloatType::Bf16 => 2_f64.powi(-8),
    };
    // The smallest half-precision number, and a scale too small for its reciprocal.
    let tiny = 6e-8 + 1.2e-38;
    let scale_error = (block.scale - ideal).abs();
    assert!(
        scale_error <= ideal.abs() * precision + tiny,
        "{what}: scale {} not {ideal}",
        block.scale
    );
    if block.scale.abs() < f64::from(f32::MIN_POSITIVE) {
        assert!(
            block.integers.iter().all(|&q| q == block.zero_point),
            "{what}"
        );
        return;
    }
    let bottom = match blocks.layout {
        Layout::Filled => 0.0,
        Layout::Signed => -steps / 2.0,
    };
    let top = bottom + steps - 1.0;
    assert!((bottom..=top).contains(&block.zero_point), "{what}");
    for (q, &x) in block.integers.iter().zip(values) {
        assert!((bottom..=top).contains(q), "{what}: {q}");
        let exact = f64::from(x) / block.scale + block.zero_point;
        let nearest = exact.clamp(bottom, top);
        assert!(
            (q - nearest).abs() <= 0.5 + 1e-4,
            "{what}: {x} became {q}, not {nearest}"
        );
        // A symmetric range lacks one step above, and an asymmetric one is moved by its zero point's rounding.
        assert!(
            (exact - nearest).abs() <= 1.0 + steps * precision,
            "{what}: {x} is out of range"
        );
    }
}

fn check_tensor(
    dir: &Path,
    blocks: Blocks,
    from: FloatType,
    shape: [usize; 2],
    values: &[f32],
    threads: usize,
) {
    let [rows, width] = shape;
    let source = source(dir, 13, from, &shape.map(|size| size as u64), values);
    let encoding = Encoding::Blocks(blocks);
    let jobs = [(source.clone(), encoding)];
    let (data, _) = convert_checked(dir, &jobs, Overflow::Refuse, true, threads).unwrap();
    let outputs = outputs(&data, &source, encoding);
    for row in 0..rows {
        for index in 0..width.div_ceil(blocks.size as usize) {
            let begin = row * width + index * blocks.size as usize;
            let end = (begin + blocks.size as usize).min((row + 1) * width);
            // What the source holds after rounding to its type.
            let stored: Vec<f32> = values[begin..end]
                .iter()
                .map(|&x| match from {
                    FloatType::Bf16 => bf16::from_f32(x).to_f32(),
                    FloatType::F16 => f16::from_f32(x).to_f32(),
                    FloatType::F32 => x,
                })
                .collect();
            let block = read_block(&blocks, &outputs, width, row, index);
            check(
                &blocks,
                &block,
                &stored,
                &format!("{blocks:?} row {row} block {index}"),
            );
        }
    }
}

pub(super) fn every_kind() -> impl Iterator<Item = Blocks> {
    let bits = [Bits::Four, Bits::Eight];
    bits.into_iter().flat_map(|bits| {
        [32, 64, 128].into_iter().flat_map(move |size| {
            let filled = [FloatType::F32, FloatType::F16, FloatType::Bf16]
                .into_iter()
                .flat_map(move |scale| {
                    [true, false].map(|symmetric| (scale, symmetric, Layout::Filled))
                });
            let signed = [(FloatType::F32, true, Layout::Signed)];
            filled
                .chain(signed)
                .map(move |(scale, symmetric, layout)| Blocks {
                    bits,
                    size,
                    symmetric,
                    scale,
                    layout,
                })
        })
    })
}

#[test]
fn every_kind_of_block() {
    let dir = tempfile::tempdir().unwrap();
    for blocks in every_kind() {
        // Less than a block, an odd number of blocks, an odd width.
        for width in [2, 32, 96, 130, 1000, 333] {
            if blocks.layout == Layout::Signed && width % 2 == 1 {
                continue;
            }
            let values = values(5 * width as u64);
            check_tensor(dir.path(), blocks, FloatType::F32, [5, width], &values, 2);
        }
    }
}

/// More than one chunk, of each type that weights are stored in.
#[test]
fn large_tensors_on_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    let blocks = Blocks {
        bits: Bits::Four,
        size: 32,
        symmetric: true,
        scale: FloatType::F32,
        layout: Layout::Filled,
    };
    let values = values(1100 * 1003);
    for from in [FloatType::Bf16, FloatType::F16, FloatType::F32] {
        for threads in [1, 3] {
            check_tensor(dir.path(), blocks, from, [1100, 1003], &values, threads);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any finite values: all zero, all alike, tiny, huge.
    #[test]
    fn any_values(
        bits in prop::collection::vec(any::<u32>(), 1..70),
        exponent in -140_i32..120,
        kind in any::<prop::sample::Index>(),
    ) {
        let kinds: Vec<Blocks> = every_kind().filter(|blocks| blocks.scale == FloatType::F32).collect();
        let blocks = kinds[kind.index(kinds.len())];
        let mut values: Vec<f32> = bits
            .iter()
            .map(|&bits| (f32::from((bits >> 16) as u16) - 32768.0) / 32768.0 * 2_f32.powi(exponent))
            .collect();
        if blocks.layout == Layout::Signed && values.len() % 2 == 1 {
            values.push(0.0);
        }
        let dir = tempfile::tempdir().unwrap();
        check_tensor(dir.path(), blocks, FloatType::F32, [1, values.len()], &values, 1);
    }
}

#[test]
fn rows_of_one_scale() {
    let dir = tempfile::tempdir().unwrap();
    let (rows, width) = (700, 1003);
    let mut values = values(rows * width);
    values[..width as usize].fill(0.0);
    let source = source(dir.path(), 5, FloatType::F32, &[rows, width], &values);
    let jobs = [(source.clone(), Encoding::Channels)];
    for threads in [1, 3] {
        let (data, _) =
            convert_checked(dir.path(), &jobs, Overflow::Refuse, true, threads).unwrap();
        let outputs = outputs(&data, &source, Encoding::Channels);
        assert!(outputs[2].iter().all(|&zero_point| zero_point == 0));
        for (row, values) in values.chunks(width as usize).enumerate() {
            let scale = read_float(FloatType::F32, outputs[1], row);
            let largest = values
                .iter()
                .map(|x| f64::from(x.abs()))
                .fold(0.0, f64::max);
            assert!((scale - largest / 127.0).abs() <= scale * 1e-6, "row {row}");
            let integers = &outputs[0][row * width as usize..][..width as usize];
            for (&q, &x) in integers.iter().zip(values) {
                let exact = if scale == 0.0 {
                    0.0
                } else {
                    f64::from(x) / scale
                };
                let q = f64::from(q.cast_signed());
                assert!(
                    (q - exact).abs() <= 0.5 + 1e-4 && q >= -127.0,
                    "row {row}: {x} became {q}"
                );
            }
        }
    }
}

#[test]
fn values_that_cannot_be_quantised_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (rows, width) = (700, 1003);
    let blocks = every_kind().next().unwrap();
    let encodings = [
        Encoding::Blocks(blocks),
        Encoding::Channels,
        Encoding::Copy,
        Encoding::Float(FloatType::F32),
    ];
    for from in [FloatType::F32, FloatType::Bf16, FloatType::F16] {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values = values(rows * width);
            values[650 * width as usize + 17] = bad;
            values[699 * width as usize + 1] = bad;
            let source = source(dir.path(), 0, from, &[rows, width], &values);
            for encoding in encodings {
                let jobs = [(source.clone(), encoding)];
                let error =
                    convert_checked(dir.path(), &jobs, Overflow::Clamp, true, 3).unwrap_err();
                let message = error.to_string();
                assert!(matches!(error, Error::Tensor { .. }), "{message}");
                for part in ["source", "`tensor`", "[650, 17]"] {
                    assert!(message.contains(part), "{message}");
                }
            }
        }
    }
}

//! Weights that are rounded for given inputs.

#![allow(clippy::unwrap_used)]

use std::num::NonZeroUsize;

use half::bf16;
use worldpm_ort_bundle::{Overflow, float_type::FloatType};

use super::{
    Bits, Blocks, Encoding, Layout, Rules,
    quantized_tests::{every_kind, outputs, read_block, read_float},
    tests::{convert_by, convert_checked, source},
};
use crate::calibration::{
    Calibration, Factor,
    tests::{inputs, seen, values},
};

/// A weight as it can be read back: each value's integer, zero point and scale.
struct Stored(Vec<[f64; 3]>);

impl Stored {
    fn read(encoding: Encoding, outputs: &[&[u8]], rows: usize, width: usize) -> Self {
        let mut stored = Vec::new();
        for row in 0..rows {
            match encoding {
                Encoding::Blocks(blocks) => {
                    for index in 0..width.div_ceil(blocks.size as usize) {
                        let block = read_block(&blocks, outputs, width, row, index);
                        let (zero_point, scale) = (block.zero_point, block.scale);
                        stored.extend(block.integers.iter().map(|&q| [q, zero_point, scale]));
                    }
                }
                _ => {
                    let integers = &outputs[0][row * width..][..width];
                    let scale = read_float(FloatType::F32, outputs[1], row);
                    let integers = integers.iter().map(|q| f64::from(q.cast_signed()));
                    stored.extend(integers.map(|q| [q, 0.0, scale]));
                }
            }
        }
        Self(stored)
    }

    fn values(&self) -> Vec<f64> {
        let values = self.0.iter();
        values
            .map(|[q, zero_point, scale]| (q - zero_point) * scale)
            .collect()
    }
}

fn every_encoding() -> impl Iterator<Item = Encoding> {
    every_kind()
        .map(Encoding::Blocks)
        .chain([Encoding::Channels])
}

/// The least and the largest integer.
fn range(encoding: Encoding) -> (f64, f64) {
    match encoding {
        Encoding::Blocks(blocks) => {
            let steps = 2_f64.powi(blocks.bits.count() as i32);
            match blocks.layout {
                Layout::Filled => (0.0, steps - 1.0),
                Layout::Signed => (-steps / 2.0, steps / 2.0 - 1.0),
            }
        }
        _ => (-127.0, 127.0),
    }
}

/// The weight of `rows` rows, stored with and without a calibration.
fn both(
    encoding: Encoding,
    weight: &[f32],
    (rows, width): (usize, usize),
    calibration: &Calibration,
    threads: usize,
) -> [Stored; 2] {
    let dir = tempfile::tempdir().unwrap();
    let shape = [rows as u64, width as u64];
    let mut source = source(dir.path(), 3, FloatType::F32, &shape, weight);
    source.tensor = "w".into();
    let jobs = [(source.clone(), encoding)];
    let rules = Rules {
        overflow: Overflow::Refuse,
        finite: true,
        calibration: Some(calibration),
        threads: NonZeroUsize::new(threads),
        progress: &|_| {},
    };
    let (carried, _) = convert_by(dir.path(), &jobs, rules).unwrap();
    let (nearest, _) = convert_checked(dir.path(), &jobs, Overflow::Refuse, true, threads).unwrap();
    [carried, nearest]
        .map(|data| Stored::read(encoding, &outputs(&data, &source, encoding), rows, width))
}

/// Squared errors of the outputs for inputs, summed.
fn output_error(weight: &[f32], stored: &Stored, inputs: &[f32], width: usize) -> f64 {
    let values = stored.values();
    let rows = weight.chunks(width).zip(values.chunks(width));
    rows.flat_map(|(weight, values)| {
        inputs.chunks(width).map(move |x| {
            let terms = weight.iter().zip(values).zip(x);
            let error: f64 = terms
                .map(|((w, q), x)| (f64::from(*w) - q) * f64::from(*x))
                .sum();
            error * error
        })
    })
    .sum()
}

/// Every integer is the nearest to its weight with the errors before it.
fn check_nearest(
    encoding: Encoding,
    weight: &[f32],
    stored: &Stored,
    factor: &Factor,
    width: usize,
) {
    let (least, most) = range(encoding);
    for (row, weight) in weight.chunks(width).enumerate() {
        let stored = &stored.0[row * width..][..width];
        let mut errors: Vec<f64> = Vec::new();
        for (place, &column) in factor.order.iter().enumerate() {
            let carried = errors.iter().enumerate();
            let carried = carried.map(|(before, e)| f64::from(factor.carried[[place, before]]) * e);
            let wanted = f64::from(weight[column]) + carried.sum::<f64>();
            let [q, zero_point, scale] = stored[column];
            let exact = match scale.abs() < f64::from(f32::MIN_POSITIVE) {
                true => zero_point,
                false => wanted / scale + zero_point,
            };
            let nearest = exact.clamp(least, most);
            assert!(
                (q - nearest).abs() <= 0.5 + 2e-3,
                "{encoding:?} row {row} column {column}: {wanted} became {q}, not {nearest}"
            );
            errors.push(f64::from(weight[column]) - (q - zero_point) * scale);
        }
    }
}

#[test]
fn errors_go_to_the_columns_that_follow() {
    let rows = 7;
    for width in [2, 32, 130, 200] {
        let weight = values(rows * width, 5);
        let dir = tempfile::tempdir().unwrap();
        let inputs: Vec<f32> = inputs(3 * width, width)
            .into_iter()
            .map(|x| bf16::from_f32(x).to_f32())
            .collect();
        let calibration = seen(dir.path(), &inputs, width);
        let factor = calibration.inputs("w").unwrap();
        let factor = factor.factor(NonZeroUsize::MIN).unwrap();
        for encoding in every_encoding() {
            let [carried, nearest] = both(encoding, &weight, (rows, width), &calibration, 2);
            check_nearest(encoding, &weight, &carried, &factor, width);
            if width < 100 {
                continue;
            }
            let [carried, nearest] =
                [&carried, &nearest].map(|stored| output_error(&weight, stored, &inputs, width));
            assert!(
                carried < 0.7 * nearest,
                "{encoding:?}, {width} columns: {carried}, and {nearest} with the nearest integers"
            );
        }
    }
}

/// More than one chunk of rows.
#[test]
fn the_integers_do_not_depend_on_the_number_of_threads() {
    let (rows, width) = (700, 513);
    let mut weight = values(rows * width, 6);
    weight[..width].fill(0.0);
    let dir = tempfile::tempdir().unwrap();
    let calibration = seen(dir.path(), &inputs(600, width), width);
    let blocks = Blocks {
        bits: Bits::Four,
        size: 32,
        symmetric: true,
        scale: FloatType::F32,
        layout: Layout::Filled,
    };
    for encoding in [Encoding::Blocks(blocks), Encoding::Channels] {
        let [one, _] = both(encoding, &weight, (rows, width), &calibration, 1);
        let [three, _] = both(encoding, &weight, (rows, width), &calibration, 3);
        assert!(one.0 == three.0, "{encoding:?}");
        assert!(one.values()[..width].iter().all(|&value| value == 0.0));
    }
}

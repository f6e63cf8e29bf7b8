use std::num::NonZeroUsize;

use ndarray::Array2;
use worldpm_ort_bundle::manifest::CalibrationData;

use super::{Calibration, CalibrationWriter, Factor};
use crate::error::Error;

/// Numbers from -1 to 1.
pub(crate) fn values(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from((state >> 16) as u16) / 32768.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Inputs whose columns are of different sizes and go together, as those of trained models do.
pub(crate) fn inputs(rows: usize, width: usize) -> Vec<f32> {
    let base = values(rows * width, 7);
    let common = values(rows, 8);
    (0..rows * width)
        .map(|at| {
            let (row, column) = (at / width, at % width);
            let size = if column % 7 == 3 { 8.0 } else { 1.0 };
            size * (base[at] + common[row])
        })
        .collect()
}

/// A calibration that has seen `inputs`, given in two parts, of the weight `w`.
pub(crate) fn seen(directory: &std::path::Path, inputs: &[f32], width: usize) -> Calibration {
    let writer = CalibrationWriter::new(directory);
    let (first, second) = inputs.split_at(inputs.len() / width / 3 * width);
    for part in [first, second] {
        writer.add(&["w", "other"], part, width).unwrap();
    }
    writer.finish(CalibrationData {
        conversations: 1,
        tokens: (inputs.len() / width) as u64,
        sha256: String::new(),
        correction: Vec::new(),
    })
}

fn factor(inputs: &[f32], width: usize, threads: usize) -> std::sync::Arc<Factor> {
    let dir = tempfile::tempdir().unwrap();
    let calibration = seen(dir.path(), inputs, width);
    let threads = NonZeroUsize::new(threads).unwrap();
    calibration
        .inputs("other")
        .unwrap()
        .factor(threads)
        .unwrap()
}

/// `(w - q) (H + damping) (w - q)'` is a sum of squares with the factor, whatever the errors are: one row is exact where
/// only one column has an error.
#[test]
fn errors_are_carried_so_that_the_sum_of_squares_is_least() {
    for width in [1, 5, 64, 65, 150] {
        let inputs: Vec<f32> = inputs(2 * width + 3, width)
            .into_iter()
            .map(|x| half::bf16::from_f32(x).to_f32())
            .collect();
        let Factor {
            order,
            carried,
            importance,
        } = &*factor(&inputs, width, 2);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().copied().eq(0..width));
        assert!(
            order
                .windows(2)
                .all(|pair| importance[pair[0]] >= importance[pair[1]])
        );

        let mut matrix = Array2::<f64>::zeros((width, width));
        for row in inputs.chunks(width) {
            for (i, &a) in order.iter().enumerate() {
                for (j, &b) in order.iter().enumerate() {
                    matrix[[i, j]] += f64::from(row[a]) * f64::from(row[b]);
                }
            }
        }
        let damping = 0.01 * matrix.diag().mean().unwrap();
        for i in 0..width {
            matrix[[i, i]] += damping;
        }
        // With the errors of the columns up to `known` given, those that the factor asks of the others have no gradient.
        for known in [1, width / 2, width - 1] {
            let mut errors: Vec<f64> = values(known, 3).into_iter().map(f64::from).collect();
            for i in known..width {
                let carried = (0..i).map(|j| f64::from(carried[[i, j]]) * errors[j]);
                errors.push(-carried.sum::<f64>());
            }
            for i in known..width {
                let terms = (0..width).map(|j| matrix[[i, j]] * errors[j]);
                let size: f64 = terms.clone().map(f64::abs).sum();
                assert!(
                    terms.sum::<f64>().abs() <= 1e-3 * size,
                    "{width} {known} {i}"
                );
            }
        }
    }
}

#[test]
fn the_factor_does_not_depend_on_the_number_of_threads() {
    let width = 300;
    let inputs = inputs(700, width);
    let one = factor(&inputs, width, 1);
    let several = factor(&inputs, width, 3);
    assert_eq!(one.carried, several.carried);
    assert_eq!(one.order, several.order);
}

#[test]
fn columns_without_inputs_carry_nothing() {
    let width = 4;
    let mut inputs = inputs(9, width);
    inputs
        .iter_mut()
        .skip(2)
        .step_by(width)
        .for_each(|x| *x = 0.0);
    let found = factor(&inputs, width, 1);
    assert_eq!(found.order.last(), Some(&2));
    assert!(found.carried.row(3).iter().all(|&share| share == 0.0));
    let none = factor(&[0.0; 8], width, 1);
    assert_eq!(none.order, [0, 1, 2, 3]);
    assert!(none.carried.iter().all(|&share| share == 0.0));
}

#[test]
fn inputs_that_are_not_finite_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let calibration = seen(dir.path(), &[1.0, f32::INFINITY, 2.0, 3.0], 2);
    let inputs = calibration.inputs("w").unwrap();
    let error = inputs.factor(NonZeroUsize::MIN).unwrap_err();
    assert!(
        matches!(&error, Error::Calibration { problem } if problem.contains("not numbers")),
        "{error}"
    );
}

#[test]
fn inputs_of_another_width_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let writer = CalibrationWriter::new(dir.path());
    writer.add(&["w"], &[1.0; 6], 3).unwrap();
    for width in [2, 0, 4] {
        writer.add(&["w"], &[1.0; 6], width).unwrap_err();
    }
    let gone = tempfile::tempdir().unwrap();
    let writer = CalibrationWriter::new(&gone.path().join("none"));
    let error = writer.add(&["w"], &[1.0], 1).unwrap_err();
    assert!(error.to_string().contains("inputs-0.bf16"), "{error}");
}

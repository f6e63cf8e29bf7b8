//! The sum of the products of inputs with themselves.

use std::num::NonZeroUsize;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};

use crate::parallel::each;

/// Columns that are computed together. The sums do not depend on the number of threads, so this does not either.
const COLUMNS: usize = 128;

/// `H = sum x x'`, `[width, width]`.
pub(super) struct Gram {
    pub(super) sums: Array2<f64>,
}

impl Gram {
    pub(super) fn new(width: usize) -> Self {
        Self {
            sums: Array2::zeros((width, width)),
        }
    }

    /// Adds inputs, `[rows, width]`.
    pub(super) fn add(&mut self, inputs: Vec<f32>, threads: NonZeroUsize) {
        let width = self.sums.nrows();
        let rows = inputs.len() / width.max(1);
        let Ok(inputs) = Array2::from_shape_vec((rows, width), inputs) else {
            return;
        };
        let inputs = inputs.view();
        let parts = self.sums.axis_chunks_iter_mut(Axis(1), COLUMNS).enumerate();
        each(parts.collect(), threads, |(part, sums)| {
            add_columns(sums, part * COLUMNS, inputs);
        });
    }
}

/// Adds to the columns from `first` on, but for what is above the diagonal's block: nothing reads it.
fn add_columns(mut sums: ArrayViewMut2<'_, f64>, first: usize, inputs: ArrayView2<'_, f32>) {
    let right = inputs.slice(s![.., first..first + sums.ncols()]);
    let left = inputs.slice(s![.., first..]);
    let products = left.t().dot(&right);
    let mut sums = sums.slice_mut(s![first.., ..]);
    sums.zip_mut_with(&products, |sum, product| *sum += f64::from(*product));
}

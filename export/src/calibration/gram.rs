//! The sum of the products of inputs with themselves.

use std::num::NonZeroUsize;

use ndarray::{Array2, s};

use super::lower::blocks;
use crate::{parallel::each, products::add_product};

/// `H = sum x x'`, `[width, width]`, of the columns of inputs in some order. Only its lower triangle is computed.
pub(super) struct Gram {
    pub(super) sums: Array2<f64>,
    columns: Vec<usize>,
}

impl Gram {
    pub(super) fn new(columns: Vec<usize>) -> Self {
        Self {
            sums: Array2::zeros((columns.len(), columns.len())),
            columns,
        }
    }

    /// Adds inputs, some rows of `width`.
    pub(super) fn add(&mut self, inputs: &[f32], threads: NonZeroUsize) {
        let width = self.columns.len();
        let rows = inputs.len() / width.max(1);
        let inputs = Array2::from_shape_fn((rows, width), |(row, place)| {
            inputs[row * width + self.columns[place]]
        });
        each(blocks(self.sums.view_mut()), threads, |mut block| {
            let (rows, columns) = block.values.dim();
            let left = inputs.slice(s![.., block.row..block.row + rows]);
            let right = inputs.slice(s![.., block.column..block.column + columns]);
            let mut products = Array2::zeros((rows, columns));
            add_product(1.0, left.t(), right, products.view_mut());
            block
                .values
                .zip_mut_with(&products, |sum, &product: &f32| *sum += f64::from(product));
        });
    }
}

//! What an error in one column asks of the columns that follow.

use std::num::NonZeroUsize;

use ndarray::{Array2, Axis, linalg::general_mat_mul, s};

use super::gram::Gram;
use crate::parallel::each;

/// What is added to the diagonal, as a share of its mean: inputs that come are not only those that were seen. As in the
/// authors' code of GPTQ.
const DAMPING: f64 = 0.01;
/// Columns of the matrix that are worked on together.
const BLOCK: usize = 64;

/// The order in which the columns of a weight are rounded, and how errors are carried on.
///
/// With the columns of `H` in that order and `H = T' T`, `T` a lower triangle, the squared error of outputs is
/// `sum_i (sum_(j <= i) T_ij e_j)^2`, where `e_j` is the error of column `j`. So with the errors of the columns before, the
/// best value of column `i` is `w_i + sum_(j < i) T_ij / T_ii e_j`, with `e_j = w_j - q_j`.
#[derive(Debug)]
pub(crate) struct Factor {
    /// The columns, those with the largest inputs first.
    pub(crate) order: Vec<usize>,
    /// `T_ij / T_ii` for `j < i`, by the place in `order`; `[width, width]`.
    pub(crate) carried: Array2<f32>,
    /// The squares of the inputs of each column, summed.
    pub(crate) importance: Vec<f32>,
}

impl Factor {
    /// `None` for inputs that are not finite.
    pub(super) fn new(gram: Gram, threads: NonZeroUsize) -> Option<Self> {
        let sums = gram.sums;
        let width = sums.nrows();
        let diagonal = sums.diag().to_owned();
        if !diagonal.iter().all(|sum| sum.is_finite()) {
            return None;
        }
        let mut order: Vec<usize> = (0..width).collect();
        // A stable sort, so that equal inputs stay in the order of the columns.
        order.sort_by(|&a, &b| diagonal[b].total_cmp(&diagonal[a]));
        let mean = diagonal.mean().unwrap_or(0.0);
        let damping = if mean > 0.0 { DAMPING * mean } else { 1.0 };
        // Backwards, since a Cholesky factor `L` is of `L L'`: then `T_ij` is `L_(n-1-j)(n-1-i)`.
        let mut lower = Array2::from_shape_fn((width, width), |(row, column)| {
            if column > row {
                return 0.0;
            }
            let (a, b) = (order[width - 1 - row], order[width - 1 - column]);
            let sum = sums[[a.max(b), a.min(b)]];
            if row == column { sum + damping } else { sum }
        });
        drop(sums);
        cholesky(&mut lower, threads)?;
        let carried = Array2::from_shape_fn((width, width), |(i, j)| {
            let (row, column) = (width - 1 - j, width - 1 - i);
            match j < i {
                true => (lower[[row, column]] / lower[[column, column]]) as f32,
                false => 0.0,
            }
        });
        Some(Self {
            order,
            carried,
            importance: diagonal.iter().map(|&sum| sum as f32).collect(),
        })
    }
}

/// The lower triangle `L` of `L L'`, in place of that of a symmetric matrix; what is above it is not read. `None` when the
/// matrix is not positive definite.
fn cholesky(matrix: &mut Array2<f64>, threads: NonZeroUsize) -> Option<()> {
    let width = matrix.nrows();
    for first in (0..width).step_by(BLOCK) {
        let end = width.min(first + BLOCK);
        for column in first..end {
            let row = matrix.slice(s![column, first..column]).to_owned();
            let pivot = matrix[[column, column]] - row.dot(&row);
            if pivot.is_nan() || pivot <= 0.0 {
                return None;
            }
            let pivot = pivot.sqrt();
            matrix[[column, column]] = pivot;
            for below in column + 1..width {
                let product = matrix.slice(s![below, first..column]).dot(&row);
                matrix[[below, column]] = (matrix[[below, column]] - product) / pivot;
            }
        }
        let panel = matrix.slice(s![end.., first..end]).to_owned();
        let mut rest = matrix.slice_mut(s![end.., end..]);
        let parts = rest.axis_chunks_iter_mut(Axis(1), BLOCK).enumerate();
        each(parts.collect(), threads, |(part, mut columns)| {
            let from = part * BLOCK;
            let right = panel.slice(s![from..from + columns.ncols(), ..]);
            let left = panel.slice(s![from.., ..]);
            let mut sums = columns.slice_mut(s![from.., ..]);
            general_mat_mul(-1.0, &left, &right.t(), 1.0, &mut sums);
        });
    }
    Some(())
}

//! What an error in one column asks of the columns that follow.

use std::num::NonZeroUsize;

use ndarray::{Array2, Axis, s};

use super::{gram::Gram, lower::cholesky};
use crate::parallel::each;

/// What is added to the diagonal, as a share of its mean: inputs that come are not only those that were seen. As in the
/// authors' code of GPTQ.
const DAMPING: f64 = 0.01;
/// Rows that one task writes.
const ROWS: usize = 64;

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

/// The bytes that it takes to compute one of so many columns: `H` in 64 bits and the factor in 32, beside the factor before.
pub(super) fn memory_needed(width: u64) -> u64 {
    (8 + 4 + 4) * width * width
}

impl Factor {
    /// `squares` are those of the inputs of each column, summed; `gather` adds the inputs to what it gets. `None` for inputs
    /// that are not finite.
    ///
    /// # Errors
    /// Those of `gather`.
    pub(super) fn new<E>(
        squares: &[f64],
        threads: NonZeroUsize,
        gather: impl FnOnce(&mut Gram) -> Result<(), E>,
    ) -> Result<Option<Self>, E> {
        if !squares.iter().all(|sum| sum.is_finite()) {
            return Ok(None);
        }
        let width = squares.len();
        let mut order: Vec<usize> = (0..width).collect();
        // A stable sort, so that equal inputs stay in the order of the columns.
        order.sort_by(|&a, &b| squares[b].total_cmp(&squares[a]));
        // Backwards, since a Cholesky factor `L` is of `L L'`: then `T_ij` is `L_(n-1-j)(n-1-i)`.
        let mut gram = Gram::new(order.iter().rev().copied().collect());
        gather(&mut gram)?;
        let mut lower = gram.sums;
        let mean = squares.iter().sum::<f64>() / width.max(1) as f64;
        let damping = if mean > 0.0 { DAMPING * mean } else { 1.0 };
        lower.diag_mut().map_inplace(|sum| *sum += damping);
        if cholesky(&mut lower, threads).is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            order,
            carried: carried(&lower, threads),
            importance: squares.iter().map(|&sum| sum as f32).collect(),
        }))
    }
}

fn carried(lower: &Array2<f64>, threads: NonZeroUsize) -> Array2<f32> {
    let width = lower.nrows();
    let mut carried = Array2::zeros((width, width));
    let parts = carried.axis_chunks_iter_mut(Axis(0), ROWS).enumerate();
    each(parts.collect(), threads, |(part, mut rows)| {
        let first = part * ROWS;
        let end = first + rows.nrows();
        let columns = width - end..width - first;
        for j in 0..end.saturating_sub(1) {
            let backwards = lower.slice(s![width - 1 - j, columns.clone()]);
            for i in first.max(j + 1)..end {
                let diagonal = lower[[width - 1 - i, width - 1 - i]];
                rows[[i - first, j]] = (backwards[end - 1 - i] / diagonal) as f32;
            }
        }
    });
    carried
}

//! Symmetric matrices, of which only the lower triangle is there.

use std::num::NonZeroUsize;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};

use crate::{parallel::each, products::add_product};

/// Columns and rows of a block that one task computes. The sums do not depend on the number of threads, so these do not
/// either.
const COLUMNS: usize = 256;
const ROWS: usize = 512;
/// Columns that are eliminated one after the other.
const FEW: usize = 32;

/// A part of a matrix.
pub(super) struct Block<'a> {
    /// Where it begins.
    pub(super) row: usize,
    pub(super) column: usize,
    pub(super) values: ArrayViewMut2<'a, f64>,
}

/// The blocks of the lower triangle, or trapezoid: a little of what is above the diagonal is in them.
pub(super) fn blocks(matrix: ArrayViewMut2<'_, f64>) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut rest = matrix;
    let mut column = 0;
    while rest.ncols() > 0 {
        let count = rest.ncols().min(COLUMNS);
        let (strip, others) = rest.split_at(Axis(1), count);
        rest = others;
        let (_, mut strip) = strip.split_at(Axis(0), column);
        let mut row = column;
        while strip.nrows() > 0 {
            let count = strip.nrows().min(ROWS);
            let (values, below) = strip.split_at(Axis(0), count);
            strip = below;
            blocks.push(Block {
                row,
                column,
                values,
            });
            row += count;
        }
        column += count;
    }
    blocks
}

/// The lower triangle `L` of `L L'`, in place of that of a symmetric matrix; what is above it is not read. `None` when the
/// matrix is not positive definite.
pub(super) fn cholesky(matrix: &mut Array2<f64>, threads: NonZeroUsize) -> Option<()> {
    eliminate(matrix.view_mut(), threads)
}

/// The first columns of a matrix, from the diagonal down: the left half first, then the right one without what the left one
/// accounts for.
fn eliminate(mut columns: ArrayViewMut2<'_, f64>, threads: NonZeroUsize) -> Option<()> {
    let count = columns.ncols();
    if count <= FEW {
        return eliminate_few(columns, threads);
    }
    let half = (count / 2).next_multiple_of(FEW);
    eliminate(columns.slice_mut(s![.., ..half]), threads)?;
    let (left, right) = columns.split_at(Axis(1), half);
    let left = left.slice(s![half.., ..]);
    let (_, mut right) = right.split_at(Axis(0), half);
    each(blocks(right.view_mut()), threads, |block| {
        let (rows, columns) = block.values.dim();
        let rows = left.slice(s![block.row..block.row + rows, ..]);
        let columns = left.slice(s![block.column..block.column + columns, ..]);
        add_product(-1.0, rows, columns.t(), block.values);
    });
    eliminate(right, threads)
}

fn eliminate_few(columns: ArrayViewMut2<'_, f64>, threads: NonZeroUsize) -> Option<()> {
    let count = columns.ncols();
    let (mut top, mut below) = columns.split_at(Axis(0), count);
    for column in 0..count {
        for row in column..count {
            let known = top.slice(s![row, ..column]);
            let left = top[[row, column]] - known.dot(&top.slice(s![column, ..column]));
            top[[row, column]] = match row == column {
                true if left > 0.0 => left.sqrt(),
                true => return None,
                false => left / top[[column, column]],
            };
        }
    }
    let inverse = inverse(top.view());
    let parts = below.axis_chunks_iter_mut(Axis(0), ROWS);
    each(parts.collect(), threads, |mut rows| {
        let before = rows.to_owned();
        rows.fill(0.0);
        add_product(1.0, before.view(), inverse.t(), rows);
    });
    Some(())
}

/// That of a small lower triangle.
fn inverse(lower: ArrayView2<'_, f64>) -> Array2<f64> {
    let size = lower.nrows();
    let mut inverse = Array2::zeros((size, size));
    for column in 0..size {
        inverse[[column, column]] = 1.0 / lower[[column, column]];
        for row in column + 1..size {
            let known = lower.slice(s![row, column..row]);
            let sum: f64 = known.dot(&inverse.slice(s![column..row, column]));
            inverse[[row, column]] = -sum / lower[[row, row]];
        }
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::tests::values;

    fn lower(width: usize) -> Array2<f64> {
        let numbers = values(width * width, 5);
        Array2::from_shape_fn((width, width), |(row, column)| {
            let number = f64::from(numbers[row * width + column]);
            match row.cmp(&column) {
                std::cmp::Ordering::Less => 0.0,
                std::cmp::Ordering::Equal => 10.0 + number,
                std::cmp::Ordering::Greater => number / 4.0,
            }
        })
    }

    /// From one column to more than two blocks in both directions.
    #[test]
    fn a_factor_is_found_again() {
        for width in [1, 31, 33, 65, 255, 257, 700, 1100] {
            let expected = lower(width);
            let mut matrix = expected.dot(&expected.t());
            // Nothing reads what is above the diagonal.
            for row in 0..width {
                matrix.slice_mut(s![row, row + 1..]).fill(f64::NAN);
            }
            let threads = NonZeroUsize::new(3).unwrap_or(NonZeroUsize::MIN);
            assert_eq!(cholesky(&mut matrix, threads), Some(()), "{width}");
            for row in 0..width {
                for column in 0..=row {
                    let (found, expected) = (matrix[[row, column]], expected[[row, column]]);
                    assert!(
                        (found - expected).abs() < 1e-9,
                        "{width}: {found} and not {expected} at {row}, {column}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite() {
        for width in [1, 40, 300] {
            let mut matrix = Array2::eye(width);
            matrix[[width - 1, width - 1]] = 0.0;
            assert_eq!(cholesky(&mut matrix, NonZeroUsize::MIN), None, "{width}");
        }
    }

    #[test]
    fn blocks_are_the_lower_triangle() {
        let mut matrix = Array2::<f64>::zeros((1200, 600));
        for mut block in blocks(matrix.view_mut()) {
            block.values.map_inplace(|value| *value += 1.0);
        }
        for ((row, column), &value) in matrix.indexed_iter() {
            if row >= column {
                assert!((value - 1.0).abs() < f64::EPSILON, "{row}, {column}");
            }
        }
    }
}

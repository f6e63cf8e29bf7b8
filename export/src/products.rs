//! Products of matrices, each on the calling thread.

use gemm::{Parallelism, gemm};
use ndarray::{ArrayView2, ArrayViewMut2};

/// `sums += factor * left . right`, for floats of 32 or 64 bits.
///
/// # Panics
/// When the matrices do not fit each other.
#[allow(unsafe_code)]
pub(crate) fn add_product<T: Copy + From<u8> + 'static>(
    factor: T,
    left: ArrayView2<'_, T>,
    right: ArrayView2<'_, T>,
    mut sums: ArrayViewMut2<'_, T>,
) {
    let (rows, inner) = left.dim();
    let columns = right.ncols();
    assert_eq!((right.nrows(), sums.dim()), (inner, (rows, columns)));
    let (left_strides, right_strides) = (strides(left.strides()), strides(right.strides()));
    let sums_strides = strides(sums.strides());
    // SAFETY: the pointers and strides are those of views, whose sizes were compared; `sums` is borrowed alone.
    unsafe {
        gemm(
            rows,
            columns,
            inner,
            sums.as_mut_ptr(),
            sums_strides.1,
            sums_strides.0,
            true,
            left.as_ptr(),
            left_strides.1,
            left_strides.0,
            right.as_ptr(),
            right_strides.1,
            right_strides.0,
            T::from(1),
            factor,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// From row to row and from column to column.
fn strides(of: &[isize]) -> (isize, isize) {
    (of[0], of[1])
}

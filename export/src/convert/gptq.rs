//! Weights as integers whose products with given inputs are near those of the weights.

use ndarray::{Array2, ArrayViewMut1, Zip, linalg::general_mat_mul, s};

use super::{
    blocks::{Blocks, channel_grid},
    grid::Grid,
    job::Encoding,
};
use crate::calibration::Factor;

/// Columns after which errors are carried on to all that follow.
const COLUMNS: usize = 64;

/// Encodes rows of `width` values, as [`Encoding::encode`] does, with errors that are carried from column to column.
pub(super) fn encode(
    encoding: Encoding,
    factor: &Factor,
    values: &[f32],
    width: usize,
    outputs: &mut [&mut [u8]],
) {
    let rows = values.len() / width;
    match (encoding, outputs) {
        (Encoding::Channels, [integers, scales, zero_points]) => {
            zero_points.fill(0);
            let scales = scales.chunks_exact_mut(4);
            let grids: Vec<Grid> = values
                .chunks_exact(width)
                .zip(scales)
                .map(|(row, scale)| channel_grid(row, scale))
                .collect();
            integers.copy_from_slice(&rounded(factor, values, width, |_, row| grids[row]));
        }
        (Encoding::Blocks(blocks), [integers, scales, zero_points @ ..]) => {
            let scales = scales.chunks_exact_mut(scales.len() / rows);
            let mut grids = Vec::new();
            for (row, scales) in values.chunks_exact(width).zip(scales) {
                grids.extend(blocks.grids(row, &factor.importance, scales));
            }
            let in_row = grids.len() / rows;
            let size = blocks.size as usize;
            let found = rounded(factor, values, width, |column, row| {
                grids[row * in_row + column / size].0
            });
            let zero_points = zero_points.first_mut();
            let mut zero_points = zero_points.into_iter().flat_map(|all| {
                let bytes = all.len() / rows;
                all.chunks_exact_mut(bytes)
            });
            let integers = integers.chunks_exact_mut(integers.len() / rows);
            let rows = found.chunks_exact(width).zip(grids.chunks_exact(in_row));
            for ((found, grids), integers) in rows.zip(integers) {
                let zero_points = zero_points.next().unwrap_or_default();
                put_row(&blocks, found, grids, integers, zero_points);
            }
        }
        _ => {}
    }
}

/// Writes the integers and zero points of a row.
fn put_row(
    blocks: &Blocks,
    row: &[u8],
    grids: &[(Grid, u8)],
    integers: &mut [u8],
    zero_points: &mut [u8],
) {
    zero_points.fill(0);
    let size = blocks.size as usize;
    let integers = integers.chunks_mut(size * blocks.bits.count() as usize / 8);
    for (index, ((row, (_, zero_point)), integers)) in
        row.chunks(size).zip(grids).zip(integers).enumerate()
    {
        let base = blocks.base(*zero_point);
        let mut block = vec![base; size];
        for (stored, integer) in block.iter_mut().zip(row) {
            *stored = integer.wrapping_add(base);
        }
        blocks.pack(&block, integers);
        blocks.put_zero_point(index, *zero_point, zero_points);
    }
}

/// The integers of rows of `width` values, on grids by column and row.
fn rounded(
    factor: &Factor,
    values: &[f32],
    width: usize,
    grid: impl Fn(usize, usize) -> Grid,
) -> Vec<u8> {
    let rows = values.len() / width;
    let Factor { order, carried, .. } = factor;
    let mut integers = vec![0; values.len()];
    // By column, in the order of rounding.
    let mut errors = Array2::<f32>::zeros((width, rows));
    let mut wanted = Array2::<f32>::zeros((COLUMNS, rows));
    for first in (0..width).step_by(COLUMNS) {
        let end = width.min(first + COLUMNS);
        let mut wanted = wanted.slice_mut(s![..end - first, ..]);
        let before = errors.slice(s![..first, ..]);
        let carried_on = carried.slice(s![first..end, ..first]);
        general_mat_mul(1.0, &carried_on, &before, 0.0, &mut wanted);
        for place in first..end {
            let column = order[place];
            let mut wanted = wanted.row_mut(place - first);
            for before in first..place {
                add(&mut wanted, carried[[place, before]], errors.row(before));
            }
            for (row, (wanted, error)) in wanted.iter().zip(errors.row_mut(place)).enumerate() {
                let at = row * width + column;
                let (nearest, integer) = grid(column, row).nearest(values[at] + wanted);
                integers[at] = integer;
                *error = values[at] - nearest;
            }
        }
    }
    integers
}

fn add(sums: &mut ArrayViewMut1<'_, f32>, factor: f32, values: ndarray::ArrayView1<'_, f32>) {
    Zip::from(sums)
        .and(&values)
        .for_each(|sum, value| *sum += factor * value);
}

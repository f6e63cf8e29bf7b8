//! Weights as integers whose products with given inputs are near those of the weights.

use std::ops::Range;

use ndarray::{Array2, s};

use super::{
    blocks::{Blocks, channel_grid},
    grid::Grid,
    job::Encoding,
};
use crate::{calibration::Factor, products::add_product};

/// Columns whose errors are carried from one to the other.
const COLUMNS: usize = 16;

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
    let mut rounding = Rounding {
        factor,
        values,
        grid,
        errors: Array2::zeros((width, rows)),
        wanted: Array2::zeros((width, rows)),
        integers: vec![0; values.len()],
    };
    rounding.round(0..width);
    rounding.integers
}

/// Rows that are being rounded.
struct Rounding<'a, G> {
    factor: &'a Factor,
    values: &'a [f32],
    grid: G,
    /// By column, in the order of rounding.
    errors: Array2<f32>,
    /// What the errors so far ask of each column.
    wanted: Array2<f32>,
    integers: Vec<u8>,
}

impl<G: Fn(usize, usize) -> Grid> Rounding<'_, G> {
    /// Rounds some columns, by the place in the order: those of the first half, whose errors are carried on to the second.
    fn round(&mut self, places: Range<usize>) {
        let Range { start, end } = places;
        if places.len() <= COLUMNS {
            for place in places {
                self.round_one(start, place);
            }
            return;
        }
        let half = start + (places.len() / 2).next_multiple_of(COLUMNS);
        self.round(start..half);
        add_product(
            1.0,
            self.factor.carried.slice(s![half..end, start..half]),
            self.errors.slice(s![start..half, ..]),
            self.wanted.slice_mut(s![half..end, ..]),
        );
        self.round(half..end);
    }

    /// Rounds one column, after the errors of those from `first` on are carried on to it.
    fn round_one(&mut self, first: usize, place: usize) {
        let Factor { order, carried, .. } = self.factor;
        let (width, column) = (order.len(), order[place]);
        let mut wanted = self.wanted.row_mut(place);
        for before in first..place {
            wanted.scaled_add(carried[[place, before]], &self.errors.row(before));
        }
        let mut errors = self.errors.row_mut(place);
        for (row, (wanted, error)) in wanted.iter().zip(&mut errors).enumerate() {
            let at = row * width + column;
            let (nearest, integer) = (self.grid)(column, row).nearest(self.values[at] + wanted);
            self.integers[at] = integer;
            *error = self.values[at] - nearest;
        }
    }
}

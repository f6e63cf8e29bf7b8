//! Rotates one tensor after the other.

use std::{fs::File, num::NonZeroUsize, os::unix::fs::FileExt, path::Path};

use worldpm_ort_bundle::{
    Overflow,
    files::open_regular,
    float_type::{self, FloatType},
    manifest::OverflowedTensor,
};

use super::{part::Part, rotation::Rotation};
use crate::{
    checkpoint::{Checkpoint, TensorEntry},
    error::{Error, Result},
    output::output_error,
    parallel::each,
};

/// Seeds of the rotations.
const STREAM_SEED: u64 = 0;
const HEADS_SEED: u64 = 1;
/// Values of a tensor that are worked on together, where its rows do not depend on each other.
const CHUNK: usize = 1 << 22;
/// Rows that a thread takes at a time.
const ROWS: usize = 16;

/// Where a tensor goes: the file, its path, and the first byte.
type Place<'a> = (&'a File, &'a Path, u64);

/// Rotates the tensors of a checkpoint.
pub(super) struct Rotating<'a> {
    checkpoint: &'a Checkpoint,
    to: FloatType,
    threads: NonZeroUsize,
    stream: Rotation,
    heads: Rotation,
}

impl<'a> Rotating<'a> {
    pub(super) fn new(checkpoint: &'a Checkpoint, to: FloatType, threads: NonZeroUsize) -> Self {
        let config = checkpoint.config();
        Self {
            checkpoint,
            to,
            threads,
            stream: Rotation::new(config.hidden_size, STREAM_SEED),
            heads: Rotation::new(config.head_dim, HEADS_SEED),
        }
    }

    /// Writes the tensor of this name, rotated.
    pub(super) fn write(&self, name: &str, entry: &TensorEntry, place: Place<'_>) -> Result<()> {
        let Some(float) = FloatType::of(entry.dtype) else {
            return self.copy(entry, place);
        };
        let tensor = Tensor {
            name,
            entry,
            float,
            path: self.path(entry),
        };
        let stream = |row: &mut [f32]| self.stream.apply(row);
        let heads = |row: &mut [f32]| self.heads.apply(row);
        match Part::of(name) {
            Part::Same => self.by_rows(&tensor, &|_| {}, place),
            Part::Norm => self.by_rows(&tensor, &|row| row.fill(1.0), place),
            Part::Embedding | Part::WriterBias => self.by_rows(&tensor, &stream, place),
            Part::ValueBias => self.by_rows(&tensor, &heads, place),
            Part::Reader { norm } => {
                let norm = self.norm(&norm)?;
                self.by_rows(&tensor, &|row| self.read_behind(&norm, row), place)
            }
            Part::ValueReader { norm } => {
                let norm = self.norm(&norm)?;
                let row = |row: &mut [f32]| self.read_behind(&norm, row);
                self.whole(&tensor, &row, &heads, place)
            }
            Part::HeadsWriter => self.whole(&tensor, &heads, &stream, place),
            Part::Writer => self.whole(&tensor, &|_| {}, &stream, place),
        }
    }

    /// The row of a weight that reads the stream behind a norm.
    fn read_behind(&self, norm: &[f32], row: &mut [f32]) {
        for (value, norm) in row.iter_mut().zip(norm) {
            *value *= norm;
        }
        self.stream.apply(row);
    }

    fn norm(&self, name: &str) -> Result<Vec<f32>> {
        let width = self.checkpoint.config().hidden_size as u64;
        let entry = self.checkpoint.tensor(name, &[width])?;
        let float = FloatType::of(entry.dtype).unwrap_or(FloatType::F32);
        let path = self.path(entry);
        Tensor {
            name,
            entry,
            float,
            path,
        }
        .values(0, width as usize)
    }

    fn path(&self, entry: &TensorEntry) -> &Path {
        let file = self.checkpoint.files().get(entry.file);
        file.map_or(Path::new(""), |file| &file.path)
    }

    /// A tensor whose rows are changed one by one.
    fn by_rows(
        &self,
        tensor: &Tensor<'_>,
        change: &(dyn Fn(&mut [f32]) + Sync),
        place: Place<'_>,
    ) -> Result<()> {
        let (count, width) = tensor.size();
        let rows = (CHUNK / width.max(1)).max(1);
        let mut first = 0;
        while first < count {
            let rows = rows.min(count - first);
            let mut values = tensor.values(first * width, rows * width)?;
            self.each_row(&mut values, width, change);
            self.put(tensor, first * width, &mut values, place)?;
            first += rows;
        }
        Ok(())
    }

    /// A tensor whose rows are changed, and then its columns.
    fn whole(
        &self,
        tensor: &Tensor<'_>,
        row: &(dyn Fn(&mut [f32]) + Sync),
        column: &(dyn Fn(&mut [f32]) + Sync),
        place: Place<'_>,
    ) -> Result<()> {
        let (count, width) = tensor.size();
        let mut values = tensor.values(0, count * width)?;
        self.each_row(&mut values, width, row);
        let mut columns = self.transposed(&values, width);
        self.each_row(&mut columns, count, column);
        let mut values = self.transposed(&columns, count);
        self.put(tensor, 0, &mut values, place)
    }

    fn each_row(&self, values: &mut [f32], width: usize, change: &(dyn Fn(&mut [f32]) + Sync)) {
        let width = width.max(1);
        let parts = values.chunks_mut(ROWS * width).collect();
        each(parts, self.threads, |rows: &mut [f32]| {
            rows.chunks_exact_mut(width).for_each(change);
        });
    }

    /// The transpose of a matrix of this width.
    fn transposed(&self, values: &[f32], width: usize) -> Vec<f32> {
        let rows = values.len() / width.max(1);
        let mut transposed = vec![0.0; values.len()];
        let parts = transposed.chunks_mut(ROWS * rows.max(1)).enumerate();
        each(parts.collect(), self.threads, |(part, columns)| {
            // A few columns at a time, so that what is read of a row is read once.
            for (row, values) in values.chunks_exact(width).enumerate() {
                let values = values.iter().skip(part * ROWS);
                for (column, value) in columns.chunks_exact_mut(rows).zip(values) {
                    column[row] = *value;
                }
            }
        });
        transposed
    }

    fn put(
        &self,
        tensor: &Tensor<'_>,
        first: usize,
        values: &mut [f32],
        (file, path, offset): Place<'_>,
    ) -> Result<()> {
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(tensor.fault(format!(
                "has values that are too large to be rotated (element {} of the result)",
                first + at
            )));
        }
        let mut bytes = vec![0; values.len() * self.to.bytes()];
        let overflowed = float_type::encode(self.to, values, &mut bytes, Overflow::Refuse);
        if overflowed.count > 0 {
            return Err(Error::Overflow {
                tensors: vec![OverflowedTensor {
                    tensor: tensor.name.to_owned(),
                    count: overflowed.count,
                    largest: overflowed.largest,
                }],
            });
        }
        let to = offset + (first * self.to.bytes()) as u64;
        file.write_all_at(&bytes, to)
            .map_err(|error| output_error(path, "write it", error))
    }

    /// A tensor of other numbers.
    fn copy(&self, entry: &TensorEntry, (file, path, offset): Place<'_>) -> Result<()> {
        let source = self.path(entry);
        let fault = |error| Error::io("read", source, error);
        let mut bytes = vec![0; entry.bytes as usize];
        let opened = open_regular(source).map_err(fault)?;
        opened
            .read_exact_at(&mut bytes, entry.offset)
            .map_err(fault)?;
        file.write_all_at(&bytes, offset)
            .map_err(|error| output_error(path, "write it", error))
    }
}

/// A tensor of floats of the checkpoint.
struct Tensor<'a> {
    name: &'a str,
    entry: &'a TensorEntry,
    float: FloatType,
    path: &'a Path,
}

impl Tensor<'_> {
    /// Rows, and values of each.
    fn size(&self) -> (usize, usize) {
        let width = self.entry.shape.last().copied().unwrap_or(1) as usize;
        let elements = self.entry.shape.iter().product::<u64>() as usize;
        (elements / width.max(1), width)
    }

    /// Some of its values.
    fn values(&self, first: usize, count: usize) -> Result<Vec<f32>> {
        let fault = |error| Error::io("read", self.path, error);
        let bytes = self.float.bytes();
        let mut read = vec![0; count * bytes];
        let file = open_regular(self.path).map_err(fault)?;
        let from = self.entry.offset + (first * bytes) as u64;
        file.read_exact_at(&mut read, from).map_err(fault)?;
        if let Some(at) = float_type::first_not_finite(self.float, &read) {
            return Err(self.fault(format!(
                "the value {} is infinite or not a number",
                first + at
            )));
        }
        let mut values = vec![0.0; count];
        float_type::decode(self.float, &read, &mut values);
        Ok(values)
    }

    fn fault(&self, problem: String) -> Error {
        Error::Tensor {
            tensor: self.name.to_owned(),
            file: self.path.display().to_string(),
            problem,
        }
    }
}

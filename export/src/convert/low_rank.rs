//! Adds `scale * left @ right` to a matrix, a range of its elements at a time.

use std::{
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use worldpm_ort_bundle::{
    files::open_regular,
    float_type::{self, FloatType},
    safetensors::HeaderTensor,
};

use crate::{
    checkpoint::adapter::Update,
    error::{Error, Result},
};

/// Columns that are worked on together: `right` is read once for all rows of a chunk, from the nearer caches.
const TILE: usize = 512;
/// Rows of `right` that are added together, so that the sums stay in registers.
const LANES: usize = 4;

/// An update of low rank, in the file of an adapter. Its factors are in memory only while someone holds them.
#[derive(Debug)]
pub(crate) struct LowRank {
    path: PathBuf,
    update: Update,
    factors: Mutex<Weak<Factors>>,
}

/// The factors of an update, as 32-bit floats in rows.
#[derive(Debug, PartialEq)]
pub(crate) struct Factors {
    /// `[rows, rank]`.
    left: Vec<f32>,
    /// `[rank, columns]`.
    right: Vec<f32>,
    rank: usize,
    columns: usize,
    scale: f32,
}

impl LowRank {
    /// An update in the file at `path`.
    pub(crate) fn new(path: &Path, update: &Update) -> Self {
        Self {
            path: path.to_owned(),
            update: update.clone(),
            factors: Mutex::default(),
        }
    }

    /// The file that it is in.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its factors, which are read unless someone holds them.
    ///
    /// # Errors
    /// [`Error::Bundle`] when the file cannot be read.
    pub(super) fn factors(&self) -> Result<Arc<Factors>> {
        let mut held = self.factors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(factors) = held.upgrade() {
            return Ok(factors);
        }
        let factors = Arc::new(self.read()?);
        *held = Arc::downgrade(&factors);
        Ok(factors)
    }

    fn read(&self) -> Result<Factors> {
        let fault = |source| Error::io("read", &self.path, source);
        let file = open_regular(&self.path).map_err(fault)?;
        let values = |tensor: &HeaderTensor| -> Result<Vec<f32>> {
            let Some(float) = FloatType::of(tensor.dtype) else {
                return Err(fault(std::io::ErrorKind::InvalidData.into()));
            };
            let mut bytes = vec![0; tensor.bytes as usize];
            file.read_exact_at(&mut bytes, tensor.offset)
                .map_err(fault)?;
            let mut values = vec![0.0; bytes.len() / float.bytes()];
            float_type::decode(float, &bytes, &mut values);
            Ok(values)
        };
        let Update {
            a,
            b,
            embedding,
            rank,
            scale,
        } = &self.update;
        let (a, b) = (values(a)?, values(b)?);
        let (left, right) = match embedding {
            false => (b, a),
            true => (transposed(&a, *rank), transposed(&b, b.len() / rank)),
        };
        Ok(Factors {
            columns: right.len() / rank,
            left,
            right,
            rank: *rank,
            scale: *scale,
        })
    }
}

/// The transpose of a matrix of `rows` rows.
fn transposed(matrix: &[f32], rows: usize) -> Vec<f32> {
    let columns = matrix.len() / rows;
    (0..columns)
        .flat_map(|column| matrix.iter().skip(column).step_by(columns))
        .copied()
        .collect()
}

impl Factors {
    /// Adds the update to `values`, the elements of the matrix from `first` on, in the order of its rows.
    ///
    /// Each element is summed in the order of the rank, whatever else is in `values`, so its bits do not depend on
    /// how the matrix is divided.
    pub(super) fn add(&self, first: usize, values: &mut [f32]) {
        let columns = self.columns;
        let end = first + values.len();
        let rows = first / columns..end.div_ceil(columns);
        let mut sums = [0.0; TILE];
        for tile in (0..columns).step_by(TILE) {
            for row in rows.clone() {
                let start = row * columns;
                let from = (start + tile).max(first);
                let to = (start + columns.min(tile + TILE)).min(end);
                if from >= to {
                    continue;
                }
                let (Some(values), Some(left), Some(sums)) = (
                    values.get_mut(from - first..to - first),
                    self.left.get(row * self.rank..(row + 1) * self.rank),
                    sums.get_mut(..to - from),
                ) else {
                    continue;
                };
                self.product(left, from - start, sums);
                for (value, sum) in values.iter_mut().zip(sums) {
                    *value += self.scale * *sum;
                }
            }
        }
    }

    /// `left @ right`, the columns from `column` on.
    fn product(&self, left: &[f32], column: usize, sums: &mut [f32]) {
        sums.fill(0.0);
        let width = sums.len();
        let row = |number: usize| {
            let start = number * self.columns + column;
            self.right.get(start..start + width).unwrap_or_default()
        };
        let (groups, rest) = left.as_chunks::<LANES>();
        for (group, factors) in groups.iter().enumerate() {
            let [a, b, c, d] = std::array::from_fn(|lane| row(group * LANES + lane));
            let terms = a.iter().zip(b).zip(c).zip(d);
            for (sum, (((a, b), c), d)) in sums.iter_mut().zip(terms) {
                *sum = *sum + factors[0] * a + factors[1] * b + factors[2] * c + factors[3] * d;
            }
        }
        let done = groups.len() * LANES;
        for (number, factor) in rest.iter().enumerate() {
            for (sum, value) in sums.iter_mut().zip(row(done + number)) {
                *sum += factor * value;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from((state >> 16) as u16) / 32768.0 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    proptest! {
        /// Against a plain product in double precision; and the same bits however the matrix is divided.
        #[test]
        fn sums(
            rows in 1_usize..6,
            columns in prop_oneof![1_usize..9, Just(TILE), TILE - 3..3 * TILE],
            rank in 1_usize..12,
            step in 1_usize..4000,
            seed in any::<u32>(),
        ) {
            let factors = Factors {
                left: values(rows * rank, seed),
                right: values(rank * columns, seed ^ 1),
                rank,
                columns,
                scale: 1.5,
            };
            let base = values(rows * columns, seed ^ 2);
            let mut whole = base.clone();
            factors.add(0, &mut whole);
            for (at, (sum, base)) in whole.iter().zip(&base).enumerate() {
                let term = |k: usize| {
                    f64::from(factors.left[at / columns * rank + k])
                        * f64::from(factors.right[k * columns + at % columns])
                };
                let expected = f64::from(*base) + 1.5 * (0..rank).map(term).sum::<f64>();
                prop_assert!((f64::from(*sum) - expected).abs() < 1e-5, "{at}: {sum}, not {expected}");
            }
            let mut parts = base;
            for (number, part) in parts.chunks_mut(step).enumerate() {
                factors.add(number * step, part);
            }
            prop_assert!(parts == whole);
        }
    }

    #[test]
    fn transposes() {
        let matrix = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!(transposed(&matrix, 2), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }

    /// Factors are shared while they are held, and read again afterwards.
    #[test]
    fn held_factors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("adapter");
        let bytes: Vec<u8> = values(9, 1).iter().flat_map(|v| v.to_le_bytes()).collect();
        std::fs::write(&path, bytes).unwrap();
        let tensor = |shape: [u64; 2], offset| HeaderTensor {
            name: "x".into(),
            dtype: worldpm_ort_bundle::safetensors::Dtype::F32,
            shape: shape.to_vec(),
            offset,
            bytes: shape[0] * shape[1] * 4,
        };
        let update = Update {
            a: tensor([1, 4], 0),
            b: tensor([5, 1], 16),
            embedding: false,
            rank: 1,
            scale: 2.0,
        };
        let update = LowRank::new(&path, &update);
        let held = update.factors().unwrap();
        assert!(Arc::ptr_eq(&held, &update.factors().unwrap()));
        assert_eq!((held.left.len(), held.right.len(), held.columns), (5, 4, 4));
        std::fs::write(&path, [0; 30]).unwrap();
        update.factors().unwrap();
        drop(held);
        let error = update.factors().unwrap_err();
        assert!(
            matches!(error, Error::Bundle(worldpm_ort_bundle::Error::Io { path, .. }) if path.ends_with("adapter"))
        );
    }
}

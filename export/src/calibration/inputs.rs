//! The inputs of some layers, in a file.

use std::{
    fs::File,
    io::{self, Read},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use half::{bf16, slice::HalfFloatSliceExt};

use super::{factor::Factor, gram::Gram};
use crate::error::{Error, Result};

/// Rows that are read at a time.
const ROWS: usize = 512;

/// Inputs of linear layers, in a file. What is made of them is in memory only while someone holds it.
#[derive(Debug)]
pub(crate) struct LayerInputs {
    path: PathBuf,
    width: usize,
    rows: u64,
    factor: Mutex<Weak<Factor>>,
}

impl LayerInputs {
    pub(super) fn new(path: PathBuf, width: usize, rows: u64) -> Self {
        Self {
            path,
            width,
            rows,
            factor: Mutex::default(),
        }
    }

    /// Numbers of an input.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// What to round with, which is computed on `threads` threads unless someone holds it.
    ///
    /// # Errors
    /// [`Error::Bundle`] when the file cannot be read, [`Error::Calibration`] for inputs that are not finite.
    pub(crate) fn factor(&self, threads: NonZeroUsize) -> Result<Arc<Factor>> {
        let mut held = self.factor.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(factor) = held.upgrade() {
            return Ok(factor);
        }
        let factor =
            Factor::new(self.gram(threads)?, threads).ok_or_else(|| Error::Calibration {
                problem: format!(
                    "{} has inputs of a layer that are infinite or not numbers",
                    self.path.display()
                ),
            })?;
        let factor = Arc::new(factor);
        *held = Arc::downgrade(&factor);
        Ok(factor)
    }

    fn gram(&self, threads: NonZeroUsize) -> Result<Gram> {
        let mut gram = Gram::new(self.width);
        let mut file = File::open(&self.path).map_err(at(&self.path))?;
        let mut left = self.rows;
        while left > 0 {
            let rows = left.min(ROWS as u64) as usize;
            let mut bytes = vec![0; rows * self.width * size_of::<bf16>()];
            file.read_exact(&mut bytes).map_err(at(&self.path))?;
            let pairs = bytes.as_chunks::<2>().0;
            let numbers: Vec<bf16> = pairs
                .iter()
                .map(|pair| bf16::from_le_bytes(*pair))
                .collect();
            let mut values = vec![0.0; numbers.len()];
            numbers.convert_to_f32_slice(&mut values);
            gram.add(values, threads);
            left -= rows as u64;
        }
        Ok(gram)
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> Error {
    move |error| Error::io("read", path, error)
}

//! The inputs of some layers, in a file.

use std::{
    fs::File,
    io::{self, Read},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use half::bf16;
use worldpm_ort_bundle::float_type::{self, FloatType};

use super::factor::Factor;
use crate::error::{Error, Result};

/// Rows that are read at a time.
const ROWS: usize = 1024;

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
        let mut squares = vec![0.0; self.width];
        self.read(|inputs| {
            for row in inputs.chunks_exact(self.width) {
                for (sum, &input) in squares.iter_mut().zip(row) {
                    *sum += f64::from(input) * f64::from(input);
                }
            }
        })?;
        let found = Factor::new(&squares, threads, |gram| {
            self.read(|inputs| gram.add(inputs, threads))
        })?;
        let factor = found.ok_or_else(|| Error::Calibration {
            problem: format!(
                "{} has inputs of a layer that are infinite or not numbers",
                self.path.display()
            ),
        })?;
        let factor = Arc::new(factor);
        *held = Arc::downgrade(&factor);
        Ok(factor)
    }

    /// Calls `take` with some rows of inputs at a time.
    fn read(&self, mut take: impl FnMut(&[f32])) -> Result<()> {
        let mut file = File::open(&self.path).map_err(at(&self.path))?;
        let mut left = self.rows;
        let (mut bytes, mut values) = (Vec::new(), Vec::new());
        while left > 0 {
            let rows = left.min(ROWS as u64) as usize;
            bytes.resize(rows * self.width * size_of::<bf16>(), 0);
            file.read_exact(&mut bytes).map_err(at(&self.path))?;
            values.resize(rows * self.width, 0.0);
            float_type::decode(FloatType::Bf16, &bytes, &mut values);
            take(&values);
            left -= rows as u64;
        }
        Ok(())
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> Error {
    move |error| Error::io("read", path, error)
}

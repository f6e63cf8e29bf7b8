//! Gathers inputs of linear layers in files.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Write},
    mem,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use half::{bf16, slice::HalfFloatSliceExt};
use worldpm_ort_bundle::manifest::CalibrationData;

use super::{gathered::Calibration, inputs::LayerInputs};

/// Puts inputs of linear layers into files, as bfloat16 numbers: one file for the layers that have the same inputs.
#[derive(Debug)]
pub struct CalibrationWriter {
    directory: PathBuf,
    files: Mutex<HashMap<String, Open>>,
}

#[derive(Debug)]
struct Open {
    weights: Vec<String>,
    path: PathBuf,
    file: File,
    width: usize,
    rows: u64,
}

impl CalibrationWriter {
    /// Begins in an empty directory.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            files: Mutex::default(),
        }
    }

    /// Takes `inputs`, `[tokens, width]`, of the layers with these weights.
    ///
    /// # Errors
    /// What the system says when they cannot be written, with the name of the file; or that the layers had inputs of another
    /// width before.
    pub fn add(&self, weights: &[&str], inputs: &[f32], width: usize) -> io::Result<()> {
        let Some(&first) = weights.first() else {
            return Ok(());
        };
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let count = files.len();
        let open = match files.get_mut(first) {
            Some(open) => open,
            None => {
                let path = self.directory.join(format!("inputs-{count}.bf16"));
                let file = File::create_new(&path).map_err(at(&path))?;
                files.entry(first.to_owned()).or_insert(Open {
                    weights: weights.iter().map(|&name| name.to_owned()).collect(),
                    path,
                    file,
                    width,
                    rows: 0,
                })
            }
        };
        if open.width != width || width == 0 || !inputs.len().is_multiple_of(width) {
            let problem = format!(
                "{} inputs of {width} for {first}, which has inputs of {}",
                inputs.len(),
                open.width
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        let mut numbers = vec![bf16::ZERO; inputs.len()];
        numbers.convert_from_f32_slice(inputs);
        let bytes: Vec<u8> = numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        open.file.write_all(&bytes).map_err(at(&open.path))?;
        open.rows += (inputs.len() / width) as u64;
        Ok(())
    }

    /// Ends. `data` says what the inputs are of. What is taken afterwards is of another calibration.
    #[must_use]
    pub fn finish(&self, data: CalibrationData) -> Calibration {
        let files = mem::take(&mut *self.files.lock().unwrap_or_else(PoisonError::into_inner));
        let mut inputs = HashMap::new();
        for open in files.into_values() {
            let gathered = Arc::new(LayerInputs::new(open.path, open.width, open.rows));
            let weights = open.weights.into_iter();
            inputs.extend(weights.map(|weight| (weight, Arc::clone(&gathered))));
        }
        Calibration {
            data,
            inputs,
            directory: self.directory.clone(),
        }
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

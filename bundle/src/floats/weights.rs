//! A weight that is stored as 16-bit floats: where its bytes are, and reading it as 32-bit floats.

use std::{
    collections::HashMap,
    fs::{self, File},
    num::NonZeroUsize,
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::{
    error::{Error, Result},
    files::{inside, open_regular},
    float_type::{FloatType, decode},
    proto::{ElementType, TensorProto},
};

/// Elements that a core reads and converts at a time.
const CHUNK: usize = 1 << 19;

/// A weight that is stored as 16-bit floats and wanted as 32-bit floats.
#[derive(Clone, Debug)]
pub struct FloatWeight {
    /// Name of the initializer.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// Whether ONNX Runtime makes a packed copy of it.
    pub packed: bool,
    /// Path in the folder of the weights.
    file: String,
    /// Where its bytes begin.
    offset: u64,
    stored: FloatType,
}

impl FloatWeight {
    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// What the graph says of a weight, when the file in `folder` has it.
pub(super) fn weight(
    tensor: &TensorProto,
    stored: FloatType,
    name: &str,
    folder: &Path,
) -> Result<FloatWeight, String> {
    let entry = |key: &str| {
        tensor
            .external_data
            .iter()
            .find(|entry| entry.key.as_deref() == Some(key))
            .and_then(|entry| entry.value.as_deref())
            .ok_or_else(|| format!("has no `{key}`"))
    };
    let offset = entry("offset")?;
    let shape = tensor
        .dims
        .iter()
        .map(|&size| usize::try_from(size).map_err(|_| format!("has a dimension of {size}")));
    let shape = shape.collect::<Result<Vec<usize>, _>>()?;
    let offset: u64 = offset
        .parse()
        .map_err(|_| format!("has the offset `{offset}`"))?;
    let file = entry("location")?;
    if inside(file).is_none() {
        return Err(format!(
            "is in `{file}`, which is not in the folder of the weights"
        ));
    }
    // Before anything is allocated for it.
    let path = folder.join(file);
    let there = fs::metadata(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let end = shape
        .iter()
        .try_fold(stored.bytes() as u64, |bytes, &size| {
            bytes.checked_mul(size as u64)
        })
        .and_then(|bytes| bytes.checked_add(offset));
    if end.is_none_or(|end| end > there.len()) {
        return Err(format!("does not end within {}", path.display()));
    }
    Ok(FloatWeight {
        name: name.to_owned(),
        shape,
        packed: true,
        file: file.to_owned(),
        offset,
        stored,
    })
}

/// A small weight, as floats in the graph.
pub(super) fn inline(weight: &FloatWeight, folder: &Path) -> Result<TensorProto> {
    let path = folder.join(&weight.file);
    let file = open_regular(&path).map_err(|error| Error::io("open", &path, error))?;
    let mut bytes = vec![0; weight.elements() * weight.stored.bytes()];
    file.read_exact_at(&mut bytes, weight.offset)
        .map_err(|error| Error::io("read", &path, error))?;
    let mut values = vec![0.0; weight.elements()];
    decode(weight.stored, &bytes, &mut values);
    Ok(TensorProto {
        name: Some(weight.name.clone()),
        data_type: Some(ElementType::Float as i32),
        dims: weight.shape.iter().map(|&size| size as i64).collect(),
        raw_data: Some(
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        ),
        ..TensorProto::default()
    })
}

/// The weights as floats, in order, read from `folder` and converted on `threads` threads.
pub(super) fn read(
    weights: &[FloatWeight],
    folder: &Path,
    threads: NonZeroUsize,
) -> Result<Vec<Vec<f32>>> {
    let mut files: HashMap<&str, File> = HashMap::new();
    for weight in weights {
        if !files.contains_key(weight.file.as_str()) {
            let path = folder.join(&weight.file);
            let file = open_regular(&path).map_err(|error| Error::io("open", &path, error))?;
            files.insert(&weight.file, file);
        }
    }
    // Zeros come from the system untouched; the threads that write them also fault them in.
    let mut values: Vec<Vec<f32>> = weights
        .iter()
        .map(|weight| vec![0.0; weight.elements()])
        .collect();
    let chunks = weights
        .iter()
        .zip(&mut values)
        .flat_map(|(weight, values)| {
            let chunks = values.chunks_mut(CHUNK).enumerate();
            chunks.map(move |(index, chunk)| (weight, index, chunk))
        });
    let chunks = Mutex::new(chunks);
    let failed = Mutex::new(None);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..threads.get() {
            scope.spawn(|| {
                let mut bytes = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let next = chunks.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((weight, index, chunk)) = next else {
                        return;
                    };
                    let size = weight.stored.bytes();
                    bytes.resize(chunk.len() * size, 0);
                    let offset = weight.offset + (index * CHUNK * size) as u64;
                    if let Err(error) =
                        files[weight.file.as_str()].read_exact_at(&mut bytes, offset)
                    {
                        let path = folder.join(&weight.file);
                        *failed.lock().unwrap_or_else(PoisonError::into_inner) =
                            Some(Error::io("read", &path, error));
                        stop.store(true, Ordering::Relaxed);
                        return;
                    }
                    decode(weight.stored, &bytes, chunk);
                }
            });
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(values),
    }
}

//! Checkpoints with the same scores and weights that are easier to round.
//!
//! Trained decoders have a few channels that are far larger than the rest, and steps that fit those are coarse for all
//! others. A rotation of the residual stream, and one of the values of heads, spread them over all channels. A decoder with
//! one norm before attention and one before the MLP computes the same with rotated weights: `rms(x R) = rms(x)`, so what
//! reads the stream takes `R` and the norm's weight into its own, and what adds to it takes `R` behind its own (QuaRot,
//! Ashkboos et al., 2024, arXiv:2404.00456, without the rotations that a graph would have to compute).

mod part;
mod rotation;
mod tensor;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    num::NonZeroUsize,
    path::Path,
    thread,
};

use serde_json::Value;
use worldpm_ort_bundle::{
    checkpoint_files::{CONFIG_FILE, INDEX_FILE},
    float_type::FloatType,
};

use crate::{
    checkpoint::{Checkpoint, Dtype, TensorEntry},
    convert::Progress,
    error::{Error, Result},
    output::{OutputKind, StagedDir, output_error},
    shards,
};
use tensor::Rotating;

/// How a checkpoint is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotateOptions {
    /// What the rotated weights are stored as. Default: 32-bit floats, which change scores by less than 1e-4. Rounding them
    /// to 16 bits once more changes scores about as much as bf16 does.
    pub float: FloatType,
    /// Most bytes of a weight file. Default: 5 GB, as `transformers` has it.
    pub shard_bytes: u64,
    /// Threads. Default: one for each core. The bytes do not depend on it.
    pub threads: Option<NonZeroUsize>,
}

impl Default for RotateOptions {
    fn default() -> Self {
        Self {
            float: FloatType::F32,
            shard_bytes: 5_000_000_000,
            threads: None,
        }
    }
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RotateReport {
    /// Number of tensors.
    pub tensors: usize,
    /// Number of weight files.
    pub files: usize,
    /// Size of all weights, in bytes.
    pub bytes: u64,
}

/// Largest file besides the weights that is copied.
const MOST_COPIED: u64 = 64 << 20;
/// Files of weights in other formats, which would be those of the checkpoint before.
const OTHER_WEIGHTS: [&str; 8] = [
    "safetensors",
    "bin",
    "pt",
    "pth",
    "gguf",
    "onnx",
    "h5",
    "msgpack",
];

/// Weights that a loss of power has made zeros would give other scores in silence.
const KIND: OutputKind = OutputKind {
    last: CONFIG_FILE,
    durable: true,
    owned: |_| None,
    hint: "remove it, or choose another directory",
};

/// Writes a checkpoint to `out` that has the scores of `checkpoint`, and rotated weights. Configuration, tokenizer and whatever
/// else its directory has, but for weights, folders and files of more than 64 MiB, are copied. `progress` is called after each
/// tensor, with bytes of the checkpoint.
///
/// The rotations are always the same, so the same checkpoint gives the same bytes. `out` appears when everything is written.
///
/// # Memory
/// Twice the largest weight of attention's and the MLP's last layers, as 32-bit floats: 2 GB for 72B.
///
/// # Errors
/// [`Error::Unsupported`] for decoders that normalise what is added to the stream (Gemma 2); [`Error::OutputTaken`],
/// [`Error::Write`]; [`Error::Tensor`] for weights that are not finite, or not after the rotation; [`Error::Overflow`].
pub fn rotate(
    checkpoint: &Checkpoint,
    out: &Path,
    options: &RotateOptions,
    progress: &dyn Fn(Progress),
) -> Result<RotateReport> {
    let decoder = checkpoint.config().architecture.backbone().decoder();
    if decoder.sandwich_norms || decoder.norms_less_one {
        return Err(Error::Unsupported {
            what: format!("rotating a {} model", decoder.name),
            hint: "its layers normalise what they add, which a rotation would change; export it as it is".into(),
        });
    }
    let threads = options
        .threads
        .or_else(|| thread::available_parallelism().ok())
        .unwrap_or(NonZeroUsize::MIN);
    let rotating = Rotating::new(checkpoint, options.float, threads);
    let tensors: Vec<(&String, &TensorEntry)> = checkpoint.tensors().iter().collect();
    let dtype = |entry: &TensorEntry| match FloatType::of(entry.dtype) {
        Some(_) => options.float.dtype(),
        None => entry.dtype,
    };
    let size = |entry: &TensorEntry| entry.shape.iter().product::<u64>() * dtype(entry).bits() / 8;
    let sizes = tensors.iter().map(|(_, entry)| size(entry));
    let counts = shards::divide(sizes.clone(), options.shard_bytes);
    let report = RotateReport {
        tensors: tensors.len(),
        files: counts.len(),
        bytes: sizes.sum(),
    };

    let staged = StagedDir::new(out, KIND)?;
    copy_others(checkpoint, &staged)?;
    let names: Vec<String> = (0..counts.len())
        .map(|number| shards::file_name(number, counts.len()))
        .collect();
    if names.len() > 1 {
        let files = counts.iter().zip(&names);
        let files = files.flat_map(|(&count, name)| std::iter::repeat_n(name.as_str(), count));
        let files: BTreeMap<&str, &str> = tensors
            .iter()
            .map(|(name, _)| name.as_str())
            .zip(files)
            .collect();
        let parameters = tensors
            .iter()
            .map(|(_, entry)| entry.shape.iter().product::<u64>());
        let index = shards::index(&files, parameters.sum(), report.bytes);
        staged.write(INDEX_FILE, format!("{index:#}\n"))?;
    }
    let total = tensors.iter().map(|(_, entry)| entry.bytes).sum();
    let (mut rest, mut done) = (tensors.as_slice(), 0);
    for (name, &count) in names.iter().zip(&counts) {
        let Some(group) = rest.split_off(..count) else {
            break;
        };
        let entries = group.iter();
        let entries = entries.map(|(name, entry)| (name.as_str(), dtype(entry), &entry.shape[..]));
        let (head, offsets) = shards::head(entries);
        let path = staged.file(name)?;
        let file = lay_out(&path, &head).map_err(|e| output_error(&path, "write it", e))?;
        for ((tensor, entry), offset) in group.iter().zip(offsets) {
            rotating.write(tensor, entry, (&file, &path, offset))?;
            done += entry.bytes;
            progress(Progress { done, total });
        }
    }
    checkpoint.require_unwritten()?;
    write_config(checkpoint, options.float.dtype(), &staged)?;
    staged.commit()?;
    Ok(report)
}

fn lay_out(path: &Path, head: &[u8]) -> std::io::Result<File> {
    let mut file = File::create_new(path)?;
    file.write_all(head)?;
    Ok(file)
}

/// Copies what is neither weights nor the configuration.
fn copy_others(checkpoint: &Checkpoint, staged: &StagedDir) -> Result<()> {
    let dir = checkpoint.dir();
    let fault = |path: &Path| {
        let path = path.to_owned();
        move |error| Error::io("read", &path, error)
    };
    for entry in fs::read_dir(dir).map_err(fault(dir))? {
        let path = entry.map_err(fault(dir))?.path();
        let (Some(name), Ok(metadata)) = (
            path.file_name().and_then(|name| name.to_str()),
            fs::metadata(&path),
        ) else {
            continue;
        };
        let extension = path.extension().and_then(|extension| extension.to_str());
        let is_weights = OTHER_WEIGHTS.iter().any(|&other| extension == Some(other))
            || name.ends_with(".index.json");
        if metadata.is_file() && !is_weights && name != CONFIG_FILE && metadata.len() <= MOST_COPIED
        {
            staged.write(name, fs::read(&path).map_err(fault(&path))?)?;
        }
    }
    Ok(())
}

/// The configuration, which says what the weights are stored as.
fn write_config(checkpoint: &Checkpoint, dtype: Dtype, staged: &StagedDir) -> Result<()> {
    let path = checkpoint.dir().join(CONFIG_FILE);
    let text = fs::read(&path).map_err(|error| Error::io("read", &path, error))?;
    let fault = |problem: String| Error::Config {
        path: path.clone(),
        field: "dtype".into(),
        problem,
    };
    let mut config: Value =
        serde_json::from_slice(&text).map_err(|error| fault(error.to_string()))?;
    let name = match dtype {
        Dtype::F32 => "float32",
        Dtype::F16 => "float16",
        _ => "bfloat16",
    };
    let fields = config.as_object_mut();
    let fields = fields.ok_or_else(|| fault("it is in no object".to_owned()))?;
    let field = match fields.contains_key("torch_dtype") {
        true => "torch_dtype",
        false => "dtype",
    };
    fields.insert(field.to_owned(), name.into());
    staged.write(CONFIG_FILE, format!("{config:#}\n"))
}

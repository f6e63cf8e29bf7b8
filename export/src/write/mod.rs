//! Puts a bundle on disk: all of it or nothing.

mod text;
mod weight_files;

pub use weight_files::header_sha256;

use std::{collections::BTreeSet, fs, path::Path};

use sha2::{Digest, Sha256};

use crate::{
    arch::{self, StageSpec},
    checkpoint::{Checkpoint, Dtype},
    error::{Error, Result},
    graph::{Graph, Value},
    manifest::{self, FORMAT, FORMAT_VERSION, Manifest, Model, Source, Stage, TensorInfo},
    options::{Device, ExportOptions},
    output::{StagedDir, write_file},
    pooling,
    proto::ElementType,
    readiness, shard,
};

/// Lowest ONNX Runtime that has every operator in use on the CPU.
const MIN_ORT_VERSION: &str = "1.23";

/// Exports `checkpoint` to the directory `out`.
///
/// The bundle is written to a temporary directory beside `out` and renamed at the end, so a failure leaves
/// nothing behind. A bundle of ours that stands at `out` is replaced; anything else there is an error.
/// The same checkpoint and options give the same bytes.
///
/// # Memory
/// Only the headers of the weight files are read: a 72B model takes some tens of megabytes.
///
/// # Errors
/// Whatever is wrong with the checkpoint or the output directory, see [`Error`]; [`Error::NotReady`] when the device or
/// the target does not run a node of the graphs, see [`readiness`].
pub fn export(checkpoint: &Checkpoint, out: &Path, options: &ExportOptions) -> Result<Manifest> {
    let config = checkpoint.config();
    let compute = compute_type(checkpoint, options)?;
    let plan = plan_stages(checkpoint, options.stages)?;
    let (pooling, end_token) = pooling::resolve(checkpoint, options)?;
    let text_files = text::collect(checkpoint.dir())?;

    let output = StagedDir::new_or_replacing(
        out,
        Manifest::is_in,
        "it is not a bundle of ours; remove it, or choose another directory",
    )?;
    let weights = weight_files::place(checkpoint, options, &output)?;
    let locations: Vec<String> = weights.files.iter().map(|file| file.name.clone()).collect();

    let mut stages = Vec::with_capacity(plan.len());
    let mut used = BTreeSet::new();
    for (index, layers) in plan.into_iter().enumerate() {
        let spec = StageSpec {
            name: format!("stage-{index:02}"),
            layers: layers.clone(),
            target: options.target,
        };
        let (graph, tensors) = arch::build_stage(checkpoint, &locations, compute, &spec)?;
        used.extend(tensors);
        stages.push(write_stage(&output, options, &spec, &graph)?);
    }
    refuse_extra_tensors(checkpoint, &used)?;
    let system_marker = options
        .system_marker
        .unwrap_or_else(|| arch::system_marker(config.architecture));
    let text = text::write(&output, &text_files, system_marker)?;

    let (repository, revision) = weight_files::hub_origin(checkpoint.dir());
    let manifest = Manifest {
        format: FORMAT.into(),
        format_version: FORMAT_VERSION,
        producer: concat!("worldpm-ort ", env!("CARGO_PKG_VERSION")).into(),
        source: Source {
            repository,
            revision,
            config_sha256: sha256_hex(&read(&checkpoint.dir().join("config.json"))?),
        },
        model: Model {
            architecture: config.architecture.to_string(),
            hidden_size: config.hidden_size,
            intermediate_size: config.intermediate_size,
            num_hidden_layers: config.num_hidden_layers,
            num_attention_heads: config.num_attention_heads,
            num_key_value_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
            vocab_size: config.vocab_size,
            labels: arch::labels(checkpoint)?,
        },
        precision: stored_type(checkpoint)?.to_string().to_lowercase(),
        device: options.device,
        target: options.target,
        min_ort_version: MIN_ORT_VERSION.into(),
        stages,
        weights,
        text,
        pooling,
        end_token,
        max_length: config.max_position_embeddings,
    };
    write_file(
        &output.path().join(manifest::FILE_NAME),
        manifest.to_json()?,
    )?;
    output.commit()?;
    Ok(manifest)
}

/// The type of the embedding, which stands for the checkpoint's.
fn stored_type(checkpoint: &Checkpoint) -> Result<Dtype> {
    let config = checkpoint.config();
    let shape = [config.vocab_size as u64, config.hidden_size as u64];
    Ok(checkpoint.tensor(arch::EMBED_TOKENS, &shape)?.dtype)
}

fn compute_type(checkpoint: &Checkpoint, options: &ExportOptions) -> Result<ElementType> {
    match (options.device, stored_type(checkpoint)?) {
        (Device::Cpu, _) => Ok(ElementType::Float),
        (Device::Cuda, Dtype::Bf16) => Ok(ElementType::BFloat16),
        (Device::Cuda, Dtype::F16) => Ok(ElementType::Float16),
        (Device::Cuda, other) => Err(Error::Unsupported {
            what: format!("a {other} checkpoint on CUDA"),
            hint: "CUDA attention takes BF16 and F16 weights; convert the checkpoint first".into(),
        }),
    }
}

fn plan_stages(checkpoint: &Checkpoint, stages: usize) -> Result<Vec<std::ops::Range<usize>>> {
    let config = checkpoint.config();
    let bytes_under = |prefix: &str| -> u64 {
        checkpoint
            .tensors()
            .range(prefix.to_owned()..)
            .take_while(|(name, _)| name.starts_with(prefix))
            .map(|(_, entry)| entry.bytes)
            .sum()
    };
    let layers: Vec<u64> = (0..config.num_hidden_layers)
        .map(|layer| bytes_under(&arch::layer_prefix(config.architecture, layer)))
        .collect();
    let before = bytes_under(arch::EMBED_TOKENS);
    let after = bytes_under("score.");
    shard::divide(&layers, before, after, stages)
}

fn write_stage(
    output: &StagedDir,
    options: &ExportOptions,
    spec: &StageSpec,
    graph: &Graph,
) -> Result<Stage> {
    let name = format!("{}.onnx", spec.name);
    let model = graph.to_model();
    readiness::check(&model, options.device, options.target)?.require(&name)?;
    let bytes = model.to_bytes();
    write_file(&output.path().join(&name), &bytes)?;
    Ok(Stage {
        graph: name,
        bytes: bytes.len() as u64,
        sha256: sha256_hex(&bytes),
        layers: (spec.layers.start, spec.layers.end),
        weight_bytes: graph.weight_bytes(),
        inputs: graph.inputs().iter().map(tensor_info).collect(),
        outputs: graph.outputs().iter().map(tensor_info).collect(),
    })
}

fn tensor_info(value: &Value) -> TensorInfo {
    TensorInfo {
        name: value.name().to_owned(),
        element: value.element().to_string(),
        shape: value.shape().iter().map(ToString::to_string).collect(),
    }
}

/// A tensor that no stage uses means that the model is not what its configuration says.
fn refuse_extra_tensors(checkpoint: &Checkpoint, used: &BTreeSet<String>) -> Result<()> {
    let config = checkpoint.config();
    let extra = checkpoint
        .tensors()
        .iter()
        .find(|(name, _)| !used.contains(*name) && !arch::is_harmless(name));
    let Some((name, entry)) = extra else {
        return Ok(());
    };
    let file = checkpoint.files().get(entry.file);
    Err(Error::Tensor {
        tensor: name.clone(),
        file: file.map(|file| file.name.clone()).unwrap_or_default(),
        problem: format!(
            "is not a tensor of a {} with {} layers; the configuration and the weights disagree",
            config.architecture, config.num_hidden_layers
        ),
    })
}

/// Reads a whole file.
fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|source| Error::io("read", path, source))
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

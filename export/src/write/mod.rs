//! Puts a bundle on disk: all of it or nothing.

mod converted;
mod owned;
#[cfg(test)]
mod readiness_tests;
mod weight_files;

use std::{collections::BTreeMap, path::Path};

use worldpm_ort_bundle::{
    Error, Layout, Pooling, Precision, Result, Target, files,
    graph::{Graph, Value},
    hash::sha256_hex,
    manifest::{self, FORMAT, FORMAT_VERSION, Manifest, Model, Source, Stage, TensorInfo, Token},
    probes::{self, Probe},
    readiness,
    text_files::TextFiles,
};

use crate::{
    arch::is_harmless,
    block::weights::Weights,
    checkpoint::{Checkpoint, ModelConfig, adapter::Adapter},
    convert::Progress,
    labels,
    layout::Places,
    options::ExportOptions,
    output::{self, StagedDir},
    plan::{self, format::Format},
    pooling,
    stage::{self, StageSpec},
    text,
};

/// Lowest ONNX Runtime that has every operator in use on the CPU.
const MIN_ORT_VERSION: &str = "1.23";
/// Lowest ONNX Runtime whose GroupQueryAttention has windows of the right size on the CPU: earlier ones
/// take one token more.
const MIN_ORT_VERSION_FOR_WINDOWS: &str = "1.24";
/// Has `QuantizeLinear` of operator set 23 on the CPU.
const MIN_ORT_VERSION_FOR_W8A8: &str = "1.24";

/// Exports `checkpoint` to the directory `out`.
///
/// The bundle is written to a temporary directory beside `out` and renamed at the end, so a failure leaves
/// nothing behind. A bundle of ours that stands at `out` is replaced; anything else there is an error.
/// The same checkpoint and options give the same bytes.
///
/// # Memory
/// Only the headers of the weight files are read: a 72B model takes some tens of megabytes. Weights that are
/// converted ([`ExportOptions::precision`]) are streamed: that takes about ten megabytes more for each thread.
///
/// # Errors
/// Whatever is wrong with the checkpoint or the output directory, see [`Error`]; [`Error::NotReady`] when the device or
/// the target does not run a node of the graphs, see [`readiness`].
pub fn export(checkpoint: &Checkpoint, out: &Path, options: &ExportOptions) -> Result<Manifest> {
    export_with_progress(checkpoint, out, options, &|_| {})
}

/// As [`export`], and tells how far the conversion of weights is.
///
/// `progress` is called from every thread that converts, after each megabyte or so; never when no weights are
/// converted.
///
/// # Errors
/// As for [`export`].
pub fn export_with_progress(
    checkpoint: &Checkpoint,
    out: &Path,
    options: &ExportOptions,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Manifest> {
    export_then(checkpoint, out, options, progress, |_, _| Ok(()))
}

/// As [`export_with_progress`], and has `finish` add to the bundle before it gets its name.
///
/// `finish` is given the directory, with every file of the bundle in it. When it fails nothing is left.
///
/// # Errors
/// As for [`export`], and those of `finish`.
pub fn export_then<E: From<Error>>(
    checkpoint: &Checkpoint,
    out: &Path,
    options: &ExportOptions,
    progress: &(dyn Fn(Progress) + Sync),
    finish: impl FnOnce(&Path, &Manifest) -> Result<(), E>,
) -> Result<Manifest, E> {
    let (output, manifest, adapter) = fill(checkpoint, out, options, progress)?;
    output.file(probes::FILE_NAME)?;
    finish(output.path(), &manifest)?;
    checkpoint.require_unwritten()?;
    if let Some(adapter) = adapter {
        adapter.require_unwritten()?;
    }
    output.commit()?;
    Ok(manifest)
}

/// Puts the reference scores of a bundle's probes into it: the file `probes.json`, whole or not at all.
///
/// # Errors
/// [`Error::Output`], naming the file.
pub fn write_probes(bundle: &Path, content: &[u8]) -> Result<()> {
    output::addition::put(bundle, owned::BUNDLE, probes::FILE_NAME, content)
}

/// Writes the bundle under a temporary name.
fn fill(
    checkpoint: &Checkpoint,
    out: &Path,
    options: &ExportOptions,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<(StagedDir, Manifest, Option<Adapter>)> {
    let config = checkpoint.config();
    let options = &ExportOptions {
        // TensorRT keeps engines under a name that has to change with the weights.
        checksum: options.checksum || options.serving.tensorrt,
        ..options.clone()
    };
    require_adapter(checkpoint, options)?;
    let format = Format::new(checkpoint, options)?;
    let places = Places::new(options, format.conversion.is_some())?;
    let adapter = match &options.adapter {
        Some(dir) => Some(Adapter::open(dir, checkpoint)?),
        None => None,
    };
    let (_, used) = plan::stages::whole(checkpoint, &format, options)?;
    refuse_extra_tensors(checkpoint, &used.tensors)?;
    if let Some(adapter) = &adapter {
        adapter.require_used(|tensor| used.tensors.contains_key(tensor))?;
    }
    let quantization = format.quantization(&used)?;
    let plan = plan::placement(checkpoint, options)?;
    let (text_from, text_files) = text::choose(checkpoint.dir(), options)?;
    text_files.require()?;
    let scoring = pooling::resolve(checkpoint, &text_files, options)?;

    owned::require_apart(checkpoint, options, out)?;
    let output = StagedDir::new(out, owned::BUNDLE)?;
    let in_place = match format.conversion {
        None if !places.by_stage() => Some(weight_files::place(checkpoint, options, &output)?),
        _ => None,
    };
    let locations: Vec<String> = match &in_place {
        Some(weights) => weights.files.iter().map(|f| f.name.clone()).collect(),
        None => checkpoint.files().iter().map(|f| f.name.clone()).collect(),
    };

    let mut stages = Vec::with_capacity(plan.len());
    let mut new_files = Vec::new();
    let mut linked = Vec::new();
    for (index, placed) in plan.into_iter().enumerate() {
        let spec = StageSpec {
            name: format!("stage-{index:02}"),
            layers: placed.layers,
            target: options.target,
            interface: options.interface,
        };
        let mut weights = Weights::new(
            checkpoint,
            format.storage(&locations, &spec),
            format.compute,
        )
        .with_adapter(adapter.as_ref());
        let mut graph = stage::build_stage(checkpoint, &mut weights, &spec)?;
        if let Some(file) = weights.into_file() {
            let file = converted::NewFile::new(file, places.stage_folder(index));
            graph.shift_weights(file.data_start());
            new_files.push(file);
        }
        places.make_folder(&output, index)?;
        if places.by_stage() && format.conversion.is_none() {
            let folder = places.stage_folder(index);
            let used = graph.data_files();
            linked.extend(weight_files::link_used(
                checkpoint, &used, &folder, options, &output,
            )?);
        }
        stages.push(write_stage(
            &output,
            options,
            &spec,
            &graph,
            places.graph(index),
        )?);
    }
    let weights = match in_place {
        Some(weights) => weights,
        None if format.conversion.is_none() => manifest::Weights {
            mode: options.weights.into(),
            directory: None,
            files: linked,
            clamped: Vec::new(),
        },
        None => converted::fill(
            checkpoint,
            adapter.as_ref(),
            &new_files,
            options,
            quantization.is_some(),
            &output,
            progress,
        )?,
    };
    let text = manifest::Text {
        system_marker: system_marker(checkpoint, options),
        from: text_from,
        tokenizer_class: text_files.class(),
        files: text::write(&text_files, &output, options.layout == Layout::Triton)?,
    };

    let (repository, revision) = weight_files::hub_origin(checkpoint.dir());
    let manifest = Manifest {
        format: FORMAT.into(),
        format_version: FORMAT_VERSION,
        producer: concat!("worldpm-ort ", env!("CARGO_PKG_VERSION")).into(),
        source: Source {
            repository,
            revision,
            config_sha256: sha256_hex(&read(&checkpoint.dir().join("config.json"))?),
            unknown_config_fields: checkpoint.unknown_config_fields().to_vec(),
            adapter: adapter.as_ref().map(describe_adapter),
        },
        model: describe(checkpoint)?,
        precision: format.precision,
        quantization,
        device: options.device,
        target: options.target,
        interface: options.interface,
        layout: options.layout,
        min_ort_version: min_ort_version(config, options.target, format.precision).into(),
        stages,
        weights,
        text,
        probes: probes_of(config, &scoring),
        pooling: scoring.pooling,
        activation: scoring.activation,
        end_token: scoring.end_token,
        max_length: config.max_position_embeddings,
    };
    output.write(manifest::FILE_NAME, manifest.to_json()?)?;
    places.finish(&output, &manifest)?;
    Ok((output, manifest, adapter))
}

/// How an export makes text and tokens of conversations, and what is scored of them: all that can be checked of it
/// before anything is written.
#[derive(Clone, Debug)]
pub struct TextPlan {
    /// Tokenizer and chat template.
    pub files: TextFiles,
    /// Whether a conversation without a system message gets an empty one in front.
    pub system_marker: bool,
    /// Which tokens are scored.
    pub pooling: Pooling,
    /// The token that every rendered conversation must end with.
    pub end_token: Option<Token>,
    /// Short inputs, some of them conversations.
    pub probes: Vec<Probe>,
}

/// The text files that an export with these options uses.
///
/// # Errors
/// As [`TextFiles::of_checkpoint`]; [`Error::Option`] when an adapter has only some text files, see
/// [`ExportOptions::text_from`].
pub fn text_files(checkpoint: &Checkpoint, options: &ExportOptions) -> Result<TextFiles> {
    let (_, files) = text::choose(checkpoint.dir(), options)?;
    files.require()?;
    Ok(files)
}

/// What an export with these options makes of conversations. `files` are its [`text_files()`].
///
/// # Errors
/// Those of [`export`] for the pooling rule and its tokens.
pub fn text_plan(
    checkpoint: &Checkpoint,
    files: TextFiles,
    options: &ExportOptions,
) -> Result<TextPlan> {
    let scoring = pooling::resolve(checkpoint, &files, options)?;
    Ok(TextPlan {
        files,
        system_marker: system_marker(checkpoint, options),
        pooling: scoring.pooling,
        probes: probes_of(checkpoint.config(), &scoring),
        end_token: scoring.end_token,
    })
}

fn system_marker(checkpoint: &Checkpoint, options: &ExportOptions) -> bool {
    options
        .system_marker
        .unwrap_or_else(|| checkpoint.config().architecture.class().system_marker)
}

fn probes_of(config: &ModelConfig, scoring: &pooling::Scoring) -> Vec<Probe> {
    probes::probes(
        config.vocab_size,
        config.max_position_embeddings,
        scoring.pooling,
        scoring.end_token.as_ref(),
        scoring.step_token.as_ref(),
    )
}

fn min_ort_version(config: &ModelConfig, target: Target, precision: Precision) -> &'static str {
    let windows = config.windows.iter().any(Option::is_some);
    match (target, precision) {
        (Target::Ort, _) if windows => MIN_ORT_VERSION_FOR_WINDOWS,
        (_, Precision::W8a8) => MIN_ORT_VERSION_FOR_W8A8,
        _ => MIN_ORT_VERSION,
    }
}

/// Architecture and dimensions.
pub(crate) fn describe(checkpoint: &Checkpoint) -> Result<Model> {
    let config = checkpoint.config();
    Ok(Model {
        architecture: config.architecture.to_string(),
        hidden_size: config.hidden_size,
        intermediate_size: config.intermediate_size,
        num_hidden_layers: config.num_hidden_layers,
        num_attention_heads: config.num_attention_heads,
        num_key_value_heads: config.num_key_value_heads,
        head_dim: config.head_dim,
        vocab_size: config.vocab_size,
        labels: labels::names(checkpoint)?,
    })
}

fn write_stage(
    output: &StagedDir,
    options: &ExportOptions,
    spec: &StageSpec,
    graph: &Graph,
    name: String,
) -> Result<Stage> {
    let model = graph.to_model();
    readiness::check(&model, options.device, options.target)?.require(&name)?;
    let bytes = model.to_bytes();
    output.write(&name, &bytes)?;
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

fn describe_adapter(adapter: &Adapter) -> manifest::Adapter {
    let (repository, revision) = weight_files::hub_origin(adapter.dir());
    let (r, lora_alpha) = adapter.rank_and_alpha();
    let (merged_tensors, replaced_tensors) = adapter.counts();
    manifest::Adapter {
        repository,
        revision,
        config_sha256: adapter.config_sha256().to_owned(),
        weights_sha256: adapter.weights_sha256().to_owned(),
        r,
        lora_alpha,
        merged_tensors,
        replaced_tensors,
        unchanged_modules: adapter.unchanged().to_vec(),
    }
}

fn tensor_info(value: &Value) -> TensorInfo {
    TensorInfo {
        name: value.name().to_owned(),
        element: value.element().to_string(),
        shape: value.shape().iter().map(ToString::to_string).collect(),
    }
}

/// A head that is in an adapter is there only when the adapter is merged.
fn require_adapter(checkpoint: &Checkpoint, options: &ExportOptions) -> Result<()> {
    match checkpoint.head_from() {
        Some(head) if options.adapter.as_deref() != Some(head) => Err(Error::Option {
            option: "adapter".into(),
            problem: format!(
                "has to be {}, which the reward head is from",
                head.display()
            ),
        }),
        _ => Ok(()),
    }
}

/// A tensor that the model does not use means that the model is not what its configuration says.
fn refuse_extra_tensors(checkpoint: &Checkpoint, used: &BTreeMap<String, u64>) -> Result<()> {
    let config = checkpoint.config();
    let extra = checkpoint
        .tensors()
        .iter()
        .find(|(name, _)| !used.contains_key(*name) && !is_harmless(name));
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
    files::read_limited(path, files::MAX_TEXT_BYTES)
        .map_err(|source| Error::io("read", path, source))
}

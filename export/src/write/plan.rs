//! A whole export, worked out before anything is written.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use worldpm_ort_bundle::{
    Precision, Target, files,
    graph::Value,
    hash::sha256_hex,
    manifest::{self, Model, Quantization, TensorInfo},
    readiness,
};

use super::{converted::NewFile, text_plan::TextPlan, weight_files};
use crate::{
    arch::is_harmless,
    calibration::Calibration,
    checkpoint::{Checkpoint, ModelConfig, adapter::Adapter},
    error::{Error, Result},
    labels,
    layout::BundlePaths,
    options::ExportOptions,
    plan::{Draft, PlacedStage, PlannedWeight, format::Format},
    stage::StageGraph,
};

/// Lowest ONNX Runtime that has every operator in use on the CPU.
const MIN_ORT_VERSION: &str = "1.23";
/// Lowest ONNX Runtime whose GroupQueryAttention has windows of the right size on the CPU: earlier ones
/// take one token more.
const MIN_ORT_VERSION_FOR_WINDOWS: &str = "1.24";
/// Has `QuantizeLinear` of operator set 23 on the CPU.
const MIN_ORT_VERSION_FOR_W8A8: &str = "1.24";

/// What an export makes of a checkpoint: all of it that can be known without writing anything.
///
/// Making one reads the headers of the weight files, builds the model's graph, divides it into stages, and checks that the
/// device and the target run every node. [`ExportPlan::write`] then makes the bundle. `Display` gives a summary of a few
/// lines.
///
/// ```no_run
/// use worldpm_ort_export::{Checkpoint, ExportOptions, ExportPlan};
///
/// let checkpoint = Checkpoint::open("WorldPM-72B".as_ref())?;
/// let plan = ExportPlan::new(&checkpoint, &ExportOptions::default())?;
/// println!("{plan}");
/// let manifest = plan.write("bundle".as_ref())?;
/// # Ok::<(), worldpm_ort_export::Error>(())
/// ```
#[derive(Debug)]
pub struct ExportPlan<'a> {
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) options: ExportOptions,
    pub(super) paths: BundlePaths,
    pub(super) adapter: Option<Adapter>,
    pub(super) model: Model,
    pub(super) config_sha256: String,
    pub(super) min_ort_version: &'static str,
    pub(super) precision: Precision,
    pub(super) quantization: Option<Quantization>,
    pub(super) stages: Vec<ExportStage>,
    pub(super) calibration: Option<Calibration>,
    weights: Vec<PlannedWeight>,
    pub(super) text: TextPlan,
}

/// A stage of an [`ExportPlan`].
#[derive(Debug)]
pub struct ExportStage {
    placed: PlacedStage,
    manifest: manifest::Stage,
    onnx: Vec<u8>,
    /// The checkpoint's files that the graph points into.
    pub(super) data_files: BTreeSet<String>,
    /// The weight file that is made for it.
    pub(super) file: Option<NewFile>,
}

impl ExportStage {
    /// Its layers, its device, and the memory that it takes there.
    #[must_use]
    pub fn placed(&self) -> &PlacedStage {
        &self.placed
    }

    /// What the manifest says about it.
    #[must_use]
    pub fn manifest(&self) -> &manifest::Stage {
        &self.manifest
    }

    /// The ONNX model, as the bundle gets it.
    #[must_use]
    pub fn onnx(&self) -> &[u8] {
        &self.onnx
    }
}

impl<'a> ExportPlan<'a> {
    /// Plans an export of `checkpoint` with `options`.
    ///
    /// # Memory
    /// Some tens of megabytes for a 72B model: of weight files, only the headers are read. An adapter is read whole, in
    /// pieces.
    ///
    /// # Errors
    /// Whatever is wrong with the checkpoint, the adapter, the text files or the options, see [`Error`];
    /// [`NotReady`](worldpm_ort_bundle::Error::NotReady) when the device or the target does not run a node of the graphs, see [`readiness`].
    pub fn new(checkpoint: &'a Checkpoint, options: &ExportOptions) -> Result<Self> {
        let options = ExportOptions {
            // TensorRT keeps engines under a name that has to change with the weights.
            checksum: options.checksum || options.layout_options.tensorrt,
            ..options.clone()
        };
        require_adapter(checkpoint, &options)?;
        let format = Format::new(checkpoint, &options)?;
        let paths = BundlePaths::new(&options, format.conversion.is_some())?;
        let locations = match paths.by_stage() {
            true => Vec::new(),
            false => weight_files::locations(checkpoint, options.weights)?,
        };
        let draft = Draft::new(checkpoint, &options, format, &locations)?;
        let used = &draft.graph.used().tensors;
        refuse_extra_tensors(checkpoint, used)?;
        if let Some(adapter) = &draft.adapter {
            adapter.require_used(|tensor| used.contains_key(tensor))?;
        }
        let quantization = draft.quantization()?;
        let stages = draft.place(checkpoint, &options)?;
        let text = TextPlan::new(checkpoint, &options)?;
        let stages = stages
            .into_iter()
            .enumerate()
            .map(|(index, placed)| plan_stage(&draft, &options, &paths, index, placed))
            .collect::<Result<_>>()?;
        let precision = draft.format.precision;
        Ok(Self {
            model: describe(checkpoint)?,
            config_sha256: sha256_hex(&read(&checkpoint.dir().join("config.json"))?),
            min_ort_version: min_ort_version(checkpoint.config(), options.target, precision),
            precision,
            quantization,
            stages,
            calibration: None,
            weights: draft.weights(checkpoint),
            text,
            adapter: draft.adapter,
            checkpoint,
            options,
            paths,
        })
    }

    /// Has weights that are rounded be rounded for what `calibration` has seen.
    ///
    /// # Memory
    /// With `n` inputs of the widest layer, up to `16 n^2` bytes, and some megabytes for each thread.
    ///
    /// # Errors
    /// [`Error::Calibration`] when no weights are rounded, or it has not seen a layer's inputs.
    pub fn with_calibration(mut self, calibration: Calibration) -> Result<Self> {
        let refused = |problem: String| Err(Error::Calibration { problem });
        let Some(quantization) = &mut self.quantization else {
            let precision = self.precision;
            return refused(format!(
                "weights of {precision} are not rounded to integers"
            ));
        };
        let files = self.stages.iter().filter_map(|stage| stage.file.as_ref());
        for (tensor, shape) in files.flat_map(NewFile::rounded) {
            let width = shape.last().copied().unwrap_or(0);
            let seen = calibration.inputs(tensor).map(|inputs| inputs.width());
            if seen.map(|seen| seen as u64) != Some(width) {
                return refused(format!(
                    "no inputs of `{tensor}`, each of {width} numbers, were seen"
                ));
            }
        }
        quantization.calibration = Some(calibration.data().clone());
        self.calibration = Some(calibration);
        Ok(self)
    }

    /// The stages, in order.
    #[must_use]
    pub fn stages(&self) -> &[ExportStage] {
        &self.stages
    }

    /// What becomes of each weight of the checkpoint, by name.
    #[must_use]
    pub fn weights(&self) -> &[PlannedWeight] {
        &self.weights
    }

    /// Tokenizer, chat template, and what is scored.
    #[must_use]
    pub fn text(&self) -> &TextPlan {
        &self.text
    }

    /// Architecture and dimensions.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What the weights are stored as.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Bytes of the new weight files; 0 when weights stay in the checkpoint's files, or in links to them or copies of
    /// them.
    #[must_use]
    pub fn converted_bytes(&self) -> u64 {
        let files = self.stages.iter().filter_map(|stage| stage.file.as_ref());
        files.map(NewFile::bytes).sum()
    }

    /// What a user should know of how the checkpoint and its text files were read, each in a sentence.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        let text = self.text.files.notes().iter();
        self.checkpoint
            .notes()
            .iter()
            .chain(text)
            .map(String::as_str)
    }
}

/// The stage at `index`, cut out of the model's graph and checked.
fn plan_stage(
    draft: &Draft,
    options: &ExportOptions,
    paths: &BundlePaths,
    index: usize,
    placed: PlacedStage,
) -> Result<ExportStage> {
    let name = format!("stage-{index:02}");
    let file = format!("{name}.safetensors");
    let StageGraph { mut graph, file } = draft.graph.stage(&name, placed.layers.clone(), file)?;
    let file = file.map(|file| NewFile::new(file, paths.stage_folder(index)));
    if let Some(file) = &file {
        graph.move_weights(|_, data| data.offset += file.data_start());
    }
    let name = paths.graph(index);
    let model = graph.to_model();
    readiness::check(&model, options.device, options.target)?.require(&name)?;
    let onnx = model.to_bytes();
    Ok(ExportStage {
        manifest: manifest::Stage {
            graph: name,
            bytes: onnx.len() as u64,
            sha256: sha256_hex(&onnx),
            layers: (placed.layers.start, placed.layers.end),
            weight_bytes: graph.weight_bytes(),
            inputs: graph.inputs().iter().map(tensor_info).collect(),
            outputs: graph.outputs().iter().map(tensor_info).collect(),
        },
        data_files: graph.data_files().into_iter().map(str::to_owned).collect(),
        onnx,
        placed,
        file,
    })
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

//! `manifest.json`: the only contract between an exported bundle and what runs it.
//!
//! The file is described field by field in `docs/bundle-format.md`.

mod read;
mod validate;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{
    checkpoint_files::{ADAPTER_CONFIG, ADAPTER_WEIGHTS},
    error::Result,
    hash::file_sha256,
    probes::Probe,
    text_files::TokenizerClass,
    vocabulary::{
        Activation, Device, Interface, Layout, Pooling, Precision, Target, TextFrom, WeightsMode,
    },
};
pub use crate::{overflow::OverflowedTensor, token::Token};

/// Name of the manifest's file in a bundle.
pub const FILE_NAME: &str = "manifest.json";

/// What the field `format` of every manifest says.
pub const FORMAT: &str = "worldpm-ort-bundle";

/// The format version that this crate writes and reads.
pub const FORMAT_VERSION: u32 = 2;

/// A bundle's contents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Name and version of the exporter.
    pub producer: String,
    /// Where the weights came from.
    pub source: Source,
    /// Architecture and dimensions.
    pub model: Model,
    /// What the weights are stored as.
    pub precision: Precision,
    /// How linear layers are quantised, when they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<Quantization>,
    /// Device that the graphs are for.
    pub device: Device,
    /// Operators that the graphs use.
    pub target: Target,
    /// What the graphs are fed.
    #[serde(default)]
    pub interface: Interface,
    /// How the bundle is laid out.
    #[serde(default)]
    pub layout: Layout,
    /// Lowest ONNX Runtime version that runs the graphs, as `major.minor`.
    pub min_ort_version: String,
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// The files that hold the weights.
    pub weights: Weights,
    /// Tokenizer and chat template.
    pub text: Text,
    /// Which tokens are scored.
    pub pooling: Pooling,
    /// What makes rewards of the numbers that the graph gives for a scored token.
    pub activation: Activation,
    /// The token that every rendered conversation must end with; `null` for any.
    pub end_token: Option<Token>,
    /// Most tokens that a conversation may have.
    pub max_length: usize,
    /// Short inputs whose scores show whether the bundle works; none in bundles of older exporters.
    #[serde(default)]
    pub probes: Vec<Probe>,
}

/// Where the weights came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Hub repository, when the checkpoint is a snapshot in a Hugging Face cache.
    pub repository: Option<String>,
    /// Its commit.
    pub revision: Option<String>,
    /// SHA-256 of `config.json`.
    pub config_sha256: String,
    /// Fields of `config.json` that nobody knows, and that had no part in what is computed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_config_fields: Vec<String>,
    /// The adapter that was merged into them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<Adapter>,
}

/// A LoRA adapter that was merged into the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adapter {
    /// Hub repository, when the adapter is a snapshot in a Hugging Face cache.
    pub repository: Option<String>,
    /// Its commit.
    pub revision: Option<String>,
    /// SHA-256 of `adapter_config.json`.
    pub config_sha256: String,
    /// SHA-256 of `adapter_model.safetensors`.
    pub weights_sha256: String,
    /// Rank of the layers that have none of their own.
    pub r: usize,
    /// Scale of the layers that have none of their own, times `r` (or its root, with `use_rslora`).
    pub lora_alpha: f64,
    /// Tensors that an update of low rank was added to.
    pub merged_tensors: usize,
    /// Tensors that were replaced.
    pub replaced_tensors: usize,
    /// Modules that its configuration selects and that it has no update for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unchanged_modules: Vec<String>,
}

impl Adapter {
    /// Whether `dir` holds this adapter.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when a file of an adapter cannot be read there.
    pub fn is_in(&self, dir: &Path) -> Result<bool> {
        Ok(
            file_sha256(&dir.join(ADAPTER_CONFIG))? == self.config_sha256
                && file_sha256(&dir.join(ADAPTER_WEIGHTS))? == self.weights_sha256,
        )
    }
}

/// Architecture and dimensions, read from the checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Model {
    pub architecture: String,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub vocab_size: usize,
    /// The numbers that a scored token gets, by name and in the order of the graph's output.
    pub labels: Vec<String>,
}

/// How the linear layers of a bundle are quantised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantization {
    /// ONNX operator that reads the weights.
    pub operator: String,
    /// Bits of a weight.
    pub bits: u64,
    /// Values of a row that share a scale; `null` when the whole row does.
    pub block_size: Option<u64>,
    /// Whether zero points are fixed.
    pub symmetric: bool,
    /// What the activations are that they are multiplied with.
    pub activations: Activations,
    /// Linear layers that were not quantised.
    pub kept: Vec<String>,
    /// What the weights were rounded for; left out when each was rounded to the nearest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationData>,
}

/// The conversations whose inputs of linear layers weights were rounded for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationData {
    /// Number of conversations.
    pub conversations: u64,
    /// Number of their tokens.
    pub tokens: u64,
    /// SHA-256 of what they were read from.
    pub sha256: String,
    /// What the graph adds to each label's scores, so that those of the conversations have the mean that they have without
    /// rounding; none where that was not measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub correction: Vec<f32>,
}

/// What quantised weights are multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activations {
    /// Floats of the type that the graph computes in.
    Float,
    /// 8-bit integers, with a scale for each block of a row; the operator makes them.
    Int8PerBlock,
    /// 8-bit integers, with a scale for each token; the graph makes them.
    Int8PerToken,
}

/// One stage: a graph that runs on one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Path of the graph in the bundle.
    pub graph: String,
    /// Size of the graph file.
    pub bytes: u64,
    /// SHA-256 of the graph file.
    pub sha256: String,
    /// First decoder layer, and the one after the last.
    pub layers: (usize, usize),
    /// Bytes of weights as stored.
    pub weight_bytes: u64,
    /// Inputs of the graph.
    pub inputs: Vec<TensorInfo>,
    /// Outputs of the graph.
    pub outputs: Vec<TensorInfo>,
}

/// A tensor at the edge of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorInfo {
    /// Name.
    pub name: String,
    /// ONNX element type, for example `int64`.
    #[serde(rename = "type")]
    pub element: String,
    /// Dimensions: numbers, or names of sizes known at run time.
    pub shape: Vec<String>,
}

/// How the weight files of a bundle came to be where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightsPlace {
    /// They are the checkpoint's, where they were.
    Reference,
    /// They are the checkpoint's, linked into the bundle.
    Hardlink,
    /// They are copies of the checkpoint's.
    Copy,
    /// They were made for the bundle, one for each stage, and hold converted weights.
    Converted,
}

impl From<WeightsMode> for WeightsPlace {
    fn from(mode: WeightsMode) -> Self {
        match mode {
            WeightsMode::Reference => Self::Reference,
            WeightsMode::Hardlink => Self::Hardlink,
            WeightsMode::Copy => Self::Copy,
        }
    }
}

/// The files that hold the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Weights {
    /// How they came there.
    pub mode: WeightsPlace,
    /// Their folder, absolute; `null` when they are in the bundle.
    pub directory: Option<String>,
    /// The files.
    pub files: Vec<WeightFile>,
    /// Tensors with values that were too large for the precision, and were clamped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clamped: Vec<OverflowedTensor>,
}

/// One safetensors file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightFile {
    /// Path in the folder of the weights.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 of its header (the 8 bytes of length and the JSON after them).
    pub header_sha256: String,
    /// SHA-256 of samples of it, see [`sampled_sha256`](crate::fingerprint::sampled_sha256); none in bundles of older
    /// exporters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampled_sha256: Option<String>,
    /// SHA-256 of the whole file, when it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// Tokenizer and chat template, as files of the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// Whether a conversation that has no system message gets an empty one in front.
    pub system_marker: bool,
    /// Where the files come from.
    #[serde(default, skip_serializing_if = "is_default")]
    pub from: TextFrom,
    /// The class whose special tokens are added to those of the files.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tokenizer_class: TokenizerClass,
    /// Those of [`mod@crate::text_files`] that the checkpoint has. No other is read.
    pub files: Vec<TextFile>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// One file of the tokenizer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextFile {
    /// Path in the bundle.
    pub name: String,
    /// SHA-256.
    pub sha256: String,
}

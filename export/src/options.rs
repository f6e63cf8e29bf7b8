//! What an export is asked to produce.

use std::{collections::BTreeMap, num::NonZeroUsize, path::PathBuf};

use worldpm_ort_bundle::{
    Device, Interface, Layout, Overflow, Pooling, Precision, Target, TextFrom, WeightsMode,
    cost::TokenBudget,
};

use crate::{
    layout::LayoutOptions,
    plan::{DeviceMemory, Stages},
};

/// How linear layers are quantised. [`Default`] is in symmetric blocks of 32, all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuantizationOptions {
    /// Values that share a scale, for [`Precision::Int8`] and [`Precision::Int4`]: 32, 64 or 128. Default 32.
    pub block_size: Option<u64>,
    /// Whether each block has a zero point of its own, for [`Precision::Int8`] and [`Precision::Int4`]. Default
    /// `false`.
    pub asymmetric: bool,
    /// Layers that are not quantised, as patterns with `*` for any characters: `layers.0.*`, `*.down_proj`. A
    /// pattern matches a layer's name in the checkpoint, or what follows a dot in it. Default: none.
    pub keep: Vec<String>,
}

/// Options of [`crate::export`]. [`Default`] exports one stage for the CPU that refers to the checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportOptions {
    /// Operators to use. Default [`Target::Ort`].
    pub target: Target,
    /// Device to export for. Default [`Device::Cpu`].
    pub device: Device,
    /// What the graphs are fed. Default [`Interface::Packed`].
    pub interface: Interface,
    /// How the bundle is laid out. Default [`Layout::Plain`].
    pub layout: Layout,
    /// What bundles for servers are made with.
    pub layout_options: LayoutOptions,
    /// Number of stages. Default 1.
    pub stages: Stages,
    /// The devices that the stages have to fit. Default: no limit. [`Stages::Auto`] needs them.
    pub device_memory: Option<DeviceMemory>,
    /// What one run of the model may hold, for the memory of activations. Default [`TokenBudget::default`].
    pub budget: TokenBudget,
    /// Where the weights go. Default [`WeightsMode::Reference`]. Weights that are converted are always
    /// beside the graphs.
    pub weights: WeightsMode,
    /// What the weights are stored as. Default: as in the checkpoint. Another type than the checkpoint's
    /// makes new weight files in the bundle.
    pub precision: Option<Precision>,
    /// Directory of a LoRA adapter, as PEFT saves it, that is merged into the weights: those are then all beside the
    /// graphs. Default: none.
    pub adapter: Option<PathBuf>,
    /// Whose tokenizer and chat template the bundle gets. Default: the adapter's, when it has any that are unlike the
    /// checkpoint's, else the checkpoint's.
    pub text_from: Option<TextFrom>,
    /// Ids of special tokens, for those that get their id only when the tokenizer is loaded: their text is named in a
    /// file that says no id. Default: none.
    pub token_ids: BTreeMap<String, u32>,
    /// How linear layers are quantised, when `precision` says that they are.
    pub quantization: QuantizationOptions,
    /// What happens to values that are too large for `precision`. Default [`Overflow::Refuse`].
    pub overflow: Overflow,
    /// Threads that convert weights. Default: one for each core. The bytes do not depend on it.
    pub threads: Option<NonZeroUsize>,
    /// Whether to record the SHA-256 of every weight file, which reads them whole. Default `false`.
    pub checksum: bool,
    /// Which token is scored. Default: what the checkpoint's own code does, see [`crate::pooling`].
    pub pooling: Option<Pooling>,
    /// The token that every rendered conversation has to end with, as text. Default: see
    /// [`crate::pooling`]. An empty string asks for no particular token.
    pub end_token: Option<String>,
    /// The special token at which each step is scored, as text, for a model that judges steps. Default: see
    /// [`crate::pooling`].
    pub step_token: Option<String>,
    /// Whether a conversation without a system message gets an empty one in front. Default: yes for
    /// `Qwen2ForRewardModel`, which was trained so, and no for other architectures.
    pub system_marker: Option<bool>,
}

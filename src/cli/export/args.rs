//! What `worldpm-ort export` accepts.

use std::{
    ffi::OsString,
    num::{NonZeroU64, NonZeroUsize},
    path::PathBuf,
};

use clap::ValueEnum;
use worldpm_ort_bundle::{
    Bytes, Device, Interface, Overflow, Precision, Target, TextFrom, WeightsMode,
};
use worldpm_ort_export::plan::Stages;

use super::layout_args::LayoutArgs;
use crate::cli::common::heading;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = heading::INPUT_OUTPUT)]
pub(crate) struct ExportArgs {
    /// Directory of the checkpoint (config.json, safetensors, tokenizer), or a repository on the Hugging Face hub,
    /// OWNER/NAME or OWNER/NAME@REVISION, which is downloaded into the cache that other tools use
    /// [default: the recipe's repository]
    #[arg(long, value_name = "DIR_OR_REPO", required_unless_present = "recipe")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// A recipe, by its name (`worldpm-ort recipes` lists them) or in a JSON file: gives repository, device, precision
    /// and stages, unless other options do. The checkpoint must be of that model
    #[arg(long, value_name = "NAME_OR_FILE")]
    pub(crate) recipe: Option<PathBuf>,
    /// Branch, tag or commit of a repository [default: the recipe's, or main]
    #[arg(long, help_heading = heading::HUB, value_name = "REVISION")]
    pub(crate) revision: Option<String>,
    /// Directory of the bundle to make; a bundle that is already there is replaced, unless the directory holds anything else
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Kind of device the bundle is for: cpu or cuda [default: the recipe's, or cpu]
    #[arg(long, help_heading = heading::GRAPHS, value_name = "DEVICE")]
    pub(crate) device: Option<Device>,
    /// Operators to use: ort (ONNX Runtime on CPU and CUDA) or onnx (standard only, for TensorRT)
    #[arg(long, help_heading = heading::GRAPHS, value_name = "TARGET", default_value_t)]
    pub(crate) target: Target,
    /// Inputs of the graphs: packed (tokens and indices, as `score` makes them) or padded (input_ids and
    /// attention_mask) [default: packed; padded with --layout triton or kserve]
    #[arg(long, help_heading = heading::GRAPHS, value_name = "INTERFACE")]
    pub(crate) interface: Option<Interface>,
    #[command(flatten)]
    pub(crate) layout_options: LayoutArgs,
    /// Number of pipeline stages, or auto: as few as fit the devices of --device-memory [default: the recipe's, or 1]
    #[arg(long, help_heading = heading::STAGES, value_name = "N")]
    pub(crate) stages: Option<Stages>,
    /// Memory of each device, as in 80GiB; several, in order, for devices that differ: 80GiB,80GiB,48GiB
    #[arg(
        long, help_heading = heading::STAGES,
        value_name = "SIZE",
        value_delimiter = ',',
        required_if_eq("stages", "auto")
    )]
    pub(crate) device_memory: Vec<Bytes>,
    /// Most unique tokens in one run of the model, which the memory of activations follows from: the --max-batch-tokens of
    /// `score`, or the length of the longest conversation if that is more [default: 2048]
    #[arg(long, help_heading = heading::STAGES, value_name = "TOKENS")]
    pub(crate) max_batch_tokens: Option<NonZeroU64>,
    /// What the weights are stored as: bf16, fp16, fp32, int8, int4 or w8a8 (8-bit weights and activations, for
    /// the CPU) [default: the recipe's, or as in the checkpoint]. Any but the checkpoint's makes new weight files in the
    /// bundle. On trained weights calibrated int8 moves scores 0.5 to 0.8 times as far as bf16 does, w8a8 as far, int4 7 to
    /// 8 times as far; on CPUs where score has no kernels of its own, int8 twice and w8a8 5 to 10 times as far
    /// (docs/precision.md). --probes measures it
    #[arg(long, help_heading = heading::PRECISION, value_name = "PRECISION")]
    pub(crate) precision: Option<Precision>,
    /// Weights that share a scale, for int8 and int4: 32, 64 or 128 [default: 32]
    #[arg(long, help_heading = heading::PRECISION, value_name = "N")]
    pub(crate) block_size: Option<u64>,
    /// Give each block a zero point of its own, for int8 and int4
    #[arg(long, help_heading = heading::PRECISION)]
    pub(crate) asymmetric: bool,
    /// Conversations to round the weights of int8, int4 and w8a8 for: what layers make of their inputs is kept (GPTQ), rather
    /// than the weights, and the mean of the scores. A file of them, in any form of `score` as JSON Lines or a JSON array, best
    /// some hundred like those that will be scored; builtin; off; or auto: the built-in ones, but with --probes off, and
    /// for int8 where that takes minutes at most. They are scored in fp32 on this machine's CPU (docs/precision.md)
    #[arg(long, help_heading = heading::PRECISION, value_name = "FILE|builtin|auto|off", default_value = "auto")]
    pub(crate) calibrate: CalibrateOn,
    /// Most tokens to calibrate on: the first conversations that have them
    #[arg(long, help_heading = heading::PRECISION, value_name = "N", default_value = "16384")]
    pub(crate) calibration_tokens: NonZeroUsize,
    /// Linear layers that are not quantised, for example layers.0.* or *.down_proj; may be given more than once
    #[arg(long, help_heading = heading::PRECISION, value_name = "PATTERN")]
    pub(crate) keep: Vec<String>,
    /// Directory of a LoRA adapter, as PEFT saves it, to merge into the weights: adapter_config.json and
    /// adapter_model.safetensors. Makes new weight files in the bundle. A checkpoint without a reward head, such as a
    /// language model, takes the adapter's
    #[arg(long, help_heading = heading::INPUT_OUTPUT, value_name = "DIR")]
    pub(crate) adapter: Option<PathBuf>,
    /// Whose tokenizer and chat template the bundle gets: base or adapter [default: the adapter's, when its directory
    /// has any that are unlike the checkpoint's]
    #[arg(long, help_heading = heading::INPUT_OUTPUT, value_name = "WHOSE", requires = "adapter")]
    pub(crate) text_from: Option<TextFrom>,
    /// What happens to weights that are too large for the precision: refuse (an error that names the tensors) or
    /// clamp (to the largest value there is)
    #[arg(long, help_heading = heading::PRECISION, value_name = "WAY", default_value_t)]
    pub(crate) overflow: Overflow,
    /// Threads that convert weights [default: all cores]
    #[arg(long, help_heading = heading::PRECISION, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Where the weights are: reference (stay in the checkpoint), hardlink or copy (beside the graphs). Converted
    /// weights are always beside the graphs
    #[arg(long, help_heading = heading::INPUT_OUTPUT, value_name = "MODE", default_value_t)]
    pub(crate) weights: WeightsMode,
    /// Record the SHA-256 of every weight file (reads all of them)
    #[arg(long, help_heading = heading::INPUT_OUTPUT)]
    pub(crate) checksum: bool,
    /// Which token is scored [default: what the checkpoint's own code does]
    #[arg(long, help_heading = heading::SCORING, value_name = "RULE")]
    pub(crate) pooling: Option<PoolingRule>,
    /// The padding token that the pooling rule refers to [default: the configuration's]
    #[arg(long, help_heading = heading::SCORING, value_name = "ID")]
    pub(crate) pad_token_id: Option<u32>,
    /// The special token that every rendered conversation must end with, or "" for any
    /// [default: <|endoftext|> for Qwen2ForRewardModel, else any]
    #[arg(long, help_heading = heading::SCORING, value_name = "TOKEN")]
    pub(crate) end_token: Option<String>,
    /// The special token behind every step, for a model that scores steps
    /// [default: <extra_0> for Qwen2ForProcessRewardModel]
    #[arg(long, help_heading = heading::SCORING, value_name = "TOKEN")]
    pub(crate) step_token: Option<String>,
    /// Whether a conversation without a system message gets an empty one in front
    /// [default: true for Qwen2ForRewardModel, else false]
    #[arg(long, help_heading = heading::SCORING, value_name = "BOOL")]
    pub(crate) system_marker: Option<bool>,
    /// Whether to score the bundle's probes in fp32 on this machine's CPU, for `verify` to compare with;
    /// of fp16 and integer weights also how far they move the scores of the probes, beside how far bf16 does
    #[arg(long, help_heading = heading::PROBES, value_name = "WHEN", value_enum, default_value_t)]
    pub(crate) probes: ProbeScores,
    /// ONNX Runtime's library, for the probes [default: looked for beside the program and in the usual
    /// places]
    #[arg(long, help_heading = heading::PROBES, value_name = "FILE")]
    pub(crate) ort_lib: Option<PathBuf>,
}

/// What `--calibrate` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CalibrateOn {
    /// The built-in conversations, where the probes are scored too.
    Auto,
    /// The built-in conversations.
    BuiltIn,
    /// Nothing: weights are rounded to the nearest.
    Off,
    /// Those of a file.
    File(PathBuf),
}

impl From<OsString> for CalibrateOn {
    fn from(text: OsString) -> Self {
        match text.to_str() {
            Some("auto") => Self::Auto,
            Some("builtin") => Self::BuiltIn,
            Some("off") => Self::Off,
            _ => Self::File(text.into()),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProbeScores {
    /// When integers are calibrated, or the weights take at most 4 GB in fp32 and fit in memory, and the library is found
    #[default]
    Auto,
    /// Always: the export fails when they cannot be scored
    On,
    /// Never: no model is loaded
    Off,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum PoolingRule {
    Last,
    BeforeFirstPad,
    LastNonPad,
}

//! Checkpoints with seeded random weights, in the true Hugging Face layout.

use std::path::{Path, PathBuf};

use crate::error::Result;

/// The dimensions of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelShape {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; must divide `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of one head; `hidden_size / num_attention_heads` when `None`.
    pub head_dim: Option<usize>,
    /// Rows of the embedding; must cover every id of the tokenizer.
    pub vocab_size: usize,
    /// Longest sequence, in tokens.
    pub max_position_embeddings: usize,
    /// Base of the rotary embedding's frequencies.
    pub rope_theta: f64,
    /// Added to the mean square in every RMSNorm.
    pub rms_norm_eps: f64,
}

/// A named set of dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Preset {
    /// Three layers of width 256: a few MB apart from the embedding.
    Tiny,
    /// Qwen2.5-0.5B.
    Qwen0_5B,
    /// Qwen2.5-7B.
    Qwen7B,
    /// Qwen2.5-72B, WorldPM's shape.
    Qwen72B,
}

/// The reward head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// `Linear -> ReLU -> Linear`, both with bias (`Qwen2ForRewardModel`).
    TwoLayer,
    /// One `Linear` (`Qwen2ForSequenceClassification`).
    OneLayer {
        /// Whether it has a bias; `transformers` itself makes none.
        bias: bool,
    },
}

/// How `config.json` is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigStyle {
    /// `rope_theta`, `rope_scaling`, `torch_dtype`.
    Transformers4,
    /// `rope_parameters`, `dtype`.
    Transformers5,
}

/// What to make.
#[derive(Clone, Debug, PartialEq)]
pub struct SynthOptions {
    /// The model's dimensions.
    pub shape: ModelShape,
    /// The reward head; [`Head::TwoLayer`] by default.
    pub head: Head,
    /// Written to `config.json` when set; decides which token is scored.
    pub pad_token_id: Option<u32>,
    /// Written to `config.json`; without effect on a score. `false` by default.
    pub tie_word_embeddings: bool,
    /// Largest weight file, in bytes; one tensor larger than this gets its own file.
    pub shard_bytes: u64,
    /// Put all weights in one `model.safetensors`, whatever their size.
    pub single_file: bool,
    /// Decides every value; 0 by default.
    pub seed: u64,
    /// Leave the weights as holes: full-size headers and files that take no disk.
    pub sparse: bool,
    /// The spelling of `config.json`.
    pub config_style: ConfigStyle,
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SynthReport {
    /// The checkpoint directory.
    pub path: PathBuf,
    /// Number of weight files.
    pub files: usize,
    /// Number of tensors.
    pub tensors: usize,
    /// Number of weights.
    pub parameters: u64,
    /// Size of all weights, in bytes.
    pub bytes: u64,
}

/// Makes a checkpoint in `out`.
pub fn synth(out: &Path, options: &SynthOptions) -> Result<SynthReport> {
    let _ = (out, options);
    todo!()
}

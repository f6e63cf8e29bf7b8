//! The model's dimensions and rules, read from `config.json`.

use std::path::Path;

use crate::error::Result;

/// The model classes this project knows, by their name in `architectures`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Architecture {
    /// Qwen2 with a head of two linear layers: WorldPM, Qwen2.5-Math-RM.
    Qwen2ForRewardModel,
    /// Qwen2 with a head of one linear layer.
    Qwen2ForSequenceClassification,
}

/// The part of `config.json` that decides a score.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ModelConfig {
    /// The model class.
    pub architecture: Architecture,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of one head; `hidden_size / num_attention_heads` unless given.
    pub head_dim: usize,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Longest sequence, in tokens.
    pub max_position_embeddings: usize,
    /// Added to the mean square in every RMSNorm.
    pub rms_norm_eps: f64,
    /// Base of the rotary embedding's frequencies.
    pub rope_theta: f64,
    /// The pad token; `None` when absent or null. It decides which token is scored.
    pub pad_token_id: Option<u32>,
    /// Whether the output embedding is the input embedding; without effect on a score.
    pub tie_word_embeddings: bool,
    /// Scores per conversation, where the file says so (`num_labels`, or the
    /// size of `id2label`).
    pub num_labels: Option<usize>,
    /// The type the weights were saved in, as in `bfloat16`; only for display.
    pub dtype: Option<String>,
}

impl ModelConfig {
    /// Reads and checks a `config.json`.
    ///
    /// # Errors
    /// See [`ModelConfig::parse`]; [`Error::Io`](crate::error::Error::Io) when the file cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let _ = path;
        todo!()
    }
}

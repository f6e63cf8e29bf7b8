//! A model's dimensions, and the parameters that they make.

use serde::{Deserialize, Serialize};

use crate::{
    arch::{Architecture, Head},
    checkpoint::ModelConfig,
};

/// Dimensions of a model, by their names in `config.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads.
    pub num_key_value_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Scores per conversation, or per step.
    pub num_labels: usize,
}

impl Shape {
    /// Every dimension with its name.
    pub fn fields(&self) -> [(&'static str, usize); 8] {
        [
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head_dim),
            ("vocab_size", self.vocab_size),
            ("num_labels", self.num_labels),
        ]
    }

    /// Parameters of a model of this shape; `None` for a class that is not known, and when the number does not fit 64
    /// bits.
    ///
    /// All have the embedding, and a layer of seven matrices, four for attention and three for the gated MLP, and two
    /// norms. Some have biases on queries, keys and values, norms of the heads, or two more norms. The head is two linear
    /// layers with biases, or one without.
    pub fn parameters(&self, architecture: &str) -> Option<u64> {
        let class = Architecture::from_name(architecture)?.class();
        let decoder = class.decoder.decoder();
        let [
            hidden,
            intermediate,
            layers,
            heads,
            kv_heads,
            head_dim,
            vocab,
            labels,
        ] = self.fields().map(|(_, value)| value as u128);
        let queries = heads * head_dim;
        let keys = kv_heads * head_dim;
        let when = |has: bool, count: u128| if has { count } else { 0 };
        let besides = when(decoder.qkv_bias, queries + 2 * keys)
            + when(decoder.head_norms, 2 * head_dim)
            + when(decoder.sandwich_norms, 2 * hidden);
        let attention = 2 * hidden.checked_mul(queries + keys)?;
        let mlp = 3 * hidden.checked_mul(intermediate)?;
        let layer = attention
            .checked_add(mlp)?
            .checked_add(2 * hidden + besides)?;
        let head = match class.head {
            Head::TwoLayer => hidden
                .checked_mul(hidden + labels + 1)?
                .checked_add(labels)?,
            Head::OneLayer => hidden.checked_mul(labels)?,
        };
        let all = vocab
            .checked_mul(hidden)?
            .checked_add(layers.checked_mul(layer)?)?
            .checked_add(hidden)?
            .checked_add(head)?;
        all.try_into().ok()
    }
}

/// The dimensions that a configuration states, by name.
pub(super) fn of_config(config: &ModelConfig) -> Vec<(&'static str, usize)> {
    let mut fields = vec![
        ("hidden_size", config.hidden_size),
        ("intermediate_size", config.intermediate_size),
        ("num_hidden_layers", config.num_hidden_layers),
        ("num_attention_heads", config.num_attention_heads),
        ("num_key_value_heads", config.num_key_value_heads),
        ("head_dim", config.head_dim),
        ("vocab_size", config.vocab_size),
    ];
    fields.extend(config.num_labels.map(|labels| ("num_labels", labels)));
    fields
}

//! From a checkpoint's architecture to the graphs of its stages.
//!
//! An architecture is one file with its weight names and layer composition, and one arm in each `match`
//! here. See `docs/adding-an-architecture.md`.

mod qwen2;

#[cfg(test)]
mod tests;

pub(crate) use qwen2::EMBED_TOKENS;

use std::ops::Range;

use crate::{
    block::{
        packed::{PackedRows, SCORED, TOKENS, names},
        reward_head::Head,
        rope::{RotaryTables, inverse_frequencies},
        weights::Weights,
    },
    checkpoint::{Architecture, Checkpoint, ModelConfig},
    error::Result,
    graph::{Dim, Graph, GraphBuilder},
    labels,
    op::onnx,
    options::Target,
    proto::ElementType,
};

/// What one stage of the model computes.
#[derive(Clone, Debug)]
pub(crate) struct StageSpec {
    pub(crate) name: String,
    /// The decoder layers of the stage.
    pub(crate) layers: Range<usize>,
    pub(crate) target: Target,
}

/// The reward head of an architecture.
pub(crate) fn head(architecture: Architecture) -> Head {
    match architecture {
        Architecture::Qwen2ForRewardModel => Head::TwoLayer,
        Architecture::Qwen2ForSequenceClassification => Head::OneLayer,
    }
}

/// Whether the model was trained with an empty system message in front of conversations without one.
pub(crate) fn system_marker(architecture: Architecture) -> bool {
    match architecture {
        Architecture::Qwen2ForRewardModel => true,
        Architecture::Qwen2ForSequenceClassification => false,
    }
}

/// How many scores the model class always gives, whatever the configuration says.
pub(crate) fn fixed_labels(architecture: Architecture) -> Option<u64> {
    match architecture {
        Architecture::Qwen2ForRewardModel => Some(1),
        Architecture::Qwen2ForSequenceClassification => None,
    }
}

/// The tensors of each part of the model, for dividing it into stages and for telling extra tensors.
pub(crate) fn layer_prefix(architecture: Architecture, layer: usize) -> String {
    match architecture {
        Architecture::Qwen2ForRewardModel | Architecture::Qwen2ForSequenceClassification => {
            qwen2::layer_prefix(layer)
        }
    }
}

/// Whether a tensor that the graph does not use may stand in a checkpoint all the same: a language-model
/// head, which reward models are often saved with.
pub(crate) fn is_harmless(tensor: &str) -> bool {
    tensor == "lm_head.weight"
}

/// Builds the graph of one stage. `weights` remembers which tensors it uses.
pub(crate) fn build_stage(
    checkpoint: &Checkpoint,
    weights: &mut Weights<'_>,
    spec: &StageSpec,
) -> Result<Graph> {
    let config = checkpoint.config();
    let hidden = config.hidden_size as u64;
    let labels = labels::count(checkpoint)?;
    let first = spec.layers.start == 0;
    let last = spec.layers.end == config.num_hidden_layers;

    let compute = weights.compute();
    let b = &mut GraphBuilder::new(&spec.name);

    let hidden_states = if first {
        let ids = b.input(names::INPUT_IDS, ElementType::Int64, [TOKENS])?;
        let table = [config.vocab_size as u64, hidden];
        let table = weights.stored(b, EMBED_TOKENS, &table)?;
        let rows = onnx::gather(b, "embed_tokens", &table, &ids)?;
        onnx::cast(b, "embed_tokens/cast", &rows, compute)?
    } else {
        b.input(names::HIDDEN_STATES, compute, [TOKENS, Dim::Fixed(hidden)])?
    };
    let position_ids = b.input(names::POSITION_IDS, ElementType::Int64, [TOKENS])?;
    let rows = PackedRows::declare(b, spec.target == Target::Ort)?;
    let scored = if last {
        Some(b.input(names::SCORE_TOKENS, ElementType::Int64, [SCORED])?)
    } else {
        None
    };
    let frequencies = inverse_frequencies(config.rope_theta, config.head_dim as u64);
    let rotary = RotaryTables::new(b, &position_ids, &frequencies, compute)?;

    let mut hidden_states = hidden_states;
    for layer in spec.layers.clone() {
        let scored = scored
            .as_ref()
            .filter(|_| layer + 1 == config.num_hidden_layers);
        let context = qwen2::LayerContext {
            config,
            rotary: &rotary,
            rows: &rows,
            scored,
        };
        hidden_states = b.scope(format!("layers.{layer}"), |b| {
            qwen2::layer(b, weights, layer, &hidden_states, &context)
        })?;
    }

    if last {
        let scale = weights.get(b, qwen2::NORM, &[hidden])?;
        let normed = onnx::rms_normalization(b, "norm", &hidden_states, &scale, epsilon(config))?;
        let scores = head(config.architecture).apply(b, weights, &normed, labels)?;
        b.output(&scores, names::SCORES)?;
    } else {
        b.output(&hidden_states, names::NEXT_HIDDEN_STATES)?;
    }
    std::mem::take(b).finish()
}

#[allow(clippy::cast_possible_truncation)]
fn epsilon(config: &ModelConfig) -> f32 {
    config.rms_norm_eps as f32
}

//! From a checkpoint's architecture to the graphs of its stages.
//!
//! What a family of models has is said in `arch`; here its blocks are put together.

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, ops::Range};

use worldpm_ort_bundle::{
    Error, Interface, Result, Target,
    graph::{Dim, Graph, GraphBuilder, Value},
    names,
    op::onnx,
    proto::ElementType,
};

use crate::{
    arch::EMBED_TOKENS,
    block::{
        decoder::{pre_norm_layer, sandwich_norm_layer},
        layer::LayerContext,
        masks::Masks,
        norm::RmsNorm,
        packed::{PackedTokens, StageEnds, TOKENS},
        padded::PaddedTokens,
        reward_head::reward_head,
        rope::RotaryTables,
        rope_frequencies::Frequencies,
        weights::Weights,
        wide_rows,
    },
    checkpoint::{Checkpoint, ModelConfig},
    labels,
};

// Every decoder here calls it so.
const NORM: &str = "model.norm";

/// What one stage of the model computes.
#[derive(Clone, Debug)]
pub(crate) struct StageSpec {
    pub(crate) name: String,
    /// The decoder layers of the stage.
    pub(crate) layers: Range<usize>,
    pub(crate) target: Target,
    pub(crate) interface: Interface,
}

impl StageSpec {
    fn ends(&self, layers: usize) -> StageEnds {
        StageEnds {
            first: self.layers.start == 0,
            last: self.layers.end == layers,
            row_lengths: self.target == Target::Ort,
        }
    }
}

/// The inputs of a stage, in the form of its interface.
enum StageInputs {
    Packed(PackedTokens),
    Padded(PaddedTokens),
}

impl StageInputs {
    fn declare(b: &mut GraphBuilder, ends: StageEnds, interface: Interface) -> Result<Self> {
        Ok(match interface {
            Interface::Packed => Self::Packed(PackedTokens::declare(b, ends)?),
            Interface::Padded => Self::Padded(PaddedTokens::declare(b, ends)?),
        })
    }

    fn tokens(&self) -> &PackedTokens {
        match self {
            Self::Packed(tokens) => tokens,
            Self::Padded(padded) => &padded.tokens,
        }
    }

    fn finish(&self, b: &mut GraphBuilder, scores: Value) -> Result<Value> {
        match self {
            Self::Packed(_) => Ok(scores),
            Self::Padded(padded) => padded.mark_empty_rows(b, &scores),
        }
    }
}

/// Builds the graph of one stage. `weights` remembers which tensors it uses.
pub(crate) fn build_stage(
    checkpoint: &Checkpoint,
    weights: &mut Weights<'_>,
    spec: &StageSpec,
) -> Result<Graph> {
    let config = checkpoint.config();
    let decoder = config.architecture.backbone().decoder();
    let hidden = config.hidden_size as u64;
    let labels = labels::count(checkpoint)?;
    let ends = spec.ends(config.num_hidden_layers);

    let compute = weights.compute();
    let b = &mut GraphBuilder::new(&spec.name);

    let handed_over = if ends.first {
        None
    } else {
        Some(b.input(names::HIDDEN_STATES, compute, [TOKENS, Dim::Fixed(hidden)])?)
    };
    let inputs = StageInputs::declare(b, ends, spec.interface)?;
    let PackedTokens {
        input_ids,
        position_ids,
        rows,
        score_tokens,
    } = inputs.tokens();
    let mut hidden_states = match (handed_over, input_ids) {
        (Some(hidden_states), _) => hidden_states,
        (None, Some(ids)) => {
            let table = [config.vocab_size as u64, hidden];
            let table = weights.stored(b, EMBED_TOKENS, &table)?;
            let rows = onnx::gather(b, "embed_tokens", &table, ids)?;
            let rows = onnx::cast(b, "embed_tokens/cast", &rows, compute)?;
            match decoder.scaled_embedding {
                true => onnx::scale(b, "embed_tokens/scaled", &rows, embedding_scale(config))?,
                false => rows,
            }
        }
        (None, None) => {
            return Err(Error::Graph {
                node: spec.name.clone(),
                problem: "the first stage has no token ids".into(),
            });
        }
    };
    // The order of sums is a promise on the CPU alone.
    let widened = match compute {
        ElementType::Float if wide_rows::are_needed(config.head_dim as u64) => {
            Some(wide_rows::widen(b, rows)?)
        }
        _ => None,
    };
    let rows = widened.as_ref().unwrap_or(rows);
    let masks = Masks::new(b, &rows.row_tokens, masks_needed(config, spec))?;
    let frequencies = Frequencies::new(&config.rope, config.head_dim);
    let rotary = RotaryTables::new(b, position_ids, &frequencies, compute)?;

    for layer in spec.layers.clone() {
        let scored = score_tokens
            .as_ref()
            .filter(|_| layer + 1 == config.num_hidden_layers);
        let context = LayerContext {
            layer,
            config,
            rotary: &rotary,
            rows,
            masks: &masks,
            scored,
        };
        let build = match decoder.sandwich_norms {
            true => sandwich_norm_layer,
            false => pre_norm_layer,
        };
        hidden_states = b.scope(format!("layers.{layer}"), |b| {
            build(b, weights, &hidden_states, &context)
        })?;
    }

    if ends.last {
        let normed = RmsNorm::new(config).apply(b, weights, NORM, &hidden_states)?;
        let scores = reward_head(
            config.architecture.class().head,
            b,
            weights,
            &normed,
            labels,
        )?;
        let scores = inputs.finish(b, scores)?;
        b.output(&scores, names::SCORES)?;
    } else {
        b.output(&hidden_states, names::NEXT_HIDDEN_STATES)?;
    }
    std::mem::take(b).finish()
}

/// What embeddings are multiplied by: the square root of their width, rounded to their type.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
fn embedding_scale(config: &ModelConfig) -> f32 {
    (config.hidden_size as f64).sqrt() as f32
}

/// The masks that attention out of standard operators needs: the standard `Attention` where it has a
/// window, and the form with a cap always.
fn masks_needed(config: &ModelConfig, spec: &StageSpec) -> BTreeSet<Option<u64>> {
    let layers = match spec.target {
        Target::Ort => &[],
        Target::Onnx => &config.windows[spec.layers.clone()],
    };
    layers
        .iter()
        .filter(|window| window.is_some() || config.attn_logit_softcapping.is_some())
        .map(|window| window.map(|window| window as u64))
        .collect()
}

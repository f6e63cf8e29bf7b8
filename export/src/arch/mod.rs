//! From a checkpoint's architecture to the graphs of its stages.
//!
//! An architecture is one file with its weight names and layer composition, and one arm in each `match`
//! here. See `docs/adding-an-architecture.md`.

mod gemma2;
mod llama;
mod mistral;
mod qwen2;
mod qwen3;

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, ops::Range};

use crate::{
    block::{
        decoder::LayerContext,
        masks::Masks,
        norm::RmsNorm,
        packed::{PackedTokens, StageEnds, TOKENS, names},
        padded::PaddedTokens,
        reward_head::Head,
        rope::RotaryTables,
        rope_frequencies::Frequencies,
        weights::Weights,
        wide_rows,
    },
    checkpoint::{Architecture, Backbone, Checkpoint, ModelConfig},
    error::{Error, Result},
    graph::{Dim, Graph, GraphBuilder, Value},
    labels,
    op::onnx,
    options::{Interface, Target},
    proto::ElementType,
};

// Every decoder here calls them so.
pub(crate) const EMBED_TOKENS: &str = "model.embed_tokens.weight";
const NORM: &str = "model.norm";
/// What tells the names of a decoder's tensors from those of a head.
const DECODER_PARTS: [&str; 4] = ["layers.", "embed_tokens", "model.norm.", "rotary_emb"];
/// Tensors that an error names; the others are counted.
const MAX_NAMED: usize = 8;

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

/// The reward head of an architecture.
pub(crate) fn head(architecture: Architecture) -> Head {
    match architecture {
        Architecture::Qwen2ForRewardModel | Architecture::Qwen2ForProcessRewardModel => {
            Head::TwoLayer
        }
        Architecture::Qwen2ForSequenceClassification
        | Architecture::Qwen3ForSequenceClassification
        | Architecture::LlamaForSequenceClassification
        | Architecture::MistralForSequenceClassification
        | Architecture::Gemma2ForSequenceClassification => Head::OneLayer,
    }
}

/// Checks that the tensors of the reward head are there.
///
/// # Errors
/// [`Error::Tensor`], which names those that may be a head of another name.
pub(crate) fn check_head(checkpoint: &Checkpoint) -> Result<()> {
    let config = checkpoint.config();
    let tensors = checkpoint.tensors();
    let wanted = head(config.architecture).tensors();
    let Some(missing) = wanted.iter().find(|name| !tensors.contains_key(**name)) else {
        return Ok(());
    };
    let part = |name: &str| DECODER_PARTS.iter().any(|part| name.contains(part));
    let other = tensors
        .iter()
        .filter(|(name, _)| !part(name) && !wanted.contains(&name.as_str()));
    let other = other.filter(|(name, _)| !is_harmless(name));
    let mut other: Vec<String> = other
        .map(|(name, entry)| format!("`{name}` {:?}", entry.shape))
        .collect();
    let more = other.len().saturating_sub(MAX_NAMED);
    other.truncate(MAX_NAMED);
    if more > 0 {
        other.push(format!("{more} more"));
    }
    let wanted = wanted.join("`, `");
    let found = match (other.is_empty(), tensors.keys().any(|name| is_harmless(name))) {
        (false, _) => format!(
            "beside the decoder the checkpoint has {}. If the head is among them and computes the same, save it under the \
             model's names; a head of another form is not supported",
            other.join(", ")
        ),
        (true, true) => "the checkpoint has a language-model head (`lm_head.weight`) and no other: it is a language model, \
                         or what a reward model was trained from. Take the trained reward model"
            .to_owned(),
        (true, false) => "the checkpoint has no head of any name: take the whole one, or the adapter that was trained with it"
            .to_owned(),
    };
    Err(Error::Tensor {
        tensor: (*missing).to_owned(),
        file: checkpoint.dir().display().to_string(),
        problem: format!(
            "is missing; the reward head of {} is `{wanted}`, and {found}",
            config.architecture
        ),
    })
}

/// Whether the model was trained with an empty system message in front of conversations without one.
pub(crate) fn system_marker(architecture: Architecture) -> bool {
    match architecture {
        Architecture::Qwen2ForRewardModel => true,
        Architecture::Qwen2ForProcessRewardModel
        | Architecture::Qwen2ForSequenceClassification
        | Architecture::Qwen3ForSequenceClassification
        | Architecture::LlamaForSequenceClassification
        | Architecture::MistralForSequenceClassification
        | Architecture::Gemma2ForSequenceClassification => false,
    }
}

/// How many scores the model class always gives, whatever the configuration says.
pub(crate) fn fixed_labels(architecture: Architecture) -> Option<u64> {
    match architecture {
        Architecture::Qwen2ForRewardModel => Some(1),
        Architecture::Qwen2ForProcessRewardModel => Some(2),
        Architecture::Qwen2ForSequenceClassification
        | Architecture::Qwen3ForSequenceClassification
        | Architecture::LlamaForSequenceClassification
        | Architecture::MistralForSequenceClassification
        | Architecture::Gemma2ForSequenceClassification => None,
    }
}

/// Whether a tensor that the graph does not use may stand in a checkpoint all the same: a language-model
/// head, which reward models are often saved with, and the frequencies of rotary positions, which older versions of
/// `transformers` saved and every version computes from the configuration.
pub(crate) fn is_harmless(tensor: &str) -> bool {
    tensor == "lm_head.weight" || tensor.ends_with("rotary_emb.inv_freq")
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
            match config.architecture.backbone() {
                Backbone::Gemma2 => {
                    let scale = gemma2::embedding_scale(config);
                    onnx::scale(b, "embed_tokens/scaled", &rows, scale)?
                }
                _ => rows,
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
        let build = match config.architecture.backbone() {
            Backbone::Qwen2 => qwen2::layer,
            Backbone::Qwen3 => qwen3::layer,
            Backbone::Llama => llama::layer,
            Backbone::Mistral => mistral::layer,
            Backbone::Gemma2 => gemma2::layer,
        };
        hidden_states = b.scope(format!("layers.{layer}"), |b| {
            build(b, weights, &hidden_states, &context)
        })?;
    }

    if ends.last {
        let normed = RmsNorm::new(config).apply(b, weights, NORM, &hidden_states)?;
        let scores = head(config.architecture).apply(b, weights, &normed, labels)?;
        let scores = inputs.finish(b, scores)?;
        b.output(&scores, names::SCORES)?;
    } else {
        b.output(&hidden_states, names::NEXT_HIDDEN_STATES)?;
    }
    std::mem::take(b).finish()
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

//! From a checkpoint's architecture to the graph of the model, and from that to the graphs of its stages.
//!
//! What a family of models has is said in `arch`; here its blocks are put together, once. A stage is cut out of the
//! model's graph.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use worldpm_ort_bundle::{
    Error as BundleError, Interface, Target,
    graph::{Cut, ExternalData, Graph, GraphBuilder, Value},
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
        packed::PackedTokens,
        padded::PaddedTokens,
        reward_head::reward_head,
        rope::RotaryTables,
        rope_frequencies::Frequencies,
        weights::{Used, Weights},
        wide_rows,
    },
    checkpoint::{Checkpoint, ModelConfig},
    convert::StageFile,
    error::{Error, Result},
    labels,
};

// Every decoder here calls it so.
const NORM: &str = "model.norm";

/// The graph of a whole model.
#[derive(Debug)]
pub(crate) struct ModelGraph {
    graph: Graph,
    /// The hidden states after each layer.
    after: Vec<Value>,
    /// Where converted weights would go, were they all in one file.
    file: Option<StageFile>,
    used: Used,
}

/// The graph of some of a model's layers.
#[derive(Debug)]
pub(crate) struct StageGraph {
    pub(crate) graph: Graph,
    /// The new weight file, when weights are converted: the graph's offsets count from where its tensors begin.
    pub(crate) file: Option<StageFile>,
}

/// The inputs of a model, in the form of its interface.
enum Inputs {
    Packed(PackedTokens),
    Padded(PaddedTokens),
}

impl Inputs {
    fn declare(b: &mut GraphBuilder, target: Target, interface: Interface) -> Result<Self> {
        let row_lengths = target == Target::Ort;
        Ok(match interface {
            Interface::Packed => Self::Packed(PackedTokens::declare(b, row_lengths)?),
            Interface::Padded => Self::Padded(PaddedTokens::declare(b, row_lengths)?),
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
            Self::Padded(padded) => Ok(padded.mark_empty_rows(b, &scores)?),
        }
    }
}

#[cfg(test)]
thread_local! {
    static BUILT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How many graphs this thread has built.
#[cfg(test)]
pub(crate) fn graphs_built() -> usize {
    BUILT.get()
}

impl ModelGraph {
    /// Builds the graph of the model of `checkpoint`.
    pub(crate) fn build(
        checkpoint: &Checkpoint,
        mut weights: Weights<'_>,
        target: Target,
        interface: Interface,
    ) -> Result<Self> {
        #[cfg(test)]
        BUILT.set(BUILT.get() + 1);
        let config = checkpoint.config();
        let class = config.architecture.class();
        let labels = labels::count(checkpoint)?;
        let compute = weights.compute();
        let b = &mut GraphBuilder::new("model");

        let inputs = Inputs::declare(b, target, interface)?;
        let PackedTokens {
            input_ids,
            position_ids,
            rows,
            score_tokens,
        } = inputs.tokens();
        let mut hidden_states = embed_tokens(b, &mut weights, config, input_ids)?;
        // The order of sums is a promise on the CPU alone.
        let widened = match compute {
            ElementType::Float if wide_rows::are_needed(config.head_dim as u64) => {
                Some(wide_rows::widen(b, rows)?)
            }
            _ => None,
        };
        let rows = widened.as_ref().unwrap_or(rows);
        let masks = Masks::new(b, &rows.row_tokens, masks_needed(config, target))?;
        let frequencies = Frequencies::new(&config.rope, config.head_dim);
        let rotary = RotaryTables::new(b, position_ids, &frequencies, compute)?;

        let build_layer = match config.architecture.backbone().decoder().sandwich_norms {
            true => sandwich_norm_layer,
            false => pre_norm_layer,
        };
        let mut after = Vec::with_capacity(config.num_hidden_layers);
        for layer in 0..config.num_hidden_layers {
            let context = LayerContext {
                layer,
                config,
                rotary: &rotary,
                rows,
                masks: &masks,
                scored: (layer + 1 == config.num_hidden_layers).then_some(score_tokens),
            };
            hidden_states = b.scope(format!("layers.{layer}"), |b| {
                build_layer(b, &mut weights, &hidden_states, &context)
            })?;
            after.push(hidden_states.clone());
        }

        let normed = RmsNorm::new(config).apply(b, &mut weights, NORM, &hidden_states)?;
        let scores = reward_head(class.head, b, &mut weights, &normed, labels)?;
        let scores = inputs.finish(b, scores)?;
        b.output(&scores, names::SCORES)?;
        let (used, file) = weights.finish();
        Ok(Self {
            graph: std::mem::take(b).finish()?,
            after,
            file,
            used,
        })
    }

    /// The graph of the whole model.
    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    /// What the model uses of its checkpoint.
    pub(crate) fn used(&self) -> &Used {
        &self.used
    }

    /// What fills the files of converted weights; `None` when they stay where they are.
    pub(crate) fn file(&self) -> Option<&StageFile> {
        self.file.as_ref()
    }

    /// The graph, called `name`, of some layers, with the embedding before the first layer and the head after the last.
    /// Converted weights are in a file called `file`.
    pub(crate) fn stage(
        &self,
        name: &str,
        layers: Range<usize>,
        file: String,
    ) -> Result<StageGraph> {
        let hidden_states = |layer: usize| {
            self.after.get(layer).ok_or_else(|| {
                Error::Bundle(BundleError::Graph {
                    node: name.to_owned(),
                    problem: format!("the model has no layer {layer}"),
                })
            })
        };
        let from = match layers.start.checked_sub(1) {
            None => None,
            Some(before) => Some(Cut {
                value: hidden_states(before)?,
                name: names::HIDDEN_STATES,
            }),
        };
        let to = match layers.end == self.after.len() {
            true => None,
            false => Some(Cut {
                value: hidden_states(layers.end.saturating_sub(1))?,
                name: names::NEXT_HIDDEN_STATES,
            }),
        };
        let mut graph = self.graph.part(name, from, to)?;
        let file = self.file.as_ref().map(|whole| {
            let used: BTreeSet<&str> = graph.weights().collect();
            let part = whole.part(file, |tensor| used.contains(tensor));
            let places: BTreeMap<&str, &ExternalData> = part
                .tensors()
                .iter()
                .map(|tensor| (tensor.name.as_str(), &tensor.data))
                .collect();
            graph.move_weights(|weight, data| {
                if let Some(&place) = places.get(weight) {
                    data.clone_from(place);
                }
            });
            part
        });
        Ok(StageGraph { graph, file })
    }
}

/// The embeddings of tokens.
fn embed_tokens(
    b: &mut GraphBuilder,
    weights: &mut Weights<'_>,
    config: &ModelConfig,
    ids: &Value,
) -> Result<Value> {
    let shape = [config.vocab_size as u64, config.hidden_size as u64];
    let table = weights.stored(b, EMBED_TOKENS, &shape)?;
    let rows = onnx::gather(b, "embed_tokens", &table, ids)?;
    let rows = onnx::cast(b, "embed_tokens/cast", &rows, weights.compute())?;
    Ok(
        match config.architecture.backbone().decoder().scaled_embedding {
            true => onnx::scale(b, "embed_tokens/scaled", &rows, embedding_scale(config))?,
            false => rows,
        },
    )
}

/// What embeddings are multiplied by: the square root of their width, rounded to their type.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
fn embedding_scale(config: &ModelConfig) -> f32 {
    (config.hidden_size as f64).sqrt() as f32
}

/// The masks that attention out of standard operators needs: the standard `Attention` where it has a
/// window, and the form with a cap always.
fn masks_needed(config: &ModelConfig, target: Target) -> BTreeSet<Option<u64>> {
    let layers = match target {
        Target::Ort => &[],
        Target::Onnx => config.windows.as_slice(),
    };
    layers
        .iter()
        .filter(|window| window.is_some() || config.attn_logit_softcapping.is_some())
        .map(|window| window.map(|window| window as u64))
        .collect()
}

//! A recipe's model before its weights are here.

use super::Recipe;
use crate::{
    arch::{self, Architecture, Scored},
    checkpoint::Checkpoint,
    error::{Error, Result},
    synth::{Head, ModelShape, SynthOptions, outline},
};

/// Longest sequence of a model whose training length is not published.
const LENGTH: usize = 32_768;

impl Recipe {
    /// A checkpoint of the recipe's model that exists in name only: to plan with, before it is downloaded. It can't be
    /// exported.
    ///
    /// # Errors
    /// [`Error::Recipe`] for a model class that this version does not export; [`Error::Option`] for dimensions that make
    /// no model.
    pub fn outline(&self) -> Result<Checkpoint> {
        let Some(architecture) = Architecture::from_name(&self.architecture) else {
            return Err(Error::Recipe {
                recipe: self.name.clone(),
                field: Some("architecture".to_owned()),
                problem: format!(
                    "`{}` is none of the classes that this version exports: {}",
                    self.architecture,
                    Architecture::ALL.map(|known| known.as_str()).join(", ")
                ),
            });
        };
        let shape = ModelShape {
            hidden_size: self.shape.hidden_size,
            intermediate_size: self.shape.intermediate_size,
            num_hidden_layers: self.shape.num_hidden_layers,
            num_attention_heads: self.shape.num_attention_heads,
            num_key_value_heads: self.shape.num_key_value_heads,
            head_dim: Some(self.shape.head_dim),
            vocab_size: self.shape.vocab_size,
            max_position_embeddings: self.trained_length.unwrap_or(LENGTH),
            rope_theta: 1e6,
            rms_norm_eps: 1e-6,
        };
        let class = architecture.class();
        let head = match (class.head, class.scored) {
            (arch::Head::OneLayer, _) => Head::OneLayer { bias: false },
            (arch::Head::TwoLayer, Scored::Steps { .. }) => Head::Process,
            (arch::Head::TwoLayer, _) => Head::TwoLayer,
        };
        let labels = (0..self.shape.num_labels).map(|label| format!("LABEL_{label}"));
        outline(&SynthOptions {
            backbone: architecture.backbone(),
            head,
            labels: labels.collect(),
            ..SynthOptions::new(shape)
        })
    }
}

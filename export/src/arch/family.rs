//! What sets the models of one family apart from those of another: the decoder, and the model classes over it.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use serde_json::{Value, json};

use super::head::Head;

/// Every message in a block of its own, and nothing else.
const CHATML: &str = include_str!("../../assets/chatml.jinja");
/// WorldPM's: as ChatML, but ends the last message with `<|endoftext|>`, and keeps an empty system block.
pub(super) const CHATML_ENDED: &str = include_str!("../../assets/worldpm.jinja");

/// The function of an MLP's gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// `x * Φ(x)`, with the cumulative normal distribution approximated by a hyperbolic tangent.
    GeluTanh,
}

/// The function of the gate, and where `config.json` names it.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) activation: Activation,
    /// The field.
    pub(crate) field: &'static str,
    /// What `transformers` calls the function; all names stand for one formula, and results differ by rounding at most.
    pub(crate) names: &'static [&'static str],
}

impl Gate {
    const SILU: Self = Self {
        activation: Activation::Silu,
        field: "hidden_act",
        names: &["silu", "swish"],
    };
}

/// Which layers see only the latest tokens, and the fields that say so.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Windows {
    /// None.
    None,
    /// Those from `max_window_layers` on, or those of `layer_types`, where `use_sliding_window` says so.
    Above,
    /// All, where `sliding_window` is not null.
    All,
    /// They take turns, the first of them slides; or those of `layer_types`.
    Alternating,
}

/// A decoder: what its layers compute, what its class reads of `config.json`, and what that takes for an absent field.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// The name in `model_type`.
    pub(crate) name: &'static str,
    /// The fields that its class reads besides those that all classes read.
    pub(crate) fields: &'static [&'static str],
    pub(crate) gate: Gate,
    /// Whether the projections of queries, keys and values always have a bias.
    pub(crate) qkv_bias: bool,
    /// Whether every head of queries and keys is normalised before its rotation.
    pub(crate) head_norms: bool,
    /// Whether what attention and the MLP give is normalised once more before it is added.
    pub(crate) sandwich_norms: bool,
    /// Whether norms store their weights less one.
    pub(crate) norms_less_one: bool,
    /// Whether embeddings are multiplied by the square root of their width.
    pub(crate) scaled_embedding: bool,
    pub(crate) windows: Windows,
    /// Whether there are as many key and value heads as query heads where the field is absent.
    pub(crate) kv_heads_default: bool,
    /// Whether `head_dim` has to be there.
    pub(crate) head_dim_needed: bool,
    /// For an absent `rope_theta`; without it, the field has to be there.
    pub(crate) rope_theta: Option<f64>,
    /// For an absent `pad_token_id`.
    pub(crate) pad_token_id: Option<u32>,
    /// For an absent `query_pre_attn_scalar`, for classes that have it.
    pub(crate) query_scalar: Option<f64>,
    /// For an absent `attn_logit_softcapping`, for classes that have it.
    pub(crate) softcap: Option<f64>,
    /// The fields of a made-up `config.json` besides those of all decoders, for this number of layers and size of heads.
    pub(crate) made_up: fn(layers: usize, head_dim: usize) -> Value,
    /// The kinds of its layers, over and over, where `transformers` 5 writes them.
    pub(crate) layer_types: &'static [&'static str],
}

impl Decoder {
    /// Pre-norm layers without biases, a SiLU gate, and attention to all earlier tokens.
    pub(super) const PRE_NORM: Self = Self {
        name: "",
        fields: &[],
        gate: Gate::SILU,
        qkv_bias: false,
        head_norms: false,
        sandwich_norms: false,
        norms_less_one: false,
        scaled_embedding: false,
        windows: Windows::None,
        kv_heads_default: false,
        head_dim_needed: false,
        rope_theta: None,
        pad_token_id: None,
        query_scalar: None,
        softcap: None,
        made_up: |_, _| json!({}),
        layer_types: &[],
    };
}

/// The decoder under a model class's head: what its layers compute and how its fields are called.
#[derive(Clone, Copy)]
pub struct Backbone(&'static Decoder);

impl Backbone {
    pub(super) const fn new(decoder: &'static Decoder) -> Self {
        Self(decoder)
    }

    pub(crate) fn decoder(self) -> &'static Decoder {
        self.0
    }

    /// The name in `model_type`.
    pub fn as_str(self) -> &'static str {
        self.0.name
    }
}

/// Which token of a conversation is scored by default.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scored {
    /// The rightmost that is not padding, as `*ForSequenceClassification` of `transformers` does.
    LastNonPad,
    /// The one before the first padding token.
    BeforeFirstPad,
    /// Each `token`: the model judges steps. The reward of a step is the probability of `label`.
    Steps {
        /// Its text.
        token: &'static str,
        label: usize,
    },
}

/// A model class: a decoder under a head, and how its published code uses them.
#[derive(Debug)]
pub(crate) struct Class {
    /// The name in `architectures`.
    pub(crate) name: &'static str,
    pub(crate) decoder: Backbone,
    pub(crate) head: Head,
    /// How many scores the class always gives, whatever the configuration says.
    pub(crate) labels: Option<u64>,
    /// Whether the model was trained with an empty system message in front of conversations without one.
    pub(crate) system_marker: bool,
    pub(crate) scored: Scored,
    /// The token that every rendered conversation should end with.
    pub(crate) end_token: Option<&'static str>,
    /// For a class that exists only as code beside its checkpoints, which it is implemented from: the configuration
    /// classes of that code that add no field to the decoder's.
    pub(crate) code: Option<&'static [&'static str]>,
    /// The chat template of checkpoints that are made up.
    pub(crate) chat_template: &'static str,
}

impl Class {
    /// The class of `transformers` with one linear layer over a decoder.
    pub(super) const fn one_layer(name: &'static str, decoder: Backbone) -> Self {
        Self {
            name,
            decoder,
            head: Head::OneLayer,
            labels: None,
            system_marker: false,
            scored: Scored::LastNonPad,
            end_token: None,
            code: None,
            chat_template: CHATML,
        }
    }
}

/// A model class this project knows, by its name in `architectures`.
#[derive(Clone, Copy)]
pub struct Architecture(&'static Class);

impl Architecture {
    pub(super) const fn new(class: &'static Class) -> Self {
        Self(class)
    }

    pub(crate) fn class(self) -> &'static Class {
        self.0
    }

    /// The name in `architectures`.
    pub fn as_str(self) -> &'static str {
        self.0.name
    }

    /// The decoder under the head.
    pub fn backbone(self) -> Backbone {
        self.0.decoder
    }
}

macro_rules! compared_by_name {
    ($($type:ident),+) => {$(
        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                self.as_str() == other.as_str()
            }
        }

        impl Eq for $type {}

        impl Hash for $type {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.as_str().hash(state);
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )+};
}

compared_by_name!(Backbone, Architecture);

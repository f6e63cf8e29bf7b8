//! The models that can be exported. A family is one file, with its decoder and its model classes, and its lines in the
//! lists here. See `docs/adding-an-architecture.md`.

mod family;
mod gemma2;
mod head;
mod inform;
mod llama;
mod mistral;
mod qwen2;
mod qwen3;

pub use family::{Activation, Architecture, Backbone};
pub(crate) use family::{Decoder, Scored, Windows};
pub(crate) use head::{EMBED_TOKENS, Head, is_harmless};

const DECODERS: &[Backbone] = &[
    Backbone::Qwen2,
    Backbone::Qwen3,
    Backbone::Llama,
    Backbone::Mistral,
    Backbone::Gemma2,
];

const CLASSES: &[Architecture] = &[
    Architecture::Qwen2ForRewardModel,
    Architecture::Qwen2ForProcessRewardModel,
    Architecture::Qwen2ForSequenceClassification,
    Architecture::Qwen3ForSequenceClassification,
    Architecture::LlamaForSequenceClassification,
    Architecture::MistralForSequenceClassification,
    Architecture::Gemma2ForSequenceClassification,
    Architecture::INFORMForSequenceClassification,
];

impl Backbone {
    /// Every known decoder.
    pub const ALL: [Self; DECODERS.len()] = *DECODERS.first_chunk().unwrap();

    /// The decoder of this name, if it is known.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|b| b.as_str() == name)
    }
}

impl Architecture {
    /// Every known class.
    pub const ALL: [Self; CLASSES.len()] = *CLASSES.first_chunk().unwrap();

    /// The class of this name, if it is known.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.as_str() == name)
    }
}

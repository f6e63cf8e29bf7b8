//! The model classes.

use std::fmt;

/// The model classes this project knows, by their name in `architectures`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Architecture {
    /// Qwen2 with a head of two linear layers: WorldPM, Qwen2.5-Math-RM.
    Qwen2ForRewardModel,
    /// Qwen2 with a head of two linear layers that judges every step of an answer: Qwen2.5-Math-PRM.
    Qwen2ForProcessRewardModel,
    /// Qwen2 with a head of one linear layer.
    Qwen2ForSequenceClassification,
    /// Qwen3 with a head of one linear layer: Skywork-Reward-V2-Qwen3.
    Qwen3ForSequenceClassification,
    /// Llama with a head of one linear layer: Skywork-Reward-Llama-3.1.
    LlamaForSequenceClassification,
    /// Mistral with a head of one linear layer.
    MistralForSequenceClassification,
    /// Gemma 2 with a head of one linear layer: Skywork-Reward-Gemma-2.
    Gemma2ForSequenceClassification,
}

/// The decoder under a model class's head: what its layers compute and how its fields are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backbone {
    /// Qwen2 and Qwen2.5.
    Qwen2,
    /// Qwen3 without experts.
    Qwen3,
    /// Llama 1 to 3.
    Llama,
    /// Mistral without experts.
    Mistral,
    /// Gemma 2.
    Gemma2,
}

impl Backbone {
    /// Every known decoder.
    pub const ALL: [Self; 5] = [
        Self::Qwen2,
        Self::Qwen3,
        Self::Llama,
        Self::Mistral,
        Self::Gemma2,
    ];

    /// The name in `model_type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Gemma2 => "gemma2",
        }
    }
}

impl Architecture {
    /// Every known class.
    pub const ALL: [Self; 7] = [
        Self::Qwen2ForRewardModel,
        Self::Qwen2ForProcessRewardModel,
        Self::Qwen2ForSequenceClassification,
        Self::Qwen3ForSequenceClassification,
        Self::LlamaForSequenceClassification,
        Self::MistralForSequenceClassification,
        Self::Gemma2ForSequenceClassification,
    ];

    /// The name in `architectures`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Qwen2ForRewardModel => "Qwen2ForRewardModel",
            Self::Qwen2ForProcessRewardModel => "Qwen2ForProcessRewardModel",
            Self::Qwen2ForSequenceClassification => "Qwen2ForSequenceClassification",
            Self::Qwen3ForSequenceClassification => "Qwen3ForSequenceClassification",
            Self::LlamaForSequenceClassification => "LlamaForSequenceClassification",
            Self::MistralForSequenceClassification => "MistralForSequenceClassification",
            Self::Gemma2ForSequenceClassification => "Gemma2ForSequenceClassification",
        }
    }

    /// The class of this name, if it is known.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.as_str() == name)
    }

    /// The decoder under the head.
    pub fn backbone(self) -> Backbone {
        match self {
            Self::Qwen2ForRewardModel
            | Self::Qwen2ForProcessRewardModel
            | Self::Qwen2ForSequenceClassification => Backbone::Qwen2,
            Self::Qwen3ForSequenceClassification => Backbone::Qwen3,
            Self::LlamaForSequenceClassification => Backbone::Llama,
            Self::MistralForSequenceClassification => Backbone::Mistral,
            Self::Gemma2ForSequenceClassification => Backbone::Gemma2,
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

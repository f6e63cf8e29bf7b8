//! The model classes.

use std::fmt;

/// The model classes this project knows, by their name in `architectures`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Architecture {
    /// Qwen2 with a head of two linear layers: WorldPM, Qwen2.5-Math-RM.
    Qwen2ForRewardModel,
    /// Qwen2 with a head of one linear layer.
    Qwen2ForSequenceClassification,
}

impl Architecture {
    /// Every known class.
    pub const ALL: [Self; 2] = [
        Self::Qwen2ForRewardModel,
        Self::Qwen2ForSequenceClassification,
    ];

    /// The name in `architectures`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Qwen2ForRewardModel => "Qwen2ForRewardModel",
            Self::Qwen2ForSequenceClassification => "Qwen2ForSequenceClassification",
        }
    }

    /// The class of this name, if it is known.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.as_str() == name)
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

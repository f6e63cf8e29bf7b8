//! The reward heads, and the tensors of each.

/// The embedding, as every decoder here calls it.
pub(crate) const EMBED_TOKENS: &str = "model.embed_tokens.weight";

/// The layers of a reward head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// `score.0` → ReLU → `score.2`, both with bias (`Qwen2ForRewardModel`, `Qwen2ForProcessRewardModel`).
    TwoLayer,
    /// `score`, with or without bias (`*ForSequenceClassification`).
    OneLayer,
}

impl Head {
    /// The weight whose rows are the scores, `[labels, hidden]`.
    pub(crate) fn last_weight(self) -> &'static str {
        match self {
            Self::TwoLayer => "score.2.weight",
            Self::OneLayer => "score.weight",
        }
    }

    /// The tensors that the head cannot do without.
    pub(crate) fn tensors(self) -> &'static [&'static str] {
        match self {
            Self::TwoLayer => &[
                "score.0.weight",
                "score.0.bias",
                "score.2.weight",
                "score.2.bias",
            ],
            Self::OneLayer => &["score.weight"],
        }
    }
}

/// Whether a tensor that the graph does not use may stand in a checkpoint all the same: a language-model
/// head, which reward models are often saved with, and the frequencies of rotary positions, which older versions of
/// `transformers` saved and every version computes from the configuration.
pub(crate) fn is_harmless(tensor: &str) -> bool {
    tensor == "lm_head.weight" || tensor.ends_with("rotary_emb.inv_freq")
}

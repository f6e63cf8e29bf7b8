//! INF-ORM: Llama with the head of `Qwen2ForRewardModel`, in code of its own beside the checkpoint.

use super::{
    family::{Architecture, Backbone, CHATML_ENDED, Class, Scored},
    head::Head,
};

/// Takes as many labels as the head has; its checkpoints have one. Where a template puts no padding token behind the
/// conversation, the published code scores the last token: that is `--pooling last`.
static SEQUENCE_CLASSIFICATION: Class = Class {
    head: Head::TwoLayer,
    scored: Scored::BeforeFirstPad,
    code: Some(&["LlamaConfig"]),
    chat_template: CHATML_ENDED,
    ..Class::one_layer("INFORMForSequenceClassification", Backbone::Llama)
};

#[allow(non_upper_case_globals)]
impl Architecture {
    /// Llama with a head of two linear layers: INF-ORM-Llama3.1-70B.
    pub const INFORMForSequenceClassification: Self = Self::new(&SEQUENCE_CLASSIFICATION);
}

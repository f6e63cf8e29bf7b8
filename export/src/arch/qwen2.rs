//! Qwen2 and Qwen2.5: biases on queries, keys and values only. WorldPM, Qwen2.5-Math-RM and Qwen2.5-Math-PRM.

use serde_json::json;

use super::{
    family::{Architecture, Backbone, CHATML_ENDED, Class, Decoder, Scored, Windows},
    head::Head,
};

static DECODER: Decoder = Decoder {
    name: "qwen2",
    fields: &[
        "hidden_act",
        "layer_types",
        "max_window_layers",
        "sliding_window",
        "use_sliding_window",
    ],
    qkv_bias: true,
    windows: Windows::Above,
    made_up: |layers, _| json!({"max_window_layers": layers, "sliding_window": null, "use_sliding_window": false}),
    layer_types: &["full_attention"],
    ..Decoder::PRE_NORM
};

/// The published code's own configurations: they add no field to those of Qwen2.
const CONFIGS: &[&str] = &["Qwen2RMConfig", "Qwen2Config"];

/// The template puts `<|endoftext|>` last. A conversation that ends otherwise would be scored at a token that the model
/// was not trained on.
static REWARD_MODEL: Class = Class {
    head: Head::TwoLayer,
    labels: Some(1),
    system_marker: true,
    scored: Scored::BeforeFirstPad,
    end_token: Some("<|endoftext|>"),
    code: Some(CONFIGS),
    chat_template: CHATML_ENDED,
    ..Class::one_layer("Qwen2ForRewardModel", Backbone::Qwen2)
};

/// Two numbers for each token. The model card of Qwen2.5-Math-PRM puts `<extra_0>` behind every step of the answer, and
/// takes the softmax of the two numbers there: the reward of a step is the probability of the second label, that the
/// step is right.
static PROCESS_REWARD_MODEL: Class = Class {
    head: Head::TwoLayer,
    labels: Some(2),
    scored: Scored::Steps {
        token: "<extra_0>",
        label: 1,
    },
    code: Some(CONFIGS),
    chat_template: CHATML_ENDED,
    ..Class::one_layer("Qwen2ForProcessRewardModel", Backbone::Qwen2)
};

static SEQUENCE_CLASSIFICATION: Class = Class {
    chat_template: CHATML_ENDED,
    ..Class::one_layer("Qwen2ForSequenceClassification", Backbone::Qwen2)
};

#[allow(non_upper_case_globals)]
impl Backbone {
    /// Qwen2 and Qwen2.5.
    pub const Qwen2: Self = Self::new(&DECODER);
}

#[allow(non_upper_case_globals)]
impl Architecture {
    /// Qwen2 with a head of two linear layers: WorldPM, Qwen2.5-Math-RM.
    pub const Qwen2ForRewardModel: Self = Self::new(&REWARD_MODEL);
    /// Qwen2 with a head of two linear layers that judges every step of an answer: Qwen2.5-Math-PRM.
    pub const Qwen2ForProcessRewardModel: Self = Self::new(&PROCESS_REWARD_MODEL);
    /// Qwen2 with a head of one linear layer.
    pub const Qwen2ForSequenceClassification: Self = Self::new(&SEQUENCE_CLASSIFICATION);
}

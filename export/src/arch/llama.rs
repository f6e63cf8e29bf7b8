//! Llama 1 to 3: no biases unless `attention_bias` or `mlp_bias`; rotary positions are scaled from Llama 3.1 on.

use serde_json::json;

use super::family::{Architecture, Backbone, Class, Decoder};

static DECODER: Decoder = Decoder {
    name: "llama",
    fields: &["attention_bias", "hidden_act", "mlp_bias"],
    kv_heads_default: true,
    // The files of Llama 1 and 2 do not say.
    rope_theta: Some(10_000.0),
    made_up: |_, _| json!({"attention_bias": false, "mlp_bias": false, "pretraining_tp": 1}),
    ..Decoder::PRE_NORM
};

static SEQUENCE_CLASSIFICATION: Class =
    Class::one_layer("LlamaForSequenceClassification", Backbone::Llama);

#[allow(non_upper_case_globals)]
impl Backbone {
    /// Llama 1 to 3.
    pub const Llama: Self = Self::new(&DECODER);
}

#[allow(non_upper_case_globals)]
impl Architecture {
    /// Llama with a head of one linear layer: Skywork-Reward-Llama-3.1.
    pub const LlamaForSequenceClassification: Self = Self::new(&SEQUENCE_CLASSIFICATION);
}

//! Qwen3 without experts: every head of queries and keys is normalised, no biases unless `attention_bias`.

use serde_json::json;

use super::family::{Architecture, Backbone, Class, Decoder, Windows};

static DECODER: Decoder = Decoder {
    name: "qwen3",
    fields: &[
        "attention_bias",
        "hidden_act",
        "layer_types",
        "max_window_layers",
        "sliding_window",
        "use_sliding_window",
    ],
    head_norms: true,
    windows: Windows::Above,
    head_dim_needed: true,
    made_up: |layers, head_dim| {
        json!({
            "attention_bias": false,
            "head_dim": head_dim,
            "max_window_layers": layers,
            "sliding_window": null,
            "use_sliding_window": false,
        })
    },
    layer_types: &["full_attention"],
    ..Decoder::PRE_NORM
};

static SEQUENCE_CLASSIFICATION: Class =
    Class::one_layer("Qwen3ForSequenceClassification", Backbone::Qwen3);

#[allow(non_upper_case_globals)]
impl Backbone {
    /// Qwen3 without experts.
    pub const Qwen3: Self = Self::new(&DECODER);
}

#[allow(non_upper_case_globals)]
impl Architecture {
    /// Qwen3 with a head of one linear layer: Skywork-Reward-V2-Qwen3.
    pub const Qwen3ForSequenceClassification: Self = Self::new(&SEQUENCE_CLASSIFICATION);
}

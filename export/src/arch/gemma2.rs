//! Gemma 2: what attention and the MLP give is normalised once more before it is added, norms store weights less one,
//! embeddings are scaled, the gate is a GELU, scores of attention are capped, and every other layer has a sliding window.

use serde_json::json;

use super::family::{Activation, Architecture, Backbone, Class, Decoder, Gate, Windows};

static DECODER: Decoder = Decoder {
    name: "gemma2",
    fields: &[
        "attention_bias",
        "attn_logit_softcapping",
        "hidden_activation",
        "layer_types",
        "query_pre_attn_scalar",
        "sliding_window",
    ],
    // Its class passes over `hidden_act`.
    gate: Gate {
        activation: Activation::GeluTanh,
        field: "hidden_activation",
        names: &[
            "gelu_pytorch_tanh",
            "gelu_new",
            "gelu_fast",
            "gelu_accurate",
            "gelu_python_tanh",
        ],
    },
    sandwich_norms: true,
    norms_less_one: true,
    scaled_embedding: true,
    windows: Windows::Alternating,
    head_dim_needed: true,
    pad_token_id: Some(0),
    query_scalar: Some(256.0),
    // Null means none.
    softcap: Some(50.0),
    made_up: |_, head_dim| {
        json!({
            "attention_bias": false,
            "attn_logit_softcapping": 50.0,
            "cache_implementation": "hybrid",
            "final_logit_softcapping": 30.0,
            "head_dim": head_dim,
            "hidden_act": "gelu_pytorch_tanh",
            "hidden_activation": "gelu_pytorch_tanh",
            "query_pre_attn_scalar": head_dim,
            "sliding_window": 4096,
        })
    },
    layer_types: &["sliding_attention", "full_attention"],
    ..Decoder::PRE_NORM
};

static SEQUENCE_CLASSIFICATION: Class =
    Class::one_layer("Gemma2ForSequenceClassification", Backbone::Gemma2);

#[allow(non_upper_case_globals)]
impl Backbone {
    /// Gemma 2.
    pub const Gemma2: Self = Self::new(&DECODER);
}

#[allow(non_upper_case_globals)]
impl Architecture {
    /// Gemma 2 with a head of one linear layer: Skywork-Reward-Gemma-2.
    pub const Gemma2ForSequenceClassification: Self = Self::new(&SEQUENCE_CLASSIFICATION);
}

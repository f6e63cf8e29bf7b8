//! Mistral without experts: no biases, and a window over all layers or none.

use serde_json::json;

use super::family::{Architecture, Backbone, Class, Decoder, Windows};

static DECODER: Decoder = Decoder {
    name: "mistral",
    fields: &["hidden_act", "layer_types", "sliding_window"],
    windows: Windows::All,
    made_up: |_, _| json!({"sliding_window": null}),
    ..Decoder::PRE_NORM
};

static SEQUENCE_CLASSIFICATION: Class =
    Class::one_layer("MistralForSequenceClassification", Backbone::Mistral);

#[allow(non_upper_case_globals)]
impl Backbone {
    /// Mistral without experts.
    pub const Mistral: Self = Self::new(&DECODER);
}

#[allow(non_upper_case_globals)]
impl Architecture {
    /// Mistral with a head of one linear layer.
    pub const MistralForSequenceClassification: Self = Self::new(&SEQUENCE_CLASSIFICATION);
}

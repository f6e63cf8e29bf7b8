//! A checkpoint whose weights are holes, for tests of text.

#![allow(unreachable_pub, clippy::unwrap_used)]

use std::path::Path;

use worldpm_ort::export::checkpoint::Backbone;
use worldpm_ort::export::synth::{Head, Preset, SynthOptions, synth};

/// Makes one of a single narrow layer in `dir`.
pub fn checkpoint(dir: &Path, backbone: Backbone) {
    let mut shape = Preset::Tiny.shape();
    shape.hidden_size = 64;
    shape.intermediate_size = 96;
    shape.num_attention_heads = 2;
    shape.num_key_value_heads = 1;
    shape.num_hidden_layers = 1;
    let mut options = SynthOptions::new(shape);
    options.sparse = true;
    options.single_file = true;
    options.backbone = backbone;
    options.head = Head::OneLayer { bias: false };
    synth(dir, &options).unwrap();
}

//! The parts of a transformer, as functions over a [`GraphBuilder`](worldpm_ort_bundle::graph::GraphBuilder).
//!
//! An architecture composes them; a part is added here only when its mathematics differs from what is
//! there.

pub(crate) mod attention;
pub(crate) mod decoder;
pub(crate) mod layer;
pub(crate) mod linear;
pub(crate) mod masks;
pub(crate) mod mlp;
pub(crate) mod norm;
pub(crate) mod packed;
pub(crate) mod padded;
pub(crate) mod pattern;
pub(crate) mod quantized_rows;
pub(crate) mod reward_head;
pub(crate) mod rope;
pub(crate) mod rope_frequencies;
pub(crate) mod softcap;
pub(crate) mod weights;
pub(crate) mod wide_rows;

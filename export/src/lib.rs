//! Turns a Hugging Face reward-model checkpoint into sharded ONNX graphs that
//! point into its safetensors files.

pub mod checkpoint;
pub mod error;
pub mod synth;

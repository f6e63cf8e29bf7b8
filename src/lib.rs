//! Scores conversations with large reward models through ONNX Runtime.

pub mod batch;
pub mod records;

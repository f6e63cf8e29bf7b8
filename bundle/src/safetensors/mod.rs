//! What is in a safetensors file, without the bytes of its tensors.

mod dtype;
pub mod header;

pub use dtype::Dtype;
pub use header::{Header, HeaderTensor};

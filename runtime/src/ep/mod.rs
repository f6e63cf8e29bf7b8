//! Execution providers: which device a stage runs on, and how ONNX Runtime learns it.
//!
//! A provider that is asked for and cannot be used is an error. ONNX Runtime would otherwise run on the
//! CPU without a word.

mod context;
mod cuda;
mod devices;
mod error;
mod lost;
mod node_assignment;
mod options;
mod out_of_memory;
mod plugin;
mod progress;
mod provider;
mod stage;
mod tensorrt;
mod unusable;
mod values;

pub(crate) use context::StageContext;
pub use cuda::{ArenaGrowth, AttentionKernel, CudaOptions};
pub use devices::Devices;
pub(crate) use devices::Slot;
pub use error::ProviderError;
pub use lost::device_lost;
pub(crate) use node_assignment::NodeAssignment;
pub use options::{ProviderOption, ProviderOptions};
pub use out_of_memory::out_of_memory;
pub use plugin::PluginOptions;
pub use provider::Provider;
pub(crate) use provider::bind_to_host;
pub use tensorrt::TensorRtOptions;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

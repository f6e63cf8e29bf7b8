//! Runs a bundle's stages: ONNX Runtime's library, one session per stage, and what joins them: a pipeline of loaded
//! stages, or one that loads them in turn.

mod activity;
mod cancellation;
mod error;
mod interface;
mod job;
mod kernels;
mod library;
mod library_error;
mod library_search;
mod linear_inputs;
mod matrix;
mod memory;
#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    dead_code,
    unreachable_pub
)]
mod model_check;
mod operators;
mod pending;
mod pipeline;
mod providers;
mod session;
mod source;
mod stage;
mod streamed;
mod sync;
#[doc(hidden)]
pub mod testing;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::cast_precision_loss)]
mod tests;
mod trust;

pub(crate) use activity::Activity;
pub use activity::{Observer, StageCounters, StageLoad, StageRun};
pub use cancellation::Cancellation;
pub use error::EngineError;
pub use interface::{Capacity, Completion, Engine, Health, Submission};
pub(crate) use kernels::KernelChoice;
pub use library::{OnnxRuntime, library_candidates};
pub use library_error::LibraryError;
#[doc(hidden)]
pub use linear_inputs::LinearInputs;
pub(crate) use matrix::{MatrixProbe, MatrixSizes};
pub use memory::return_large_blocks;
pub(crate) use pending::Pending;
pub(crate) use pipeline::Pipeline;
pub(crate) use session::{SessionStage, StageSetup, Threads};
pub(crate) use source::{BundleSource, load_copies};
pub(crate) use stage::{Failure, Flow, Stage, Watch};
pub(crate) use streamed::{StageSource, Streamer, Wave};

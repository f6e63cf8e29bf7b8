//! Turns a Hugging Face reward-model checkpoint into a bundle: ONNX graphs, one per pipeline stage, that
//! point into the checkpoint's own safetensors files, with a manifest, the tokenizer and the chat template.
//!
//! ```no_run
//! use worldpm_ort_export::{Checkpoint, ExportOptions, export, plan::Stages};
//!
//! let checkpoint = Checkpoint::open("WorldPM-72B".as_ref())?;
//! let options = ExportOptions { stages: Stages::Count(4), ..ExportOptions::default() };
//! let manifest = export(&checkpoint, "bundle".as_ref(), &options)?;
//! println!("{} stages", manifest.stages.len());
//! # Ok::<(), worldpm_ort_export::Error>(())
//! ```
//!
//! No weights are loaded: an ONNX external-data entry is (file, offset, length) of raw little-endian
//! bytes, which is what a safetensors tensor is.

mod arch;
mod block;
pub mod checkpoint;
mod convert;
mod error;
pub mod files;
pub mod fingerprint;
pub mod floats;
pub mod fused;
pub mod graph;
pub mod inspect;
pub mod json;
mod labels;
mod layout;
pub mod manifest;
pub mod op;
mod options;
mod output;
pub mod plan;
pub mod pooling;
pub mod probes;
pub mod proto;
pub mod readiness;
pub mod recipe;
pub mod rounded;
pub mod shard;
pub mod synth;
pub mod text_files;
mod write;

pub use block::packed::names;
pub use checkpoint::Checkpoint;
pub use convert::Progress;
pub use error::{Error, Result};
pub use manifest::Manifest;
pub use options::{
    Activation, Device, ExportOptions, Interface, Layout, Overflow, Pooling, Precision,
    QuantizationOptions, ServingOptions, Target, TextFrom, UnknownChoice, WeightsMode,
};
pub use write::{
    TextPlan, costs, export, export_then, export_with_progress, file_sha256, header_sha256,
    placement, text_files, text_plan, write_probes,
};

//! Turns a Hugging Face reward-model checkpoint into a bundle: ONNX graphs, one per pipeline stage, that
//! point into the checkpoint's own safetensors files, with a manifest, the tokenizer and the chat template.
//!
//! ```no_run
//! use worldpm_ort_export::{Checkpoint, ExportOptions, ExportPlan, plan::Stages};
//!
//! let checkpoint = Checkpoint::open("WorldPM-72B".as_ref())?;
//! let options = ExportOptions { stages: Stages::Count(4), ..ExportOptions::default() };
//! let plan = ExportPlan::new(&checkpoint, &options)?;
//! println!("{plan}");
//! plan.write("bundle".as_ref())?;
//! # Ok::<(), worldpm_ort_export::Error>(())
//! ```
//!
//! No weights are loaded: an ONNX external-data entry is (file, offset, length) of raw little-endian
//! bytes, which is what a safetensors tensor is.

mod arch;
mod block;
mod calibration;
pub mod checkpoint;
mod convert;
mod error;
pub mod inspect;
mod labels;
mod layout;
mod options;
mod output;
mod parallel;
pub mod plan;
pub mod pooling;
mod products;
pub mod recipe;
pub mod rotate;
mod shards;
mod stage;
pub mod synth;
mod text;
mod write;

pub use calibration::{Calibration, CalibrationNeeds, CalibrationWriter};
pub use checkpoint::Checkpoint;
pub use convert::Progress;
pub use error::{Error, Result};
pub use layout::LayoutOptions;
pub use options::{ExportOptions, QuantizationOptions};
pub use plan::{costs, placement};
pub use worldpm_ort_bundle::{
    Device, Interface, Layout, Manifest, Overflow, Pooling, Precision, Target, TextFrom,
    WeightsMode,
};
pub use write::{ExportPlan, ExportStage, TextPlan, export, export_then, text_files, write_probes};

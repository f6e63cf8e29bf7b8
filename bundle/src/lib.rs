//! What the exporter and the runtime of `worldpm-ort` share: the bundle, and the words in which both speak of it.
//!
//! A bundle is what an export writes and what scoring reads: ONNX graphs, one per pipeline stage, that point into
//! safetensors files, with a [`manifest`], [probes] and the [text files](mod@text_files) of the tokenizer. Here are its
//! format and the checks of it, the ONNX messages ([`proto`]) with a [builder](graph) and its [operators](op), which
//! the exporter builds models of and the runtime the small graphs that it measures devices with, what graphs
//! [cost], whether they [run where they should](readiness), and the files that a checkpoint consists of.

mod bytes;
pub mod checkpoint_files;
pub mod corrected;
pub mod cost;
mod error;
pub mod files;
pub mod fingerprint;
pub mod float_type;
pub mod floats;
pub mod fused;
pub mod graph;
pub mod hash;
pub mod json;
pub mod manifest;
pub mod names;
pub mod observed;
pub mod op;
mod overflow;
pub mod probes;
pub mod proto;
pub mod published;
pub mod readiness;
pub mod rounded;
pub mod safetensors;
pub mod text_files;
mod token;
mod violation;
mod vocabulary;

pub use bytes::{Bytes, BytesError};
pub use error::{Error, Result};
pub use manifest::Manifest;
pub use vocabulary::{
    Activation, Device, Interface, Layout, Overflow, Pooling, Precision, Target, TextFrom,
    UnknownChoice, WeightsMode,
};

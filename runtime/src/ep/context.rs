//! What a provider has to know of a stage.

use std::path::Path;

use ort::environment::Environment;
use worldpm_ort_bundle::{Manifest, manifest};

use crate::batch::Budget;

/// A stage, and what surrounds it.
#[derive(Clone, Copy)]
pub(crate) struct StageContext<'a> {
    /// The manifest's words on the stage.
    pub(crate) stage: &'a manifest::Stage,
    /// The bundle's manifest.
    pub(crate) manifest: &'a Manifest,
    /// The bundle.
    pub(crate) bundle: &'a Path,
    /// The graph's file.
    pub(crate) graph: &'a Path,
    /// Folder of the weight files.
    pub(crate) weights: &'a Path,
    /// What the planner puts into a pack.
    pub(crate) budget: Budget,
    /// Most tokens of a conversation.
    pub(crate) max_length: usize,
    /// ONNX Runtime.
    pub(crate) environment: &'a Environment,
    /// Its library.
    pub(crate) library: &'a Path,
    /// Its version.
    pub(crate) library_version: &'a str,
}

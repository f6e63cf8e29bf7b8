//! What a stage is loaded from and with.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use worldpm_ort_bundle::{Manifest, manifest};

use super::threads::Threads;
use crate::{
    batch::Budget,
    engine::{KernelChoice, LinearInputs},
    ep::Provider,
    weights::WeightFiles,
};

/// A stage that is to be loaded.
#[derive(Clone, Debug)]
pub(crate) struct StageSetup {
    /// The manifest's words on the stage.
    pub(crate) stage: manifest::Stage,
    /// The bundle's manifest.
    pub(crate) manifest: Arc<Manifest>,
    /// The bundle.
    pub(crate) bundle: PathBuf,
    /// What the planner puts into a pack.
    pub(crate) budget: Budget,
    /// Most tokens of a conversation.
    pub(crate) max_length: usize,
    /// Path of the graph file.
    pub(crate) graph: PathBuf,
    /// Folder of the weight files.
    pub(crate) weights: PathBuf,
    /// The weight files, as they were checked.
    pub(crate) weight_files: Arc<WeightFiles>,
    /// Device of the stage.
    pub(crate) provider: Provider,
    /// The threads that compute on the CPU.
    pub(crate) threads: Threads,
    /// Held while a stage computes on a device that it shares with other stages of the pipeline. Two
    /// stages that ran at once on the CPU would each want all its cores.
    pub(crate) turn: Arc<Mutex<()>>,
    /// Whether the stage is loaded for one wave of packs and dropped.
    pub(crate) streamed: bool,
    /// Whether other stages are on its device, and each should give back after a run what the run has taken.
    pub(crate) shares_device: bool,
    /// What our own kernels do, on the CPU.
    pub(crate) kernels: Option<KernelChoice>,
    /// Whether results are rounded to bfloat16, on the CPU.
    pub(crate) rounds_to_bf16: bool,
    /// Who sees the inputs of linear layers, on the CPU.
    pub(crate) linear_inputs: Option<Arc<dyn LinearInputs>>,
    /// Folder for a profile of its runs.
    pub(crate) profile: Option<PathBuf>,
}

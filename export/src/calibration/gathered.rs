//! What was gathered of all layers.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use worldpm_ort_bundle::manifest::CalibrationData;

use super::inputs::LayerInputs;

/// The inputs of a model's linear layers over some conversations, in files of a directory.
#[derive(Debug)]
pub struct Calibration {
    pub(super) data: CalibrationData,
    pub(super) inputs: HashMap<String, Arc<LayerInputs>>,
    pub(super) directory: PathBuf,
}

impl Calibration {
    /// What the conversations are.
    #[must_use]
    pub fn data(&self) -> &CalibrationData {
        &self.data
    }

    /// The directory of the files, which have to stay until weights are rounded.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What goes into the layer with the weight `tensor`.
    pub(crate) fn inputs(&self, tensor: &str) -> Option<&Arc<LayerInputs>> {
        self.inputs.get(tensor)
    }
}

//! One look at everything, in order.

use std::path::PathBuf;

use worldpm_ort_bundle::Device;

use super::{
    disk,
    finding::{Finding, Level},
    host, library, nvidia,
};
use crate::bundle::Bundle;

/// What is looked at.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DoctorOptions {
    /// A bundle: its files are checked, the disk of its weights is measured, and what it is for must work.
    pub model: Option<PathBuf>,
    /// ONNX Runtime's library. Default: the first found.
    pub ort_library: Option<PathBuf>,
}

impl DoctorOptions {
    /// Looks at a bundle too.
    #[must_use]
    pub fn with_model(mut self, model: Option<PathBuf>) -> Self {
        self.model = model;
        self
    }

    /// Uses this library.
    #[must_use]
    pub fn with_ort_library(mut self, library: Option<PathBuf>) -> Self {
        self.ort_library = library;
        self
    }
}

/// Looks at the library, the GPUs, the machine, and the bundle if one is named. Loads ONNX Runtime's library; no model is
/// loaded.
#[must_use]
pub fn examine(options: &DoctorOptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    let bundle = options.model.as_deref().and_then(|model| {
        let (bundle, finding) = match Bundle::open(model, None) {
            Ok(bundle) => {
                let manifest = bundle.manifest();
                let found = format!(
                    "{} in {}, for {}, stages: {}; its files are as exported",
                    manifest.model.architecture,
                    manifest.precision,
                    manifest.device,
                    manifest.stages.len()
                );
                (Some(bundle), Finding::ok("bundle", found))
            }
            Err(error) => {
                let advice = "name the directory of a bundle that `worldpm-ort export` made";
                (
                    None,
                    Finding::bad(Level::Error, "bundle", error.to_string(), advice),
                )
            }
        };
        findings.push(finding);
        bundle
    });
    let for_gpu = bundle
        .as_ref()
        .is_some_and(|bundle| bundle.manifest().device == Device::Cuda);
    let (gpus, nvidia) = nvidia::examine(for_gpu);
    // A GPU that stands idle, or a bundle that cannot run, is an error; the CUDA build of the library on a machine for
    // other work is not.
    let needed = for_gpu || !gpus.is_empty();
    findings.extend(library::examine(
        options.ort_library.as_deref(),
        bundle.as_ref(),
        needed,
    ));
    findings.extend(nvidia);
    findings.extend(host::examine());
    findings.extend(bundle.as_ref().and_then(disk::examine));
    findings
}

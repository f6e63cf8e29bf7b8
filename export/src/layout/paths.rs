//! Where the graphs and weights of a bundle go, and what they are called there.

use worldpm_ort_bundle::{
    Device, Interface, Layout, Target, WeightsMode, manifest::Manifest, names,
};

use super::{
    limits::Limits,
    options::{LayoutOptions, fault},
};
use crate::{error::Result, options::ExportOptions};

/// Where the graphs and weights of a bundle go.
#[derive(Clone, Debug)]
pub(crate) struct BundlePaths {
    pub(super) layout: Layout,
    pub(super) layout_options: LayoutOptions,
}

impl BundlePaths {
    /// Checks what the layout needs of the other options. `converted` says whether weights get new files anyway.
    ///
    /// # Errors
    /// [`crate::Error::Option`] when they do not go together.
    pub(crate) fn new(options: &ExportOptions, converted: bool) -> Result<Self> {
        let places = Self {
            layout: options.layout,
            layout_options: options.layout_options.clone(),
        };
        if options.layout == Layout::Plain {
            return match options.layout_options.tensorrt {
                true => fault(
                    "tensorrt",
                    "configures a server; give the layout triton or kserve".into(),
                ),
                false => Ok(places),
            };
        }
        places.layout_options.check()?;
        if options.weights == WeightsMode::Reference && !converted {
            return fault(
                "weights",
                format!(
                    "is reference, and a server that others run finds weights beside its graphs only: give copy or \
                     hardlink for the layout {}",
                    options.layout
                ),
            );
        }
        if options.layout_options.tensorrt {
            let problem = if options.device != Device::Cuda || options.target != Target::Onnx {
                "needs the device cuda and the target onnx"
            } else if options.interface == Interface::Padded {
                "needs the packed interface: the number of tokens that a mask leaves is not known from the shapes, \
                 for which TensorRT is prepared"
            } else {
                return Ok(places);
            };
            return fault("tensorrt", problem.into());
        }
        Ok(places)
    }

    /// Whether every stage has its own folder.
    pub(crate) fn by_stage(&self) -> bool {
        self.layout != Layout::Plain
    }

    /// The name of the whole model.
    pub(super) fn name(&self) -> &str {
        &self.layout_options.model_name
    }

    pub(super) fn stage_name(&self, index: usize) -> String {
        format!("{}-stage-{index:02}", self.name())
    }

    /// The folder of the models, ending in a slash when it is not the root.
    pub(super) fn repository(&self) -> &'static str {
        match self.layout {
            Layout::Plain | Layout::Triton => "",
            Layout::Kserve => "models/",
        }
    }

    /// The folder of a stage's graph and weights, ending in a slash when it is not the root.
    pub(crate) fn stage_folder(&self, index: usize) -> String {
        match self.layout {
            Layout::Plain => String::new(),
            Layout::Triton | Layout::Kserve => {
                format!(
                    "{}{}/1/model.onnx/",
                    self.repository(),
                    self.stage_name(index)
                )
            }
        }
    }

    /// The path of a stage's graph.
    pub(crate) fn graph(&self, index: usize) -> String {
        match self.layout {
            Layout::Plain => format!("stage-{index:02}.onnx"),
            Layout::Triton | Layout::Kserve => format!("{}model.onnx", self.stage_folder(index)),
        }
    }
}

/// What a stage's tensor is called in the ensemble: hidden states by the stage that they are for, the rest as it is.
pub(super) fn ensemble_tensor(stage: usize, name: &str) -> String {
    match name {
        names::HIDDEN_STATES => format!("{name}_{stage}"),
        names::NEXT_HIDDEN_STATES => format!("{}_{}", names::HIDDEN_STATES, stage + 1),
        other => other.to_owned(),
    }
}

/// The server's arguments that say how large its pools of memory are.
pub(super) fn pool_arguments(manifest: &Manifest, limits: Limits) -> Vec<String> {
    if manifest.device == Device::Cpu {
        return Vec::new();
    }
    let pinned = limits.pinned_pool(&manifest.stages);
    let pools = manifest.stages.iter().enumerate().map(|(index, stage)| {
        let bytes = limits.device_pool(stage);
        format!("--cuda-memory-pool-byte-size={index}:{bytes}")
    });
    std::iter::once(format!("--pinned-memory-pool-byte-size={pinned}"))
        .chain(pools)
        .collect()
}

//! How a bundle is laid out on disk: as this project's runtime needs it, or as the servers that others run do.
//!
//! Whatever the layout, the root holds the manifest and the tokenizer's files, and the manifest names the graphs and
//! weights by their paths from there.

mod kserve;
mod limits;
mod options;
mod readme;
mod text_proto;
mod triton;

pub use options::ServingOptions;

use std::fs;

use crate::{
    block::packed::names,
    error::Result,
    manifest::Manifest,
    options::{Device, ExportOptions, Interface, Layout, Target, WeightsMode},
    output::{StagedDir, output_error},
};
use limits::Limits;
use options::fault;

const README: &str = "README.md";
const SERVING_RUNTIME: &str = "serving-runtime.yaml";
const INFERENCE_SERVICE: &str = "inference-service.yaml";

/// Where the graphs and weights of a bundle go.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    layout: Layout,
    serving: ServingOptions,
}

impl Places {
    /// Checks what the layout needs of the other options. `converted` says whether weights get new files anyway.
    ///
    /// # Errors
    /// [`crate::Error::Option`] when they do not go together.
    pub(crate) fn new(options: &ExportOptions, converted: bool) -> Result<Self> {
        let places = Self {
            layout: options.layout,
            serving: options.serving.clone(),
        };
        if options.layout == Layout::Plain {
            return match options.serving.tensorrt {
                true => fault(
                    "tensorrt",
                    "configures a server; give the layout triton or kserve".into(),
                ),
                false => Ok(places),
            };
        }
        places.serving.check()?;
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
        if options.serving.tensorrt {
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
    fn name(&self) -> &str {
        &self.serving.model_name
    }

    fn stage_name(&self, index: usize) -> String {
        format!("{}-stage-{index:02}", self.name())
    }

    /// The folder of the models, ending in a slash when it is not the root.
    fn repository(&self) -> &'static str {
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

    /// Makes the folder of a stage.
    ///
    /// # Errors
    /// [`crate::Error::Output`] when it cannot be made.
    pub(crate) fn make_folder(&self, output: &StagedDir, index: usize) -> Result<()> {
        make(output, &self.stage_folder(index))
    }

    /// Writes what the layout has besides graphs, weights and manifest.
    ///
    /// # Errors
    /// [`crate::Error::Output`] when a file cannot be written.
    pub(crate) fn finish(&self, output: &StagedDir, manifest: &Manifest) -> Result<()> {
        if self.layout == Layout::Plain {
            return Ok(());
        }
        let limits = Limits::new(&self.serving, manifest.max_length);
        let write = |name: &str, text: String| output.write(name, text);

        let root = format!("{}{}", self.repository(), self.name());
        make(output, &format!("{root}/1"))?;
        write(
            &format!("{root}/config.pbtxt"),
            triton::ensemble(self, manifest)?,
        )?;
        // Object stores have no empty folders, and Triton asks for one.
        write(
            &format!("{root}/1/README.txt"),
            "An ensemble has no model file. Triton needs this folder to exist.\n".into(),
        )?;
        for index in 0..manifest.stages.len() {
            let config = triton::stage(self, manifest, index, limits, self.serving.tensorrt)?;
            let folder = format!("{}{}", self.repository(), self.stage_name(index));
            write(&format!("{folder}/config.pbtxt"), config)?;
        }
        write(README, readme::text(self, manifest, limits))?;
        if self.layout == Layout::Kserve {
            write(
                SERVING_RUNTIME,
                kserve::serving_runtime(self, manifest, limits),
            )?;
            write(
                INFERENCE_SERVICE,
                kserve::inference_service(self, manifest, limits),
            )?;
        }
        Ok(())
    }
}

/// The files that the layouts have besides those of the manifest, for a bundle with these graphs.
pub(crate) fn extra_files(graphs: &[String]) -> Vec<String> {
    let mut files = Vec::new();
    for graph in graphs {
        // In the plain layout graphs have no folder.
        let Some((folder, _)) = graph.split_once("/1/model.onnx/") else {
            continue;
        };
        files.push(format!("{folder}/config.pbtxt"));
        if let Some((model, _)) = folder.rsplit_once("-stage-") {
            files.push(format!("{model}/config.pbtxt"));
            files.push(format!("{model}/1/README.txt"));
        }
        files.extend([README, SERVING_RUNTIME, INFERENCE_SERVICE].map(str::to_owned));
    }
    files
}

fn make(output: &StagedDir, folder: &str) -> Result<()> {
    let path = output.path().join(folder);
    fs::create_dir_all(&path).map_err(|e| output_error(&path, "make this directory", &e))
}

/// What a stage's tensor is called in the ensemble: hidden states by the stage that they are for, the rest as it is.
fn ensemble_tensor(stage: usize, name: &str) -> String {
    match name {
        names::HIDDEN_STATES => format!("{name}_{stage}"),
        names::NEXT_HIDDEN_STATES => format!("{}_{}", names::HIDDEN_STATES, stage + 1),
        other => other.to_owned(),
    }
}

/// The server's arguments that say how large its pools of memory are.
fn pool_arguments(manifest: &Manifest, limits: Limits) -> Vec<String> {
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

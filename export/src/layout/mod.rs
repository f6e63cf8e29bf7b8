//! How a bundle is laid out on disk: as this project's runtime needs it, or as the servers that others run do.
//!
//! Whatever the layout, the root holds the manifest and the tokenizer's files, and the manifest names the graphs and
//! weights by their paths from there.

mod kserve;
mod limits;
mod options;
mod paths;
mod readme;
mod text_proto;
mod triton;

pub use options::LayoutOptions;
pub(crate) use paths::BundlePaths;

use std::fs;

use worldpm_ort_bundle::{Layout, manifest::Manifest};

use crate::{
    error::Result,
    output::{StagedDir, output_error},
};
use limits::Limits;

const README: &str = "README.md";
const SERVING_RUNTIME: &str = "serving-runtime.yaml";
const INFERENCE_SERVICE: &str = "inference-service.yaml";

impl BundlePaths {
    /// Makes the folder of a stage.
    ///
    /// # Errors
    /// [`crate::Error::Write`] when it cannot be made.
    pub(crate) fn make_folder(&self, output: &StagedDir, index: usize) -> Result<()> {
        make(output, &self.stage_folder(index))
    }

    /// Writes what the layout has besides graphs, weights and manifest.
    ///
    /// # Errors
    /// [`crate::Error::Write`] when a file cannot be written.
    pub(crate) fn finish(&self, output: &StagedDir, manifest: &Manifest) -> Result<()> {
        if self.layout == Layout::Plain {
            return Ok(());
        }
        let limits = Limits::new(&self.layout_options, manifest.max_length);
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
            let config =
                triton::stage(self, manifest, index, limits, self.layout_options.tensorrt)?;
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
    fs::create_dir_all(&path).map_err(|e| output_error(&path, "make this directory", e))
}

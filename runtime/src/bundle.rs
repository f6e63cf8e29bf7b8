//! Opens an exported directory and checks that its files are what the manifest says.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest, Sha256};
use worldpm_ort_bundle::{Manifest, files, manifest::Stage, text_files::TextFiles};

use crate::{
    error::{BundleProblem, Error, Result},
    weights::{WeightFiles, check_size},
};

/// A bundle whose files are all present and as large as they should be.
#[derive(Clone, Debug)]
pub struct Bundle {
    directory: PathBuf,
    weights: PathBuf,
    weight_files: Arc<WeightFiles>,
    manifest: Manifest,
}

/// How often another bundle may take the place of the one that is being opened.
const TRIES: usize = 8;

impl Bundle {
    /// Opens the bundle in `directory`.
    ///
    /// Graphs and tokenizer files are compared with their SHA-256, weight files with their size and the SHA-256 of their
    /// headers and of samples, which are a few megabytes of each. From then on the weight files are watched: see
    /// [`Error::WeightsChanged`].
    ///
    /// A weight file that is truncated while ONNX Runtime has it mapped makes the system end the process with `SIGBUS`,
    /// unless the program handles that, as the `worldpm-ort` command does.
    ///
    /// `weights` overrides where the weight files are looked for, for a checkpoint that has moved.
    ///
    /// # Errors
    /// [`Error::Manifest`] or [`Error::Bundle`], naming the file that is missing or differs.
    pub fn open(directory: &Path, weights: Option<&Path>) -> Result<Self> {
        Ok(Self::open_with_text(directory, weights)?.0)
    }

    /// As [`Bundle::open`], with the text files whose hashes were compared, so that these bytes are used and no others.
    pub(crate) fn open_with_text(
        directory: &Path,
        weights: Option<&Path>,
    ) -> Result<(Self, TextFiles)> {
        let mut manifest = Manifest::read(directory)?;
        for _ in 1..TRIES {
            let error = match Self::of(directory, weights, manifest.clone()) {
                Ok(bundle) => return Ok(bundle),
                Err(error) => error,
            };
            // Another bundle may have taken its place since its manifest was read.
            let now = Manifest::read(directory)?;
            if now == manifest {
                return Err(error);
            }
            manifest = now;
        }
        Self::of(directory, weights, manifest)
    }

    fn of(
        directory: &Path,
        weights: Option<&Path>,
        manifest: Manifest,
    ) -> Result<(Self, TextFiles)> {
        let weights = match (weights, &manifest.weights.directory) {
            (Some(folder), _) => folder.to_owned(),
            (None, Some(folder)) => PathBuf::from(folder),
            (None, None) => directory.to_owned(),
        };
        // ONNX Runtime compares resolved paths, so the folder has to be one.
        let weights = weights.canonicalize().map_err(|error| Error::Bundle {
            path: weights.clone(),
            problem: BundleProblem::WeightsFolder(error.into()),
        })?;
        for stage in &manifest.stages {
            read_graph(directory, stage)?;
        }
        let bundle = Self {
            weight_files: WeightFiles::check(&weights, &manifest.weights.files)?.into(),
            directory: directory.to_owned(),
            weights,
            manifest,
        };
        let text = bundle.text_files()?;
        Ok((bundle, text))
    }

    /// Reads tokenizer and chat template: the files that the manifest lists, and no others.
    ///
    /// # Errors
    /// [`Error::Bundle`], naming the file that is missing or differs.
    pub fn text_files(&self) -> Result<TextFiles> {
        TextFiles::of_bundle(&self.directory, &self.manifest.text).map_err(|error| match error {
            worldpm_ort_bundle::Error::Tokenizer { path, problem } => {
                let problem = BundleProblem::Text(problem);
                Error::Bundle { path, problem }
            }
            other => other.into(),
        })
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The directory of the bundle.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The folder of the weight files.
    #[must_use]
    pub fn weights(&self) -> &Path {
        &self.weights
    }

    /// The folder in which a stage's graph looks for its weights. In the layouts for servers every stage has one.
    #[must_use]
    pub fn stage_weights(&self, stage: &Stage) -> PathBuf {
        match (
            &self.manifest.weights.directory,
            Path::new(&stage.graph).parent(),
        ) {
            (None, Some(folder)) => self.weights.join(folder),
            _ => self.weights.clone(),
        }
    }

    /// The weight files, as they were checked.
    pub(crate) fn weight_files(&self) -> &Arc<WeightFiles> {
        &self.weight_files
    }
}

/// The bytes of a stage's graph, which are those of the manifest.
pub(crate) fn read_graph(directory: &Path, stage: &Stage) -> Result<Vec<u8>> {
    let path = directory.join(&stage.graph);
    check_size(&path, stage.bytes)?;
    let bytes = read(&path)?;
    check_hash(&path, &bytes, &stage.sha256)?;
    Ok(bytes)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    files::read_limited(path, files::MAX_GRAPH_BYTES).map_err(|error| Error::Bundle {
        path: path.to_owned(),
        problem: BundleProblem::CannotRead(error.into()),
    })
}

fn check_hash(path: &Path, bytes: &[u8], sha256: &str) -> Result<()> {
    let found: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if found == sha256 {
        return Ok(());
    }
    Err(Error::Bundle {
        path: path.to_owned(),
        problem: BundleProblem::Changed,
    })
}

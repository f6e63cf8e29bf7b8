//! Weight files that are made for the bundle.

use std::{fs::File, io::Write, path::Path};

use worldpm_ort_bundle::{
    files,
    manifest::{Weights, WeightsPlace},
};

use super::weight_files::describe;
use crate::{
    calibration::Calibration,
    checkpoint::{Checkpoint, adapter::Adapter},
    convert::{self, Progress, Rules, Sink, StageFile},
    error::{Error, Result},
    options::ExportOptions,
    output::{StagedDir, output_error},
};

/// The weight file of a stage whose tensors are all allocated.
#[derive(Debug)]
pub(super) struct NewFile {
    file: StageFile,
    head: Vec<u8>,
    /// Its folder in the bundle, ending in a slash when it is not the root.
    folder: String,
}

impl NewFile {
    pub(super) fn new(file: StageFile, folder: String) -> Self {
        Self {
            head: file.head(),
            file,
            folder,
        }
    }

    /// Its path in the bundle.
    fn path(&self) -> String {
        format!("{}{}", self.folder, self.file.name())
    }

    /// Where its tensors begin.
    pub(super) fn data_start(&self) -> u64 {
        self.head.len() as u64
    }

    /// Names and shapes of the weights of the checkpoint that are rounded.
    pub(super) fn rounded(&self) -> impl Iterator<Item = (&str, &[u64])> {
        let jobs = self.file.jobs().iter();
        jobs.filter(|job| job.encoding.is_rounded())
            .map(|job| (job.source.tensor.as_str(), job.source.shape.as_slice()))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.data_start() + self.file.data_bytes()
    }

    /// Writes the header, and makes the rest a hole.
    fn lay_out(&self, path: &Path) -> Result<()> {
        let write = || {
            let mut file = File::create_new(path)?;
            file.write_all(&self.head)?;
            file.set_len(self.bytes())
        };
        write().map_err(|e| output_error(path, "write it", e))
    }
}

/// Converts the weights of `checkpoint`, with `adapter` merged into them, into `files` and describes those. All have to
/// be finite when `finite` says so. Those that are rounded are for the inputs of `calibration`, if there is one.
pub(super) fn fill(
    checkpoint: &Checkpoint,
    adapter: Option<&Adapter>,
    files: &[&NewFile],
    options: &ExportOptions,
    (finite, calibration): (bool, Option<&Calibration>),
    output: &StagedDir,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Weights> {
    check_space(output.path(), files.iter().map(|file| file.bytes()).sum())?;
    let sinks: Vec<Sink<'_>> = files
        .iter()
        .map(|file| {
            Ok(Sink {
                path: output.file(&file.path())?,
                data_start: file.data_start(),
                jobs: file.file.jobs(),
            })
        })
        .collect::<Result<_>>()?;
    for (file, sink) in files.iter().zip(&sinks) {
        file.lay_out(&sink.path)?;
    }
    let adapter = adapter.map(Adapter::weights);
    let sources: Vec<&Path> = checkpoint
        .files()
        .iter()
        .map(|f| f.path.as_path())
        .chain(adapter.as_deref())
        .collect();
    let rules = Rules {
        overflow: options.overflow,
        finite,
        threads: options.threads,
        calibration,
        progress,
    };
    let clamped = convert::run(&sources, &sinks, &rules)?;
    let made: Vec<_> = files
        .iter()
        .zip(&sinks)
        .map(|(file, sink)| (sink.path.clone(), file.path()))
        .collect();
    Ok(Weights {
        mode: WeightsPlace::Converted,
        directory: None,
        files: describe(&made, options.checksum)?,
        clamped,
    })
}

/// Says before hours of work that there is no room for the result.
fn check_space(dir: &Path, needed: u64) -> Result<()> {
    // Where the system does not say, writing will show it.
    match files::free_bytes(dir) {
        Ok(free) if needed > free => Err(Error::NoSpace {
            path: dir.parent().unwrap_or(dir).to_owned(),
            needed,
            free,
        }),
        _ => Ok(()),
    }
}

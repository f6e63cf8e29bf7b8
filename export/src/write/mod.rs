//! Puts a bundle on disk: all of it or nothing.

mod converted;
mod owned;
mod plan;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod readiness_tests;
mod summary;
mod text_plan;
mod weight_files;

use std::path::Path;

use worldpm_ort_bundle::{
    Layout,
    corrected::add_to_scores,
    hash::sha256_hex,
    manifest::{self, FORMAT, FORMAT_VERSION, Manifest, Source},
    probes,
};

use crate::{
    checkpoint::{Checkpoint, adapter::Adapter},
    convert::Progress,
    error::{Error, Result},
    options::ExportOptions,
    output::{self, StagedDir},
    text,
};

pub(crate) use plan::describe;
pub use plan::{ExportPlan, ExportStage};
pub use text_plan::{TextPlan, text_files};

/// Exports `checkpoint` to the directory `out`: [`ExportPlan::new`], then [`ExportPlan::write`].
///
/// # Errors
/// Those of the two.
pub fn export(checkpoint: &Checkpoint, out: &Path, options: &ExportOptions) -> Result<Manifest> {
    ExportPlan::new(checkpoint, options)?.write(out)
}

/// As [`export`], with the progress and the last step of [`ExportPlan::write_then`].
///
/// # Errors
/// Those of [`ExportPlan::new`] and [`ExportPlan::write_then`].
pub fn export_then<E: From<Error>>(
    checkpoint: &Checkpoint,
    out: &Path,
    options: &ExportOptions,
    progress: &(dyn Fn(Progress) + Sync),
    finish: impl FnOnce(&Path, &Manifest) -> Result<(), E>,
) -> Result<Manifest, E> {
    ExportPlan::new(checkpoint, options)?.write_then(out, progress, |_, _| Ok(None), finish)
}

/// Puts the reference scores of a bundle's probes into it: the file `probes.json`, whole or not at all.
///
/// # Errors
/// [`Error::Write`], naming the file.
pub fn write_probes(bundle: &Path, content: &[u8]) -> Result<()> {
    output::addition::put(bundle, owned::BUNDLE, probes::FILE_NAME, content)
}

impl ExportPlan<'_> {
    /// Writes the bundle to the directory `out`.
    ///
    /// It is written to a temporary directory beside `out` and renamed at the end, so a failure leaves nothing behind. A
    /// bundle of ours that stands at `out` is replaced; anything else there is an error. The same checkpoint and options
    /// give the same bytes.
    ///
    /// # Memory
    /// Weights that are converted ([`ExportOptions::precision`]) are streamed: that takes about ten megabytes for each
    /// thread.
    ///
    /// # Errors
    /// [`Error::OutputTaken`], [`Error::NoSpace`], [`Error::Write`] and [`Error::Output`] when `out` cannot be made;
    /// [`Error::Bundle`] when a file of the checkpoint or the adapter cannot be read, or was written to since it was
    /// opened; [`Error::Overflow`] and [`Error::Tensor`] for values that cannot be converted.
    pub fn write(&self, out: &Path) -> Result<Manifest> {
        self.write_then(out, &|_| {}, |_, _| Ok(None), |_, _| Ok(()))
    }

    /// As [`ExportPlan::write`], with what the caller adds to the bundle before it gets its name, each of which is given its
    /// directory, with every file of the bundle in it. When one fails nothing is left.
    ///
    /// `correct` says what is to be added to the scores of each label, if anything, where weights were rounded for a
    /// [`Calibration`](crate::Calibration); it is not called elsewhere. `finish` adds files.
    ///
    /// `progress` is called from every thread that converts weights, after each megabyte or so; never when no weights are
    /// converted.
    ///
    /// # Errors
    /// As for [`ExportPlan::write`], and those of `finish`.
    pub fn write_then<E: From<Error>>(
        &self,
        out: &Path,
        progress: &(dyn Fn(Progress) + Sync),
        correct: impl FnOnce(&Path, &Manifest) -> Result<Option<Vec<f32>>, E>,
        finish: impl FnOnce(&Path, &Manifest) -> Result<(), E>,
    ) -> Result<Manifest, E> {
        let (output, mut manifest) = self.fill(out, progress)?;
        if self.calibration.is_some()
            && let Some(correction) = correct(output.path(), &manifest)?
        {
            self.correct(&output, &mut manifest, correction)?;
        }
        output.file(probes::FILE_NAME)?;
        finish(output.path(), &manifest)?;
        self.checkpoint.require_unwritten()?;
        if let Some(adapter) = &self.adapter {
            adapter.require_unwritten()?;
        }
        output.commit()?;
        Ok(manifest)
    }

    /// Writes the bundle under a temporary name.
    fn fill(
        &self,
        out: &Path,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<(StagedDir, Manifest)> {
        owned::require_apart(self.checkpoint, &self.options, out)?;
        let output = StagedDir::new(out, owned::BUNDLE)?;
        for (index, stage) in self.stages.iter().enumerate() {
            self.paths.make_folder(&output, index)?;
            output.write(&stage.manifest().graph, stage.onnx())?;
        }
        let weights = self.write_weights(&output, progress)?;
        let text = manifest::Text {
            system_marker: self.text.system_marker,
            from: self.text.from,
            tokenizer_class: self.text.files.class(),
            files: text::write(
                &self.text.files,
                &output,
                self.options.layout == Layout::Triton,
            )?,
        };
        let manifest = self.manifest(weights, text);
        output.write(manifest::FILE_NAME, manifest.to_json()?)?;
        self.paths.finish(&output, &manifest)?;
        Ok((output, manifest))
    }

    /// Has the last graph add `correction` to its scores.
    fn correct(
        &self,
        output: &StagedDir,
        manifest: &mut Manifest,
        correction: Vec<f32>,
    ) -> Result<()> {
        let (Some(stage), Some(planned)) = (manifest.stages.last_mut(), self.stages.last()) else {
            return Ok(());
        };
        let path = output.path().join(&stage.graph);
        let graph = add_to_scores(planned.onnx(), &path, &correction)?;
        stage.bytes = graph.len() as u64;
        stage.sha256 = sha256_hex(&graph);
        output.write(&stage.graph, graph)?;
        let quantization = manifest.quantization.as_mut();
        if let Some(data) = quantization.and_then(|made| made.calibration.as_mut()) {
            data.correction = correction;
        }
        output.write(manifest::FILE_NAME, manifest.to_json()?)
    }

    fn write_weights(
        &self,
        output: &StagedDir,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<manifest::Weights> {
        let (checkpoint, options) = (self.checkpoint, &self.options);
        let new_files: Vec<_> = self.stages.iter().filter_map(|s| s.file.as_ref()).collect();
        if !new_files.is_empty() {
            return converted::fill(
                checkpoint,
                self.adapter.as_ref(),
                &new_files,
                options,
                (self.quantization.is_some(), self.calibration.as_ref()),
                output,
                progress,
            );
        }
        if !self.paths.by_stage() {
            return weight_files::place(checkpoint, options, output);
        }
        let mut files = Vec::new();
        for (index, stage) in self.stages.iter().enumerate() {
            files.extend(weight_files::link_used(
                checkpoint,
                &stage.data_files,
                &self.paths.stage_folder(index),
                options,
                output,
            )?);
        }
        Ok(manifest::Weights {
            mode: options.weights.into(),
            directory: None,
            files,
            clamped: Vec::new(),
        })
    }

    fn manifest(&self, weights: manifest::Weights, text: manifest::Text) -> Manifest {
        let options = &self.options;
        let (repository, revision) = weight_files::hub_origin(self.checkpoint.dir());
        let stages = self.stages.iter().map(|stage| stage.manifest().clone());
        Manifest {
            format: FORMAT.into(),
            format_version: FORMAT_VERSION,
            producer: concat!("worldpm-ort ", env!("CARGO_PKG_VERSION")).into(),
            source: Source {
                repository,
                revision,
                config_sha256: self.config_sha256.clone(),
                unknown_config_fields: self.checkpoint.unknown_config_fields().to_vec(),
                adapter: self.adapter.as_ref().map(describe_adapter),
            },
            model: self.model.clone(),
            precision: self.precision,
            quantization: self.quantization.clone(),
            device: options.device,
            target: options.target,
            interface: options.interface,
            layout: options.layout,
            min_ort_version: self.min_ort_version.into(),
            stages: stages.collect(),
            weights,
            text,
            probes: self.text.probes.clone(),
            pooling: self.text.pooling,
            activation: self.text.activation,
            end_token: self.text.end_token.clone(),
            max_length: self.checkpoint.config().max_position_embeddings,
        }
    }
}

fn describe_adapter(adapter: &Adapter) -> manifest::Adapter {
    let (repository, revision) = weight_files::hub_origin(adapter.dir());
    let (r, lora_alpha) = adapter.rank_and_alpha();
    let (merged_tensors, replaced_tensors) = adapter.counts();
    manifest::Adapter {
        repository,
        revision,
        config_sha256: adapter.config_sha256().to_owned(),
        weights_sha256: adapter.weights_sha256().to_owned(),
        r,
        lora_alpha,
        merged_tensors,
        replaced_tensors,
        unchanged_modules: adapter.unchanged().to_vec(),
    }
}

//! Makes the reference scores of a checkpoint: what [`verify`](crate::verify) compares a bundle with.

use std::path::{Path, PathBuf};

use worldpm_ort_bundle::{Device, Interface, Layout, Manifest, Precision, Target, WeightsMode};
use worldpm_ort_export::{
    Checkpoint, ExportOptions, LayoutOptions, QuantizationOptions, export, plan::Stages,
    write_probes,
};
use worldpm_ort_runtime::{
    ScorerOptions, available_memory,
    engine::OnnxRuntime,
    verify::{
        Reference, VerifyError, measure,
        reference::{Skipped, memory_needed, of_probes},
        unmeasurable,
    },
};

/// Most bytes of fp32 weights that `export` loads for reference scores unless it is asked to: a model of a
/// billion parameters, a matter of seconds.
const UNASKED_BYTES: u64 = 4_000_000_000;

/// Who wants reference scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Somebody does: they are made, one layer at a time where memory does not hold all of them.
    Yes,
    /// Nobody in particular: a model of more than 4 GB in fp32, which takes long to load, is refused.
    No,
}

/// Reference scores cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// The checkpoint cannot be exported, or the scores not be put into the bundle.
    #[error(transparent)]
    Export(#[from] worldpm_ort_export::Error),
    /// The exported model cannot be loaded, or gives no scores.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

/// Makes the reference scores of a checkpoint's probes. `options` are those of the bundle that the scores
/// are for.
///
/// The checkpoint is exported for the CPU to a temporary directory, by reference, or in fp32 when an adapter is merged
/// into it, and loaded. Of `scorer`, the library, the number of threads and the memory count; the scores do not depend
/// on the threads.
///
/// # Memory
/// 1.1 times the weights in fp32, or of one layer where that is more than there is.
///
/// # Errors
/// [`VerifyError::Memory`] when there is not enough; [`VerifyError::Probe`] when the model gives no finite
/// number; and whatever is wrong with the checkpoint or ONNX Runtime's library.
pub fn make(
    checkpoint: &Checkpoint,
    options: &ExportOptions,
    scorer: &ScorerOptions,
    asked: Asked,
) -> Result<(Reference, Vec<Skipped>), ReferenceError> {
    let exact = Exact::export(checkpoint, options, scorer, asked)?;
    Ok(of_probes(&exact.bundle, exact.scorer)?)
}

/// As [`make`], and measures how far the bundle in `bundle`, which has this manifest, and bf16 are from the reference:
/// [`Reference::drift`]. `report` is called with what is being done.
///
/// The third value says why the drift was not measured, if it was not; the reference is kept in any event.
///
/// # Memory
/// As [`make`], or what `bundle` takes: one model is in memory at a time.
///
/// # Errors
/// As [`make`].
pub fn make_and_measure(
    checkpoint: &Checkpoint,
    options: &ExportOptions,
    scorer: &ScorerOptions,
    asked: Asked,
    (bundle, manifest): (&Path, &Manifest),
    report: &dyn Fn(&str),
) -> Result<(Reference, Vec<Skipped>, Option<String>), ReferenceError> {
    let exact = Exact::export(checkpoint, options, scorer, asked)?;
    report("the reference, in fp32");
    let (mut reference, skipped) = of_probes(&exact.bundle, exact.scorer.clone())?;
    if let Some(reason) = unmeasurable(manifest) {
        return Ok((reference, skipped, Some(reason.to_owned())));
    }
    let unmeasured = match measure(&reference, &exact.bundle, bundle, &exact.scorer, report) {
        Ok(drift) => {
            reference.drift = Some(drift);
            None
        }
        Err(error) => Some(error.to_string()),
    };
    Ok((reference, skipped, unmeasured))
}

/// A bundle on the reference path, see [`is_reference`], for as long as it is needed.
pub(crate) struct Exact {
    bundle: PathBuf,
    /// What it is scored with.
    scorer: ScorerOptions,
    _place: tempfile::TempDir,
}

impl Exact {
    /// Where it is.
    pub(crate) fn bundle(&self) -> &Path {
        &self.bundle
    }

    /// What it is scored with.
    pub(crate) fn scorer(&self) -> &ScorerOptions {
        &self.scorer
    }

    /// Whether one is made in seconds, as is done unasked.
    pub(crate) fn is_quick(checkpoint: &Checkpoint) -> bool {
        weight_bytes(checkpoint) <= UNASKED_BYTES
    }

    pub(crate) fn export(
        checkpoint: &Checkpoint,
        options: &ExportOptions,
        scorer: &ScorerOptions,
        asked: Asked,
    ) -> Result<Self, ReferenceError> {
        let weights = weight_bytes(checkpoint);
        if asked == Asked::No && !Self::is_quick(checkpoint) {
            return Err(ReferenceError::Verify(VerifyError::Memory {
                needed: weights,
                limit: UNASKED_BYTES,
                what: "the most that is loaded unasked",
            }));
        }
        let limit = scorer.memory.or_else(available_memory);
        let whole = limit.is_none_or(|limit| memory_needed(weights) <= limit);
        // Found missing before anything is written.
        OnnxRuntime::load(scorer.ort_library.as_deref(), scorer.threads)
            .map_err(|error| VerifyError::Score(error.into()))?;
        let place = tempfile::tempdir().map_err(|source| VerifyError::Write {
            path: std::env::temp_dir(),
            source,
        })?;
        let bundle = place.path().join("reference");
        let options = ExportOptions {
            target: Target::Ort,
            interface: Interface::Packed,
            layout: Layout::Plain,
            layout_options: LayoutOptions::default(),
            device: Device::Cpu,
            stages: Stages::Count(if whole {
                1
            } else {
                checkpoint.config().num_hidden_layers
            }),
            device_memory: None,
            weights: WeightsMode::Reference,
            // Merged weights are rounded to what they are stored in.
            precision: options.adapter.as_ref().map(|_| Precision::Fp32),
            quantization: QuantizationOptions::default(),
            checksum: false,
            ..options.clone()
        };
        export(checkpoint, &bundle, &options)?;
        let mut own = ScorerOptions::default();
        own.ort_library.clone_from(&scorer.ort_library);
        own.threads = scorer.threads;
        own.memory = scorer.memory;
        Ok(Self {
            bundle,
            scorer: own,
            _place: place,
        })
    }
}

/// Bytes of the weights in fp32.
fn weight_bytes(checkpoint: &Checkpoint) -> u64 {
    let elements = |shape: &[u64]| shape.iter().product::<u64>();
    let all = checkpoint.tensors().values();
    4 * all.map(|entry| elements(&entry.shape)).sum::<u64>()
}

/// Writes `probes.json` into the bundle in `dir`. The file is there whole or not at all.
///
/// # Errors
/// [`ReferenceError::Export`].
pub fn write(reference: &Reference, dir: &Path) -> Result<(), ReferenceError> {
    Ok(write_probes(dir, reference.to_json().as_bytes())?)
}

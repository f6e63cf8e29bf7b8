//! Measures how far a bundle is from its reference.

use std::path::Path;

use worldpm_ort_bundle::{Device, Interface, Manifest, Precision, manifest::WeightsPlace};

use super::{
    Limit, MeasuredDrift, ProbeDrift, Reference, VerifyError,
    reference::for_references,
    scoring::{scorer_options, scores_of_ids},
};
use crate::{Scorer, ScorerOptions};

/// How much further than at export a bundle of integers may be from the reference. Its arithmetic is the same wherever it
/// runs, but for the order of sums, which moves a few activations by a step.
const MARGIN: f64 = 2.0;

/// Whether the weights of a bundle were converted to fewer digits than those of bf16 or to others: its drift is measured.
#[must_use]
pub fn is_lossy(manifest: &Manifest) -> bool {
    manifest.weights.mode == WeightsPlace::Converted
        && !matches!(manifest.precision, Precision::Fp32 | Precision::Bf16)
}

/// Why the drift of a bundle cannot be measured on the CPU through the packed interface.
#[must_use]
pub fn unmeasurable(manifest: &Manifest) -> Option<&'static str> {
    match (manifest.device, manifest.interface) {
        (Device::Cuda, _) => Some("the bundle is for cuda, and the probes are scored on the CPU"),
        (_, Interface::Padded) => Some("the bundle has the padded interface, for other servers"),
        (Device::Cpu, Interface::Packed) => None,
    }
}

/// Measures the drift of a bundle from `reference`, which the bundle in `exact` gave. One of them is in memory at a time.
/// `options` are those that the reference was scored with; `report` is called with what is being done.
///
/// # Errors
/// Whatever is wrong with one of the bundles, and [`VerifyError::Drift`] where one gives no finite score for a probe.
pub fn measure(
    reference: &Reference,
    exact: &Path,
    bundle: &Path,
    options: &ScorerOptions,
    report: &dyn Fn(&str),
) -> Result<MeasuredDrift, VerifyError> {
    let options = for_references(options.clone());
    let mut simulating = options.clone();
    simulating.simulate_bf16 = true;
    report("bf16, simulated");
    let bf16 = scores(reference, exact, simulating)?;
    report("the bundle");
    let own = scores(reference, bundle, options)?;
    let drift = |scores: &[Vec<f32>], name: &str| {
        let probes = reference.probes.iter().zip(scores);
        let pairs = probes.flat_map(|(probe, got)| got.iter().copied().zip(probe.scores.clone()));
        ProbeDrift::of(pairs).ok_or_else(|| VerifyError::Drift(name.to_owned()))
    };
    let largest = reference
        .probes
        .iter()
        .zip(&own)
        .flat_map(|(probe, got)| got.iter().zip(&probe.scores))
        .map(|(&got, &reference)| {
            (f64::from(got) - f64::from(reference)).abs() / f64::from(reference.abs()).max(1.0)
        })
        .fold(0.0, f64::max);
    Ok(MeasuredDrift {
        bundle: drift(&own, "the bundle")?,
        bf16: drift(&bf16, "bf16, simulated,")?,
        limit: (MARGIN * largest).max(Limit::of_precision(Precision::Fp32).value),
    })
}

/// The scores of the reference's probes by another bundle, which has left the memory afterwards.
fn scores(
    reference: &Reference,
    bundle: &Path,
    options: ScorerOptions,
) -> Result<Vec<Vec<f32>>, VerifyError> {
    let sequences: Vec<Vec<u32>> = reference.probes.iter().map(|p| p.ids.clone()).collect();
    let mut options = scorer_options(options);
    // The limit has to hold on every processor: our own kernels, which not all of them have, round less.
    options.kernels = false;
    let scorer = Scorer::open(bundle, &options)?;
    let scores: crate::Result<Vec<_>> = scores_of_ids(&scorer, &sequences).into_iter().collect();
    Ok(scores?)
}

//! How far the precision of a bundle moves the scores of its probes, beside how far bf16 does.

use std::path::Path;

use serde::{Deserialize, Serialize};
use worldpm_ort_bundle::{Device, Interface, Manifest, Precision, manifest::WeightsPlace};

use super::{
    Limit, ProbeReport, Reference, VerifyError, numbers, reference::for_references, scorer_options,
};
use crate::{Scorer, ScorerOptions};

/// How much further than at export a bundle of integers may be from the reference. Its arithmetic is the same wherever it
/// runs, but for the order of sums, which moves a few activations by a step.
const MARGIN: f64 = 2.0;

/// Differences of scores from the reference, over the probes of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ProbeDrift {
    /// Root of their mean square.
    pub rms: f64,
    /// The largest one.
    pub largest: f64,
}

/// What an export measured of a bundle whose weights were converted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MeasuredDrift {
    /// Of the bundle.
    pub bundle: ProbeDrift,
    /// Of bf16, simulated: the reference with every result rounded that `transformers` in bf16 rounds.
    pub bf16: ProbeDrift,
    /// The largest difference that is let pass later, as [`Limit::value`]: twice what was measured, and at least the limit
    /// of fp32.
    pub limit: f64,
}

impl ProbeDrift {
    /// Of pairs of a score and its reference; `None` when there are none, or not only finite ones.
    #[must_use]
    pub fn of(pairs: impl IntoIterator<Item = (f32, f32)>) -> Option<Self> {
        let (mut count, mut squares, mut largest) = (0_u32, 0.0, 0.0_f64);
        for (got, reference) in pairs {
            let difference = (f64::from(got) - f64::from(reference)).abs();
            if !difference.is_finite() {
                return None;
            }
            count += 1;
            squares += difference * difference;
            largest = largest.max(difference);
        }
        (count > 0).then(|| Self {
            rms: (squares / f64::from(count)).sqrt(),
            largest,
        })
    }

    /// Of the probes that have a score in a report.
    #[must_use]
    pub fn of_report(report: &ProbeReport) -> Option<Self> {
        let scored = report
            .results
            .iter()
            .filter_map(|result| Some((result.got.as_ref().ok()?, &result.reference)));
        Self::of(scored.flat_map(|(got, reference)| got.iter().copied().zip(reference.clone())))
    }

    /// Whether the numbers can be those of differences.
    fn is_sound(&self) -> bool {
        let numbers = [self.rms, self.largest];
        numbers
            .iter()
            .all(|number| number.is_finite() && *number >= 0.0)
            && self.rms <= self.largest
    }
}

impl std::fmt::Display for ProbeDrift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rms {:.2e}, largest {:.2e}", self.rms, self.largest)
    }
}

impl MeasuredDrift {
    /// What is wrong with numbers that were read from a file.
    pub(super) fn check(&self) -> Result<(), String> {
        for (name, drift) in [("bundle", self.bundle), ("bf16", self.bf16)] {
            if !drift.is_sound() {
                return Err(format!(
                    "`drift.{name}` must have finite numbers, not negative, and `rms` no larger than `largest`"
                ));
            }
        }
        if self.limit.is_finite() && self.limit > 0.0 {
            return Ok(());
        }
        Err("`drift.limit` must be a finite number above 0".into())
    }
}

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
    let scores: crate::Result<Vec<_>> = numbers(&scorer, &sequences).into_iter().collect();
    Ok(scores?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn drift_is_of_finite_differences() {
        let drift = ProbeDrift::of([(1.0, 1.0), (2.0, 1.0), (0.0, -1.0), (1.0, 0.0)]).unwrap();
        assert_eq!((drift.rms, drift.largest), (0.75_f64.sqrt(), 1.0));
        assert_eq!(ProbeDrift::of([]), None);
        assert_eq!(ProbeDrift::of([(1.0, 1.0), (f32::NAN, 1.0)]), None);
        assert_eq!(ProbeDrift::of([(f32::INFINITY, 1.0)]), None);
    }

    #[test]
    fn recorded_numbers_are_checked() {
        let sound = ProbeDrift {
            rms: 0.5,
            largest: 1.0,
        };
        let bad = |rms, largest| ProbeDrift { rms, largest };
        let of = |bundle, bf16, limit| MeasuredDrift {
            bundle,
            bf16,
            limit,
        };
        assert_eq!(of(sound, sound, 1.0).check(), Ok(()));
        for (drift, field) in [
            (of(bad(2.0, 1.0), sound, 1.0), "drift.bundle"),
            (of(sound, bad(-1.0, 1.0), 1.0), "drift.bf16"),
            (of(sound, bad(0.0, f64::INFINITY), 1.0), "drift.bf16"),
            (of(sound, sound, 0.0), "drift.limit"),
            (of(sound, sound, f64::NAN), "drift.limit"),
        ] {
            let problem = drift.check().unwrap_err();
            assert!(problem.contains(field), "{problem}");
        }
    }
}

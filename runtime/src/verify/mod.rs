//! Whether a bundle gives the scores it should.
//!
//! Every bundle carries [probes](worldpm_ort_bundle::probes): a few short inputs. Their scores on the
//! *reference path*, which is fp32 on the CPU over the checkpoint's own weights, are in `probes.json` beside
//! the manifest. They are made at export or later, and [`run`] compares what the
//! bundle gives now with them. Whatever has gone wrong in between shows: in the precision, on the device,
//! in a copy of the files, in another ONNX Runtime or driver.
//!
//! ```no_run
//! # use worldpm_ort_runtime as worldpm_ort;
//! use worldpm_ort::{Scorer, ScorerOptions, verify};
//!
//! let scorer = Scorer::open("bundle".as_ref(), &verify::scorer_options(ScorerOptions::default()))?;
//! let reference = verify::Reference::read("bundle".as_ref(), scorer.manifest())?;
//! let report = verify::run(&scorer, &reference, None);
//! assert!(report.passed());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod drift;
mod error;
mod files;
mod limit;
mod measured;
mod probes;
mod published;
pub mod reference;

pub use error::VerifyError;
pub use files::{FileCheck, check_files};
pub use limit::Limit;
pub use measured::{MeasuredDrift, ProbeDrift, is_lossy, measure, unmeasurable};
pub use probes::{ProbeReport, ProbeResult, run};
pub use published::{PublishedResult, run_published};
pub use reference::Reference;

use crate::{Output, Scorer, ScorerOptions};

/// The time that templates with a date in them see while probes are rendered: 2025-01-01, 00:00 UTC. A date
/// that moves would move the scores.
const PROBE_TIME: i64 = 1_735_689_600;

/// Options for a scorer that probes are run with: `options`, and a fixed time for templates that write a
/// date.
#[must_use]
pub fn scorer_options(options: ScorerOptions) -> ScorerOptions {
    options.with_now(PROBE_TIME)
}

/// The numbers that the model gives for each sequence, in the order of the graph's output.
fn numbers(scorer: &Scorer, sequences: &[Vec<u32>]) -> Vec<crate::Result<Vec<f32>>> {
    let evaluations = scorer.evaluate_ids(sequences);
    evaluations
        .into_iter()
        .map(|evaluation| {
            Ok(match evaluation?.output {
                Output::Score(score) => vec![score],
                Output::Labels(labels) => labels.values().to_vec(),
                // Before the softmax, where an error shows however sure the model is.
                Output::Steps(steps) => steps.logits().to_vec(),
            })
        })
        .collect()
}

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
mod exact;
mod files;
mod limit;
mod measure;
mod measured;
mod probes;
mod published;
pub mod reference;
mod scoring;

pub use error::VerifyError;
pub use files::{FileCheck, check_files};
pub use limit::Limit;
pub use measure::{is_lossy, measure, unmeasurable};
pub use measured::{MeasuredDrift, ProbeDrift};
pub use probes::{ProbeReport, ProbeResult, run, run_on_ids};
pub use published::{PublishedResult, run_published};
pub use reference::Reference;
pub use scoring::{scorer_options, scores_of_ids};

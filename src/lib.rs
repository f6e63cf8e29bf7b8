//! Scores conversations with large reward models, such as WorldPM-72B, through ONNX Runtime.
//!
//! A reward model reads a conversation and returns one number: how good its last answer is. This crate
//! loads a *bundle*, the ONNX graphs that `worldpm-ort export` makes from a Hugging Face checkpoint,
//! applies the model's chat template and tokenizer, and returns the raw score.
//!
//! ```no_run
//! use worldpm_ort::{Conversation, Message, Scorer, ScorerOptions};
//!
//! let scorer = Scorer::open("bundle".as_ref(), &ScorerOptions::default())?;
//! let conversation = Conversation::new(vec![
//!     Message::new("user", "Tips for better sleep?"),
//!     Message::new("assistant", "Keep a regular bedtime, and avoid screens before it."),
//! ]);
//! for score in scorer.score(&[conversation]) {
//!     let score = score?;
//!     println!("{} ({} tokens)", score.score, score.tokens);
//! }
//! # Ok::<(), worldpm_ort::Error>(())
//! ```
//!
//! [`Scorer`] may be shared between threads. [`Scorer::stream`] scores any number of conversations in
//! bounded memory. ONNX Runtime's library is loaded at run time, see [`engine::OnnxRuntime`].

// It panics where standard error is closed or full; the command line has `report!`.
#![warn(clippy::print_stderr)]

pub mod calibration;
mod checked_export;
#[cfg(feature = "cli")]
pub mod cli;
pub mod references;

pub use checked_export::{Additions, CheckedExportError, Exported, export_checked};
pub use worldpm_ort_export as export;
#[cfg(feature = "hub")]
pub use worldpm_ort_runtime::hub;
#[cfg(feature = "remote")]
pub use worldpm_ort_runtime::remote;
#[cfg(feature = "testing")]
pub use worldpm_ort_runtime::testing;
pub use worldpm_ort_runtime::{
    Bundle, BundleProblem, Conversation, Counters, EndingProblem, Error, ErrorKind, LabelScores,
    MatmulPrecision, Message, OptionProblem, Output, PendingScore, PendingScores, PlacementReason,
    Reduction, Rendered, Residency, ResidencyCause, ResidencyReason, Result, Reward, Score,
    ScoreStream, ScoredToken, Scorer, ScorerOptions, SpecialTokenHandling, StepRewards,
    SystemDefault, TimedScore, Timings, Truncation, WeightsChange, answers, batch, bench,
    bundle_format, device, doctor, engine, ep, json, queue, records, scored_positions, text,
    verify,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

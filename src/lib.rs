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

// `engine::model_check` compiles the engine's sources a second time.
#![cfg_attr(test, allow(clippy::duplicate_mod))]
// It panics where standard error is closed or full; the command line has `tell!`.
#![warn(clippy::print_stderr)]

pub mod batch;
pub mod bench;
mod bundle;
mod checked_export;
mod counters;

#[cfg(feature = "cli")]
pub mod cli;
pub mod device;
mod dl;
pub mod doctor;
pub mod engine;
pub mod ep;
mod error;
mod evaluation;
#[cfg(feature = "hub")]
pub mod hub;
pub mod json;
mod load;
mod machine;
mod memory;
mod options;
mod placement;
mod pooling;
pub mod records;
mod residency;
mod scorer;
mod stream;
mod submitted;
pub mod text;
pub mod verify;
mod weights;

pub use bundle::Bundle;
pub use checked_export::{Exported, export_checked};
pub use counters::Counters;
pub use error::{Error, Result};
pub use evaluation::{Evaluation, LabelScores, Output, Reduction, Score, StepRewards};
pub use options::ScorerOptions;
pub use pooling::scored_positions;
pub use residency::Residency;
pub use scorer::Scorer;
pub use stream::ScoreStream;
pub use submitted::Batch;
pub use text::{Conversation, Message, Truncation};
pub use worldpm_ort_bundle as bundle_format;
pub use worldpm_ort_export as export;
pub use worldpm_ort_kernels::Precision as MatmulPrecision;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

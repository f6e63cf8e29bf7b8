//! Scores conversations with large reward models, such as WorldPM-72B, through ONNX Runtime.
//!
//! A reward model reads a conversation and returns one number: how good its last answer is. This crate
//! loads a *bundle*, the ONNX graphs that `worldpm-ort export` makes from a Hugging Face checkpoint,
//! applies the model's chat template and tokenizer, and returns the raw score.
//!
//! ```no_run
//! # use worldpm_ort_runtime as worldpm_ort;
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
//! # Ok::<(), worldpm_ort_runtime::Error>(())
//! ```
//!
//! [`Scorer`] may be shared between threads. [`Scorer::stream`] scores any number of conversations in
//! bounded memory. ONNX Runtime's library is loaded at run time, see [`engine::OnnxRuntime`].

// `engine::model_check` compiles the engine's sources a second time.
#![cfg_attr(test, allow(clippy::duplicate_mod))]
// It panics where standard error is closed or full.
#![warn(clippy::print_stderr)]

pub mod answers;
pub mod batch;
pub mod bench;
mod bundle;
mod counters;
mod deploy;
pub mod doctor;
pub mod engine;
pub mod ep;
mod error;
mod host;
#[cfg(any(feature = "hub", feature = "remote"))]
mod http_agent;
#[cfg(feature = "hub")]
pub mod hub;
pub mod json;
mod options;
mod pooling;
pub mod queue;
pub mod records;
#[cfg(feature = "remote")]
pub mod remote;
mod reward;
mod scorer;
mod stream;
mod submitted;
mod templated;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod text;
pub mod verify;
mod weights;

pub use bundle::Bundle;
pub use counters::Counters;
pub use deploy::{
    reason::{PlacementReason, ResidencyCause, ResidencyReason},
    residency::Residency,
};
pub use error::{
    BundleProblem, EndingProblem, Error, ErrorKind, OptionProblem, Result, WeightsChange,
};
pub use host::memory::available as available_memory;
pub use options::ScorerOptions;
pub use pooling::scored_positions;
pub use reward::{LabelScores, Output, Reduction, Reward, Score, StepRewards};
pub use scorer::{Rendered, Scorer};
pub use stream::ScoreStream;
pub use submitted::{PendingScore, PendingScores, ScoredToken, TimedScore, Timings};
pub use text::{Conversation, Message, SpecialTokenHandling, SystemDefault, Truncation};
pub use worldpm_ort_bundle as bundle_format;
pub use worldpm_ort_kernels::Precision as MatmulPrecision;

pub mod device {
    //! The GPUs of this machine, and which stage goes to which.
    //!
    //! ```no_run
    //! # use worldpm_ort_runtime as worldpm_ort;
    //! use worldpm_ort::device::{gpus, place};
    //!
    //! let gpus = gpus()?;
    //! let placement = place(&[70 << 30, 68 << 30], &gpus)?;
    //! println!("{}", placement.reason);
    //! # Ok::<(), Box<dyn std::error::Error>>(())
    //! ```

    pub use crate::{
        deploy::placement::{PlaceError, Placement, place},
        host::gpu::{Gpu, GpusError, Installed, NoKernels, check_kernels, gpus, installed},
    };
}

//! Scores by servers, in place of a model in this process: the other end of `worldpm-ort serve`.
//!
//! A [`RemoteScorer`] sends records to one server or to several, some to a request, and gives their answers in order. A server
//! that has too much to do, or does not answer, is left alone for a while and its records go to another; a record that cannot
//! be scored is an answer like any other.
//!
//! ```no_run
//! # use worldpm_ort_runtime as worldpm_ort;
//! use worldpm_ort::{Conversation, remote::{RemoteOptions, RemoteScorer}};
//!
//! let scorer = RemoteScorer::new(RemoteOptions::new(["http://127.0.0.1:8000"]))?;
//! let records = vec![("a", vec![Conversation::exchange("Tips?", "Sleep.")])];
//! for answered in scorer.stream(records) {
//!     let (name, outcome) = answered?;
//!     println!("{name}: {outcome:?}");
//! }
//! # Ok::<(), worldpm_ort::remote::RemoteError>(())
//! ```

mod balance;
mod error;
mod options;
mod post;
mod request;
mod stream;

pub use error::RemoteError;
pub use options::RemoteOptions;
pub use request::Answered;
pub use stream::{RemoteScorer, RemoteStream};

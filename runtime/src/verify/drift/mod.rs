//! How far the scores of two bundles are apart on the user's own data.
//!
//! The bundles are loaded one after the other, so memory holds one model at a time, and the data is read
//! once for each. [`FirstPass`] keeps the numbers that the first bundle gives; [`Comparison`] takes those of
//! the second and makes a [`DriftReport`] of both.
//!
//! # Memory
//! About 150 bytes for each record and 20 for each of its scores. Conversations are not kept.

mod comparison;
mod groups;
mod pairs;
mod record;
mod scores;
pub mod stats;

pub use crate::records::Side;
pub use comparison::{Comparison, DataChanged, DriftReport, FirstPass, LabelDrift};
pub use groups::{BestChange, GroupDrift};
pub use pairs::{Flip, PairDrift};
pub use record::{Numbers, Outcome, PromptKey, RecordName};
pub use scores::{Largest, ScoreDrift};

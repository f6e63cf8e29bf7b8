//! The batch planner: which sequences are computed together, and the index
//! tensors that say so to the graph.
//!
//! Pure functions over token ids; nothing here knows ONNX Runtime.
//!
//! The graph computes a flat list of *packed tokens*. The sequences of a
//! [`Pack`] are merged into a prefix trie and each trie node is one packed
//! token, so a prompt shared by eight responses is computed once. Only
//! attention sees rows: one row per sequence that no other sequence of the pack
//! extends. Attention is causal, so a sequence that is a prefix of another, or
//! a duplicate of it, has its score at an inner token of that row and needs no
//! row of its own.
//!
//! [`plan`] decides the packs under a [`Budget`]; [`Pack::inputs`] makes the
//! tensors of one of them.
//!
//! ```
//! # use worldpm_ort_runtime as worldpm_ort;
//! use worldpm_ort::batch::{Budget, plan};
//!
//! let sequences = [vec![7, 7, 1, 2], vec![7, 7, 3], vec![7, 7]];
//! let plan = plan(&sequences, &Budget::default())?;
//! assert_eq!(plan.packs.len(), 1);
//! assert_eq!(plan.stats.tokens, 9);
//! assert_eq!(plan.stats.unique_tokens, 5);
//!
//! let inputs = plan.packs[0].inputs(&sequences)?;
//! assert_eq!(inputs.input_ids, [7, 7, 1, 2, 3]);
//! assert_eq!(inputs.position_ids, [0, 1, 2, 3, 2]);
//! assert_eq!(inputs.score_tokens, [3, 4, 1]);
//! assert_eq!(inputs.member_scores, [0, 1, 2]);
//! # Ok::<(), worldpm_ort::batch::BatchError>(())
//! ```

mod cut;
mod error;
mod options;
mod order;
mod pack;
mod plan;
mod prefix;
mod stats;

#[cfg(test)]
mod tests;

pub use error::BatchError;
pub use options::Budget;
pub use pack::PackInputs;
pub use plan::{Pack, Plan, plan};
pub use stats::PlanStats;

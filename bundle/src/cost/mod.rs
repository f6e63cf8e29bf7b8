//! What graphs cost: bytes of weights, work, and memory while they run.

mod graph;
mod memory;
mod model;

pub use graph::{Costs, Part, Peak, RunSizes};
pub use memory::{DEFAULT_MEAN_LENGTH, Overheads, StageMemory, TokenBudget};
pub use model::{GraphCosts, ModelCosts};

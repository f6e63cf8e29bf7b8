//! What graphs cost: bytes of weights, work, and memory while they run.

mod graph;
mod memory;
mod model;
mod node;

pub use graph::{Costs, Part, Peak};
pub use memory::{DEFAULT_MEAN_LENGTH, Overheads, StageMemory, TokenBudget};
pub use model::{GraphCosts, ModelCosts};
pub use node::RunSizes;

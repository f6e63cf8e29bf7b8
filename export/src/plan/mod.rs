//! What a model needs and how fast it could be: bytes, stages, and a bound on speed, worked out from its graphs.

mod bytes;
mod cost;
mod memory;
mod place;

#[cfg(test)]
mod tests;

pub use bytes::{Bytes, BytesError};
pub use cost::{Costs, Pack, Part, Peak};
pub use memory::{StageMemory, TokenBudget};
pub use place::{DeviceMemory, PlacedStage, Stages, StagesError, place};

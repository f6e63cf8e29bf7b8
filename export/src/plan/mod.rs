//! What a model needs and how fast it could be: bytes, stages, and a bound on speed, worked out from its graphs.

mod bytes;
mod cost;
mod estimate;
mod gpu;
mod link;
mod memory;
mod place;
mod report;
mod simulate;
mod simulation;

#[cfg(test)]
mod tests;

pub use bytes::{Bytes, BytesError};
pub use cost::{Costs, Pack, Part, Peak};
pub use estimate::{Bill, Bound, Efficiency, Speed, StageTime, bill, speed};
pub use gpu::{GPUS, Gpu, GpuCount, GpuError};
pub use link::{KnownLink, LINKS, Link, LinkError};
pub use memory::{StageMemory, TokenBudget};
pub use place::{DeviceMemory, PlacedStage, Stages, StagesError, place};
pub use report::{Fleet, Plan, PlanOptions, PlannedStage, Prepared, plan};
pub use simulate::{Outcome, SimulatedStage, StageUse, pack_sizes, simulate};
pub use simulation::{Simulation, SimulationOptions, Traffic, simulation};

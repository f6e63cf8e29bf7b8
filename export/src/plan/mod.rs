//! What a model needs and how fast it could be: bytes, stages, and a bound on speed, worked out from its graphs.

mod assign;
mod divide;
mod draft;
mod estimate;
pub(crate) mod format;
mod gpu;
mod link;
mod report;
mod simulate;
mod simulation;
mod weights;

#[cfg(test)]
mod tests;

pub use assign::{DeviceMemory, PlacedStage, Stages, StagesError, assign_layers};
pub(crate) use draft::Draft;
pub use draft::{costs, placement};
pub use estimate::{Bill, Bound, Efficiency, Speed, StageTime, bill, speed};
pub use gpu::{GPUS, Gpu, GpuCount, GpuError};
pub use link::{KnownLink, LINKS, Link, LinkError};
pub use report::{Fleet, Plan, PlanOptions, PlannedStage, Prepared, plan};
pub use simulate::{Outcome, SimulatedStage, StageUse, pack_sizes, simulate};
pub use simulation::{Simulation, SimulationOptions, Traffic, simulation};
pub use weights::{PlannedWeight, WeightForm};
pub use worldpm_ort_bundle::{
    Bytes,
    cost::{Costs, RunSizes, StageMemory, TokenBudget},
};

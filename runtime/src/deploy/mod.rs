//! How a bundle comes to run on a machine: its devices, its threads, and how much of it is in memory.

pub(crate) mod devices;
pub(crate) mod load;
pub(crate) mod placement;
pub(crate) mod reason;
pub(crate) mod residency;
mod room;
pub(crate) mod threads;

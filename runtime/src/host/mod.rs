//! The machine: its memory and cores, its GPUs, and the libraries on it.

pub(crate) mod dl;
pub(crate) mod gpu;
pub(crate) mod memory;

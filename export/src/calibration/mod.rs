//! What goes into the linear layers of a model, gathered in a run over conversations, and what weights can be rounded with
//! because of it.
//!
//! Rounding to the nearest integers keeps a weight `w` as it is as far as possible. What counts is its products with the
//! inputs `x` that it meets: `sum (w . x - q . x)^2 = (w - q) H (w - q)'`, with `H = sum x x'`. `GPTQ` (Frantar et al., 2022,
//! arXiv:2210.17323) rounds one column after the other, the ones with the largest inputs first, and lets those that follow
//! make up for its error. It is the same as Babai's way to a near point of a lattice (arXiv:2507.18553), which is how it is
//! computed here: see [`Factor`].

mod factor;
mod gathered;
mod gram;
mod inputs;
mod lower;
mod needs;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests;
mod writer;

pub(crate) use factor::Factor;
pub use gathered::Calibration;
pub(crate) use inputs::LayerInputs;
pub use needs::CalibrationNeeds;
pub use writer::CalibrationWriter;

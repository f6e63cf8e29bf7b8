//! What this machine has and lacks for scoring, each finding with what to do.

mod disk;
mod examine;
mod finding;
mod host;
mod library;
mod nvidia;

pub use examine::{DoctorOptions, examine};
pub use finding::{Finding, Level};

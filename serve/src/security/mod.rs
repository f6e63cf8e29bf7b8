//! Who may ask, how often, and over which connections.

mod certificates;
mod described;
mod gate;
mod keys;
mod options;
mod origins;
mod public;
mod rate;
mod refusal;

pub(crate) use certificates::Certificates;
pub(crate) use gate::{Gate, Trusted};
pub use keys::ApiKey;
pub use options::{SecurityOptions, TlsFiles};

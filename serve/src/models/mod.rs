//! The models of a server, by the names that clients ask for.

mod load;
mod registry;
mod reload;
mod served;

pub(crate) use load::load;
pub(crate) use registry::Models;
pub use reload::ReloadWay;
pub(crate) use reload::reload;
pub use served::ModelOptions;
pub(crate) use served::{Model, State};

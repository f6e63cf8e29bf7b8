//! For those who run the server: whether it is alive and ready, what it does, and what became of each request.
//!
//! [`observe`] is around every request. It makes the [`RequestContext`] that is at hand wherever the request is worked on,
//! and in the end counts it, logs it and sends its spans.

mod context;
mod instruments;
mod log;
mod metrics;
mod observe;
mod options;
mod probes;
mod reload;
mod request_id;
mod routes;
mod traces;

pub(crate) use context::{Computed, RequestContext};
pub(crate) use instruments::Instruments;
pub(crate) use observe::observe;
pub use options::{OpsOptions, Otlp};
pub(crate) use routes::routes;

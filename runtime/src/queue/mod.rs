//! The line before an engine: sequences in, their numbers out.
//!
//! ```text
//! submit ─► admission ─► waiting ─► window ─► plan ─► packs ─► engine ─► tickets
//! ```
//!
//! A [`Queue`] admits sequences of any number of callers, up to a limit, and gives a [`Ticket`] for each. One thread takes
//! what waits, plans it into packs ([`crate::batch`]) and gives the [`Engine`](crate::engine::Engine) as many as it has
//! room for; what comes in the meantime is planned together next. [`Scorer`](crate::Scorer) is built on it.

mod dispatch;
mod error;
mod line;
#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    dead_code,
    unreachable_pub
)]
mod model_check;
mod options;
mod sequence;
mod sync;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::cast_precision_loss)]
mod tests;
mod ticket;

pub use dispatch::{Queue, QueueCounters};
pub use error::QueueError;
pub use options::{Caller, Priority, QueueOptions, RequestOptions};
pub use sequence::Sequence;
pub use ticket::{Numbers, Ticket};

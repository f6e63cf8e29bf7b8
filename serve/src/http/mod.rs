//! What all dialects share of HTTP: how a body is read, and how a request is refused.

mod bodies;
mod client;
mod described;
mod input;
mod problem;
mod refused;
mod reply;

pub(crate) use bodies::{ErrorObject, ErrorText, Refusal};
pub(crate) use client::Client;
pub(crate) use described::refusals;
pub(crate) use input::{Input, body, parse};
pub(crate) use problem::{Problem, ProblemKind};
pub(crate) use refused::{Refused, discard};
pub(crate) use reply::{BodyFailure, Dialect, Failure};

//! The scorer as a library, shared by its callers.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod queue;
mod residency;

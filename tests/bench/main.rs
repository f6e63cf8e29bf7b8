//! `bench`: that its numbers fit together, and that its timeline is well formed. Nothing here is about how fast it is.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

#[path = "../support/mod.rs"]
mod support;

mod profile;
mod report;
mod workloads;

//! The `verify` command: probes, other bundles, and published scores.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod drift;
mod figures;
mod malformed;
mod probed;
mod probes;
mod published;
mod recorded;

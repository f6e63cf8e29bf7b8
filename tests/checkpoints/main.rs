//! Checkpoints that are unusual, and those that are not what they should be.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod configuration;
mod malformed;
mod templates;

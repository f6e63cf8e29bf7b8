//! What is no bundle, or one that was spoiled, and other bad input.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod changed_weights;
mod manifest;
mod not_a_bundle;

//! The `export` command: what it writes, and what it refuses to.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod adapter;
mod calibrated;
mod conversion;
mod forms;
mod full_size;
mod precision;
mod recipes;
mod replace;
mod rotated;
mod spoiled_adapters;

//! The `score` command.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod inputs;
#[cfg(unix)]
mod interrupt;
mod layouts;
mod order;
#[cfg(unix)]
mod outputs;
#[cfg(target_os = "linux")]
mod terminal;

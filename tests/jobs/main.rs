//! `score --job`: whatever ends a run, the same command goes on, and in the end the output is that of a run that nothing
//! has ended.

#![allow(clippy::unwrap_used)]
#![cfg(unix)]

#[path = "../support/mod.rs"]
mod support;

mod ended;
#[cfg(feature = "parquet")]
mod inputs;
mod job_place;
mod once;
mod output;
mod refused;
mod takeover;

//! Models and data sets of the hub by name: downloaded, exported and scored, as a user would do it.

#![allow(clippy::unwrap_used)]

#[path = "../support/hub_server/mod.rs"]
mod hub_server;
#[path = "../support/mod.rs"]
mod support;

mod data_sets;
mod export;

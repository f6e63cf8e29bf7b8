//! Downloads from a server on loopback that speaks the hub's protocol.

#![allow(clippy::unwrap_used)]

#[path = "../support/hub_server/mod.rs"]
mod hub_server;

mod downloads;
mod fixture;
mod odd;
mod odd_answers;
mod refusals;
mod servers;
mod unreachable;

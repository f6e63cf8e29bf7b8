//! The server, over real sockets.

#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod dialects;
mod ending;
mod grpc;
mod oip;
mod refusals;
mod served;
mod sharing;

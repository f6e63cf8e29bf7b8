//! The server, over real sockets.

#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod dialects;
mod ending;
mod leaving;
mod malformed;
mod process;
mod raw;
mod refusals;
mod reload;
mod remote;
mod security;
mod served;
mod sharing;
mod slow;
mod texts;
mod tls;

//! The server, over real sockets.

#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod dialects;
mod ending;
mod exposition;
mod grpc;
mod leaving;
mod logs;
mod malformed;
mod metrics;
mod oip;
mod openapi;
mod process;
mod raw;
mod refusals;
mod reload;
mod remote;
mod schema;
mod security;
mod served;
mod sharing;
mod slow;
mod texts;
mod tls;
mod traces;

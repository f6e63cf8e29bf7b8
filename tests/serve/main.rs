//! The server, over real sockets.

#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

// The server's own; tests/clients_check.py asks with the published ones.
#[path = "../../serve/src/dialects/oip/grpc/messages.rs"]
#[allow(dead_code)]
mod grpc_messages;

mod dialects;
mod ending;
mod exposition;
mod grpc;
mod grpc_client;
mod leaving;
mod logs;
mod malformed;
mod metrics;
mod oip;
mod oip_binary;
mod oip_tensors;
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

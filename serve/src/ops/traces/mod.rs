//! Spans of requests, sent by OTLP over HTTP.

mod client;
mod spans;

pub(super) use spans::{Caller, Ended, Traces};

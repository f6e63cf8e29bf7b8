//! `GET /metrics`: what the server counts, for Prometheus. Every server has a registry of its own.
//!
//! Labels are few and bounded: `route` is the pattern of a path that this server has, or `other`; `model` is the name of a
//! model that it serves; `kind` is one of a fixed list. What a scorer counts is read when a scrape comes.

mod models;
mod process;
mod requests;
mod route;
pub(super) mod scrape;

pub(super) use requests::Metrics;
pub(super) use route::RouteMetrics;

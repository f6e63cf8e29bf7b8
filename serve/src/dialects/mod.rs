//! The dialects: for each, the shapes of its requests and replies, and its way to refuse. None knows of batches.

mod classify;
mod embeddings;
mod items;
mod models;
mod native;
mod nim;
mod oip;
mod openai;
mod openrlhf;
mod pooling;
mod reading;
mod request;
mod routes;
mod slime;
mod tei;

pub(crate) use routes::{routes, with_fallbacks};

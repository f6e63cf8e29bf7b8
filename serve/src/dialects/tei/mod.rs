//! Hugging Face's Text Embeddings Inference: `/predict`, `/rerank`, `/info`. Overload is 429 here, and the headers `x-compute-*`
//! say where the time went.

mod headers;
mod info;
mod predict;
mod refusal;
mod rerank;
mod routes;

pub(crate) use routes::routes;

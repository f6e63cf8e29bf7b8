//! The protocol in REST, with the extension for binary data.

mod address;
mod elements;
mod infer;
mod models;
mod refusal;
mod reply;
mod request;
mod routes;

pub(crate) use routes::routes;

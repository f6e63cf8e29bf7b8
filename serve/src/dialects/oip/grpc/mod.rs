//! The protocol in gRPC, and gRPC's own health service: unary calls over the HTTP/2 that the server speaks on every port.

mod call;
mod health;
mod infer;
mod messages;
mod models;
mod routes;
mod services;
mod status;

pub(crate) use routes::routes;

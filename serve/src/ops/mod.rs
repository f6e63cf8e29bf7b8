//! For those who run the server: whether it is alive and ready.

mod probes;
mod reload;
mod routes;

pub(crate) use routes::routes;

//! For those who run the server: whether it is alive and ready.

mod probes;
mod routes;

pub(crate) use routes::routes;

//! The page at `/`, to try answers on, and the one at `/docs`, to read what the server takes: static files, which ask the server.

mod files;

pub(crate) use files::routes;

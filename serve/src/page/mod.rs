//! The page at `/`, to try answers on: static files, which ask our own dialect.

mod files;

pub(crate) use files::routes;

//! Sockets, and the connections on them.

mod connection;
mod listener;
mod timed;

pub(crate) use connection::{Entrance, serve};
pub(crate) use listener::Listener;

//! Sockets, and the connections on them.

mod connection;
mod listener;

pub(crate) use connection::serve;
pub(crate) use listener::Listener;

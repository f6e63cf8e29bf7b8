//! Why a server cannot be started, or ended badly.

use std::{io, path::PathBuf, sync::Arc};

/// An error of [`Server`](crate::Server).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A listener cannot be had.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address or the path of the socket.
        address: String,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// Something that is no socket is where one was to be.
    #[error("{}: there is a file that is not a socket; remove it, or name another path", path.display())]
    NotASocket {
        /// Its path.
        path: PathBuf,
    },
    /// Another server listens on a socket.
    #[error("{}: another process listens on this socket", path.display())]
    SocketInUse {
        /// Its path.
        path: PathBuf,
    },
    /// An option does not fit.
    #[error("option `{option}`: {problem}")]
    Option {
        /// Its name in the options.
        option: &'static str,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A model cannot be opened.
    #[error("model `{name}`: {source}")]
    Model {
        /// The name that it is served under.
        name: String,
        /// Why not.
        source: worldpm_ort_runtime::Error,
    },
    /// The probes of a bundle do not have their scores.
    #[error("model `{name}` is not served: {problem}")]
    Probes {
        /// The name that it was to be served under.
        name: String,
        /// What was found.
        problem: String,
    },
    /// A model is loaded already, or the one that it replaced still has requests.
    #[error(
        "model `{name}` is being loaded already, or the one before it still has requests: try again later"
    )]
    Busy {
        /// The name that it is served under.
        name: String,
    },
    /// The system gives no thread or no signal handler.
    #[error("cannot {what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Why not.
        source: Arc<io::Error>,
    },
}

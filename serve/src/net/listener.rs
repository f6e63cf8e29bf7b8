//! Where connections come from.

use std::{
    io,
    net::SocketAddr,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::{error::ServeError, http::Client};

/// A socket that listens. That of a path is removed when it is dropped.
pub(crate) enum Listener {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, SocketFile),
}

/// A connection, and who is at its other end.
pub(crate) enum Accepted {
    Tcp(TcpStream, Client),
    Unix(UnixStream),
}

pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another server may have removed it.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    pub(crate) async fn tcp(address: SocketAddr) -> Result<Self, ServeError> {
        let bind = async {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            Ok(Self::Tcp(listener, address))
        };
        bind.await.map_err(|source: io::Error| ServeError::Listen {
            address: address.to_string(),
            source: Arc::new(source),
        })
    }

    /// A socket that a server has left, which nobody listens on, is replaced.
    pub(crate) fn unix(path: &Path) -> Result<Self, ServeError> {
        match path.symlink_metadata() {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(ServeError::NotASocket {
                    path: path.to_owned(),
                });
            }
            Ok(_) => {
                if std::os::unix::net::UnixStream::connect(path).is_ok() {
                    return Err(ServeError::SocketInUse {
                        path: path.to_owned(),
                    });
                }
                let _ = std::fs::remove_file(path);
            }
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(|source| ServeError::Listen {
            address: path.display().to_string(),
            source: Arc::new(source),
        })?;
        Ok(Self::Unix(listener, SocketFile(path.to_owned())))
    }

    pub(crate) fn address(&self, tls: bool) -> String {
        match self {
            Self::Tcp(_, address) if tls => format!("https://{address}"),
            Self::Tcp(_, address) => format!("http://{address}"),
            Self::Unix(_, file) => format!("unix:{}", file.0.display()),
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener, _) => {
                let (stream, peer) = listener.accept().await?;
                // Replies are small, and must not wait for more.
                let _ = stream.set_nodelay(true);
                Ok(Accepted::Tcp(stream, Client::Address(peer.ip())))
            }
            Self::Unix(listener, _) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }
}

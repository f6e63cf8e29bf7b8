//! The life of a listener and of its connections.

use std::{
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use futures_util::future::BoxFuture;
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::{
    listener::{Accepted, Listener},
    timed::Timed,
};
use crate::{http::Client, options::ServeOptions};

/// How long no connection is accepted after the system had none to give, as when files are used up.
const PAUSE: Duration = Duration::from_millis(50);

/// Most bytes of the head of a request.
const MAX_HEAD: u32 = 64 << 10;
/// Most requests at a time on a connection of HTTP/2.
const MAX_STREAMS: u32 = 256;
/// Most requests that a client of HTTP/2 has taken back before they were begun, or that were refused; more end its
/// connection.
const MAX_RESETS: usize = 64;

/// What all connections of a server pass, whichever listener they come by.
#[derive(Clone)]
pub(crate) struct Entrance {
    tls: Option<TlsAcceptor>,
    places: Arc<Semaphore>,
    refused: Arc<AtomicU64>,
}

impl Entrance {
    pub(crate) fn new(tls: Option<TlsAcceptor>, max_connections: usize) -> Self {
        Self {
            tls,
            places: Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS))),
            refused: Arc::default(),
        }
    }

    pub(crate) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Notes a connection that there is no place for.
    fn refuse(&self) {
        let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        // Not each of them: there may be very many.
        if refused.is_power_of_two() {
            tracing::warn!(refused, "connections beyond the limit are closed");
        }
    }
}

/// Serves connections until `ended` says so, and then those that have requests under way.
pub(crate) async fn serve(
    listener: Listener,
    router: Router,
    options: ServeOptions,
    entrance: Entrance,
    mut ended: watch::Receiver<bool>,
) {
    let door = Door {
        router,
        options,
        graceful: GracefulShutdown::new(),
        ended: ended.clone(),
    };
    let mut ending = pin!(ended.wait_for(|ended| *ended));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut ending => break,
        };
        match accepted {
            Ok(accepted) => match Arc::clone(&entrance.places).try_acquire_owned() {
                Ok(place) => door.open(accepted, entrance.tls.as_ref(), place),
                Err(_) => entrance.refuse(),
            },
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    door.graceful.shutdown().await;
}

/// How the connections of a listener are served.
struct Door {
    router: Router,
    options: ServeOptions,
    graceful: GracefulShutdown,
    ended: watch::Receiver<bool>,
}

impl Door {
    fn open(&self, accepted: Accepted, tls: Option<&TlsAcceptor>, place: OwnedSemaphorePermit) {
        match (accepted, tls.cloned()) {
            (Accepted::Unix(stream), _) => {
                let served = self.serve(Client::Local);
                tokio::spawn(async move {
                    served(stream).await;
                    drop(place);
                });
            }
            (Accepted::Tcp(stream, client), None) => {
                let served = self.serve(client);
                tokio::spawn(async move {
                    served(stream).await;
                    drop(place);
                });
            }
            (Accepted::Tcp(stream, client), Some(tls)) => {
                let served = self.serve(client);
                let allowed = self.options.read_timeout;
                let mut ended = self.ended.clone();
                tokio::spawn(async move {
                    let agreed = tokio::select! {
                        agreed = tokio::time::timeout(allowed, tls.accept(stream)) => agreed,
                        _ = ended.wait_for(|ended| *ended) => return,
                    };
                    // Whoever speaks no TLS, or none that is safe, is no fault of the server.
                    match agreed {
                        Ok(Ok(stream)) => served(stream).await,
                        Ok(Err(error)) => tracing::debug!(%error, "no TLS with a client"),
                        Err(_) => tracing::debug!("a client did not begin TLS in time"),
                    }
                    drop(place);
                });
            }
        }
    }

    /// What serves one connection. The end of the server waits for it from now on.
    fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        client: Client,
    ) -> impl FnOnce(S) -> BoxFuture<'static, ()> + Send + use<S> {
        let router = self.router.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(client);
            router.clone().oneshot(request.map(Body::new))
        });
        let builder = builder(self.options.read_timeout);
        let watcher = self.graceful.watcher();
        let (opening, writing) = (
            self.options.read_timeout,
            self.options.security.write_timeout,
        );
        move |stream| {
            Box::pin(async move {
                let stream = TokioIo::new(Timed::new(stream, opening, writing));
                let connection = builder.serve_connection(stream, service);
                // A client that breaks off is no fault of the server.
                if let Err(error) = watcher.watch(connection.into_owned()).await {
                    tracing::debug!(error, "a connection ended early");
                }
            })
        }
    }
}

fn builder(read_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(read_timeout)
        .max_buf_size(MAX_HEAD as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(read_timeout)
        .max_header_list_size(MAX_HEAD)
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_RESETS);
    builder
}

/// Whether accepting may go on at once.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

//! The life of a listener and of its connections.

use std::{io, pin::pin, time::Duration};

use axum::{Router, body::Body};
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};
use tower::ServiceExt;

use super::listener::{Accepted, Listener};
use crate::{http::Client, options::ServeOptions};

/// How long no connection is accepted after the system had none to give, as when files are used up.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves connections until `ended` says so, and then those that have requests under way.
pub(crate) async fn serve(
    listener: Listener,
    router: Router,
    options: ServeOptions,
    mut ended: watch::Receiver<bool>,
) {
    let graceful = GracefulShutdown::new();
    let mut ending = pin!(ended.wait_for(|ended| *ended));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut ending => break,
        };
        match accepted {
            Ok(Accepted::Tcp(stream, client)) => {
                connect(stream, client, &router, &options, &graceful);
            }
            Ok(Accepted::Unix(stream)) => {
                connect(stream, Client::Local, &router, &options, &graceful);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    graceful.shutdown().await;
}

fn connect(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    client: Client,
    router: &Router,
    options: &ServeOptions,
    graceful: &GracefulShutdown,
) {
    let router = router.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(client);
        router.clone().oneshot(request.map(Body::new))
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.read_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(options.read_timeout);
    let watcher = graceful.watcher();
    tokio::spawn(async move {
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        // A client that breaks off is no fault of the server.
        if let Err(error) = watcher.watch(connection.into_owned()).await {
            tracing::debug!(error, "a connection ended early");
        }
    });
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

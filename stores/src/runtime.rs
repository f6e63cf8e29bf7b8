//! Where what is asynchronous runs: one thread for all.

use std::{
    future::Future,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::runtime::{Builder, Runtime};

static RUNTIME: Mutex<Option<Arc<Runtime>>> = Mutex::new(None);

/// Waits for something asynchronous.
pub(crate) fn wait<F: Future>(future: F) -> io::Result<F::Output> {
    Ok(runtime()?.block_on(future))
}

pub(crate) fn runtime() -> io::Result<Arc<Runtime>> {
    let mut runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = &*runtime {
        return Ok(Arc::clone(runtime));
    }
    // The client is built without a library for TLS of its own. Where one was chosen already, that one is used.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let made = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("stores")
        .enable_all()
        .build()?;
    Ok(Arc::clone(runtime.insert(Arc::new(made))))
}

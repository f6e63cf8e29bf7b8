//! A server: its listeners, its models, its end.

use std::{sync::Arc, time::Duration};

use axum::middleware;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

use worldpm_ort_runtime::Counters;

use crate::{
    dialects,
    error::ServeError,
    models::{self, ModelOptions, Models, State},
    net::{Listener, serve},
    ops,
    options::ServeOptions,
    state::App,
};

/// A server that listens.
pub struct Server {
    app: App,
    addresses: Vec<String>,
    end: watch::Sender<bool>,
    listeners: JoinSet<()>,
}

impl Server {
    /// Binds all listeners, and begins to load the models. It must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`ServeError`]: an address that cannot be had, options that do not fit.
    pub async fn start(
        options: ServeOptions,
        models: Vec<ModelOptions>,
    ) -> Result<Self, ServeError> {
        let app = App::new(options, Models::new(models)?)?;
        let mut bound = Vec::new();
        for address in &app.options().addresses {
            bound.push(Listener::tcp(*address).await?);
        }
        for path in &app.options().unix_sockets {
            bound.push(Listener::unix(path)?);
        }
        if bound.is_empty() {
            return Err(ServeError::Option {
                option: "addresses",
                problem: "there is none to listen on: name an address or a Unix socket".into(),
            });
        }
        for model in app.models().all() {
            models::load(model)?;
        }
        let router = dialects::routes(&app)
            .merge(ops::routes())
            .layer(middleware::from_fn_with_state(app.clone(), ops::observe))
            .with_state(app.clone());
        let (end, ended) = watch::channel(false);
        let addresses = bound.iter().map(Listener::address).collect();
        let mut listeners = JoinSet::new();
        for listener in bound {
            listeners.spawn(serve(
                listener,
                router.clone(),
                app.options().clone(),
                ended.clone(),
            ));
        }
        Ok(Self {
            app,
            addresses,
            end,
            listeners,
        })
    }

    /// Where it listens, as `http://ADDRESS` or `unix:PATH`.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Waits until every model is ready.
    ///
    /// # Errors
    /// Why one is not served.
    pub async fn ready(&self) -> Result<(), ServeError> {
        for model in self.app.models().all() {
            loop {
                match model.state() {
                    State::Ready(_) => break,
                    State::Failed(error) => return Err(error),
                    State::Loading => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        }
        Ok(())
    }

    /// What each model that is ready has done, by its name.
    #[must_use]
    pub fn counters(&self) -> Vec<(String, Counters)> {
        let models = self.app.models().all().iter();
        let counted = models.filter_map(|model| match model.state() {
            State::Ready(scorer) => Some((model.name().to_owned(), scorer.counters())),
            State::Loading | State::Failed(_) => None,
        });
        counted.collect()
    }

    /// Serves until SIGTERM or SIGINT comes, and then [`shuts down`](Self::shut_down). A model that cannot be served when
    /// the server begins ends it too.
    ///
    /// # Errors
    /// [`ServeError::Model`], [`ServeError::Probes`], [`ServeError::System`].
    pub async fn run_until_signal(self) -> Result<(), ServeError> {
        let system = |source| ServeError::System {
            what: "wait for signals",
            source: Arc::new(source),
        };
        let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
        let mut asked = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let ready = tokio::select! {
            ready = self.ready() => ready,
            () = asked() => {
                self.shut_down().await;
                return Ok(());
            }
        };
        if let Err(error) = ready {
            self.shut_down().await;
            return Err(error);
        }
        asked().await;
        // Whoever asks twice does not wait.
        tokio::select! {
            () = self.shut_down() => {}
            () = asked() => {}
        }
        Ok(())
    }

    /// Ends the server in good order: it is not ready any more; after [`ServeOptions::drain_delay`] it refuses new requests,
    /// and waits for those that it has, up to [`ServeOptions::drain_timeout`].
    pub async fn shut_down(mut self) {
        let options = self.app.options();
        self.app.drain();
        tracing::info!("draining");
        tokio::time::sleep(options.drain_delay).await;
        let allowed = options.drain_timeout;
        let _ = self.end.send(true);
        let all = async { while self.listeners.join_next().await.is_some() {} };
        if tokio::time::timeout(allowed, all).await.is_err() {
            let seconds = allowed.as_secs_f64();
            tracing::warn!(
                seconds,
                "requests were not finished in time, and are dropped"
            );
            self.listeners.shutdown().await;
        }
        self.app.instruments().flush().await;
    }
}

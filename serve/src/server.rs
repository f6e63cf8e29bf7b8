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
    net::{Entrance, Listener, serve},
    openapi, ops,
    options::ServeOptions,
    page,
    security::{Certificates, Gate},
    state::App,
};

/// A server that listens.
pub struct Server {
    app: App,
    gate: Arc<Gate>,
    certificates: Option<Arc<Certificates>>,
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
        let security = &app.options().security;
        let gate = Arc::new(Gate::new(security)?);
        let certificates = security.tls.as_ref().map(Certificates::load).transpose()?;
        let tls = certificates
            .as_ref()
            .map(Certificates::acceptor)
            .transpose()?;
        let entrance = Entrance::new(tls, security.max_connections);
        if !gate.has_keys()
            && !app
                .options()
                .addresses
                .iter()
                .all(|at| at.ip().is_loopback())
        {
            tracing::warn!(
                "listening beyond this machine without keys: whoever reaches the port is served; --api-key-file sets keys"
            );
        }
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
        let (routes, mut description) = dialects::routes(&app)
            .merge(ops::routes())
            .merge(openapi::routes())
            .merge(page::routes())
            .split_for_parts();
        openapi::finish(&mut description);
        gate.describe(&mut description);
        app.describe(description);
        let router = Arc::clone(&gate)
            .before(dialects::with_fallbacks(routes))
            .layer(middleware::from_fn_with_state(app.clone(), ops::observe))
            .with_state(app.clone());
        let (end, ended) = watch::channel(false);
        let addresses = bound
            .iter()
            .map(|listener| listener.address(entrance.has_tls()))
            .collect();
        let mut listeners = JoinSet::new();
        if let Some(certificates) = &certificates {
            listeners.spawn(Arc::clone(certificates).watch(ended.clone()));
        }
        for listener in bound {
            listeners.spawn(serve(
                listener,
                router.clone(),
                app.options().clone(),
                entrance.clone(),
                ended.clone(),
            ));
        }
        Ok(Self {
            app,
            gate,
            certificates,
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

    /// Opens the bundles of all models again, and reads keys and certificates that have changed, as SIGHUP does. It returns after
    /// the exchange; requests that were under way finish with what they had.
    ///
    /// # Errors
    /// Why a model was not exchanged; what was before stays in service, except by [`ReloadWay::Swap`](crate::ReloadWay::Swap).
    pub async fn reload(&self) -> Result<(), ServeError> {
        let (gate, certificates) = (Arc::clone(&self.gate), self.certificates.clone());
        let files = tokio::task::spawn_blocking(move || {
            gate.reload();
            certificates.iter().for_each(|files| files.reload());
        });
        // A panic is logged already, and models do not depend on it.
        let _ = files.await;
        let mut reloaded = Ok(());
        for model in self.app.models().all() {
            let outcome = models::reload(model, self.app.options().reload).await;
            reloaded = reloaded.and(outcome.map(drop));
        }
        reloaded
    }

    /// Serves until SIGTERM or SIGINT comes, and then [`shuts down`](Self::shut_down). A model that cannot be served when
    /// the server begins ends it too. SIGHUP [`reloads`](Self::reload).
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
        let mut hangup = signal(SignalKind::hangup()).map_err(system)?;
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
        loop {
            tokio::select! {
                () = asked() => break,
                // What came of it is in the log.
                _ = async { hangup.recv().await; self.reload().await } => {}
            }
        }
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
        // The threads of the models are joined, and nothing else here is to wait for that.
        let app = self.app;
        app.instruments().flush().await;
        let _ = tokio::task::spawn_blocking(move || drop(app)).await;
    }
}

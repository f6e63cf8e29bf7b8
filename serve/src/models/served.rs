//! One model: loading, ready, or failed.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, RwLock, RwLockReadGuard},
    time::{Duration, SystemTime},
};

use worldpm_ort_runtime::{Result, Scorer, ScorerOptions};

use crate::{error::ServeError, http::Problem};

type Open = Arc<dyn Fn() -> Result<Scorer> + Send + Sync>;

/// A model to serve.
#[derive(Clone)]
pub struct ModelOptions {
    /// The name that clients ask for.
    pub name: String,
    /// Other names that they may use.
    pub aliases: Vec<String>,
    /// The directory of its bundle.
    pub directory: PathBuf,
    /// Whether its probes must have their scores before it is served. Default: yes.
    pub checks_probes: bool,
    pub(super) open: Open,
}

impl ModelOptions {
    /// The bundle in a directory, under a name.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        directory: impl Into<PathBuf>,
        options: ScorerOptions,
    ) -> Self {
        let directory = directory.into();
        let bundle = directory.clone();
        Self::with_open(name, directory, move || Scorer::open(&bundle, &options))
    }

    /// A model that is opened otherwise, such as on an engine that stands in for it.
    #[must_use]
    pub fn with_open(
        name: impl Into<String>,
        directory: impl Into<PathBuf>,
        open: impl Fn() -> Result<Scorer> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            aliases: Vec::new(),
            directory: directory.into(),
            checks_probes: true,
            open: Arc::new(open),
        }
    }
}

impl std::fmt::Debug for ModelOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelOptions")
            .field("name", &self.name)
            .field("aliases", &self.aliases)
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// A model of a server.
pub(crate) struct Model {
    pub(crate) options: ModelOptions,
    /// When the server got it, which OpenAI's API gives.
    pub(crate) created: SystemTime,
    state: RwLock<State>,
    /// Held while another bundle takes its place, until the one before is let go.
    pub(super) reloading: Mutex<()>,
}

/// What a model is at the moment.
#[derive(Clone)]
pub(crate) enum State {
    Loading,
    Ready(Arc<Scorer>),
    Failed(ServeError),
}

impl Model {
    pub(crate) fn new(options: ModelOptions) -> Self {
        Self {
            options,
            created: SystemTime::now(),
            state: RwLock::new(State::Loading),
            reloading: Mutex::new(()),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.options.name
    }

    pub(crate) fn state(&self) -> State {
        self.read().clone()
    }

    pub(crate) fn set(&self, state: State) {
        *self
            .state
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = state;
    }

    /// Whether it gives scores.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(&*self.read(), State::Ready(scorer) if !scorer.health().is_lost())
    }

    /// Whether its devices are lost, which only a new process mends.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(&*self.read(), State::Ready(scorer) if scorer.health().is_lost())
    }

    /// What computes its scores. Whoever holds it may go on with it after a reload.
    ///
    /// # Errors
    /// While it is loaded, and when that failed.
    pub(crate) fn scorer(&self) -> Result<Arc<Scorer>, Problem> {
        match &*self.read() {
            State::Ready(scorer) => Ok(Arc::clone(scorer)),
            State::Loading => Err(Problem::unavailable(format!(
                "model `{}` is still being loaded; try again later",
                self.name()
            ))),
            State::Failed(_) => Err(Problem::unavailable(format!(
                "model `{}` could not be loaded; the server's log says why",
                self.name()
            ))),
        }
    }

    pub(crate) fn created_seconds(&self) -> u64 {
        let since = self.created.duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap_or(Duration::ZERO).as_secs()
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

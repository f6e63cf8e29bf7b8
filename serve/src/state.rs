//! What all requests share.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use utoipa::openapi::OpenApi;

use crate::{error::ServeError, models::Models, ops::Instruments, options::ServeOptions};

/// What all requests share; cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

struct Shared {
    options: ServeOptions,
    models: Models,
    instruments: Instruments,
    draining: AtomicBool,
    description: OnceLock<OpenApi>,
}

impl App {
    /// # Errors
    /// [`ServeError::Option`] for options that do not fit.
    pub(crate) fn new(options: ServeOptions, models: Models) -> Result<Self, ServeError> {
        let names = models.all().iter().map(|model| model.name());
        Ok(Self(Arc::new(Shared {
            instruments: Instruments::new(&options.ops, names)?,
            options,
            models,
            draining: AtomicBool::new(false),
            description: OnceLock::new(),
        })))
    }

    pub(crate) fn options(&self) -> &ServeOptions {
        &self.0.options
    }

    pub(crate) fn models(&self) -> &Models {
        &self.0.models
    }

    pub(crate) fn instruments(&self) -> &Instruments {
        &self.0.instruments
    }

    /// Whether the server is about to end: it is not ready, though it still answers.
    pub(crate) fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    /// Keeps what the routes say of themselves.
    pub(crate) fn describe(&self, description: OpenApi) {
        // It is made once, when the server begins.
        let _ = self.0.description.set(description);
    }

    /// What the routes say of themselves; nothing before they are made.
    pub(crate) fn description(&self) -> Option<&OpenApi> {
        self.0.description.get()
    }
}

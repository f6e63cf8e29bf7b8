//! What all requests share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::{models::Models, options::ServeOptions};

/// What all requests share; cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

struct Shared {
    options: ServeOptions,
    models: Models,
    draining: AtomicBool,
}

impl App {
    pub(crate) fn new(options: ServeOptions, models: Models) -> Self {
        Self(Arc::new(Shared {
            options,
            models,
            draining: AtomicBool::new(false),
        }))
    }

    pub(crate) fn options(&self) -> &ServeOptions {
        &self.0.options
    }

    pub(crate) fn models(&self) -> &Models {
        &self.0.models
    }

    /// Whether the server is about to end: it is not ready, though it still answers.
    pub(crate) fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }
}

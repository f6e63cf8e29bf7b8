//! What is known of a request while it is worked on.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    metrics::{Metrics, RouteMetrics},
    request_id::RequestId,
};

tokio::task_local! {
    static CURRENT: Arc<RequestContext>;
}

/// A request that is worked on. Wherever that is done in the request's own task, it is [`current`](Self::current).
pub(crate) struct RequestContext {
    pub(super) id: RequestId,
    pub(super) begun: Instant,
    pub(super) route: Arc<RouteMetrics>,
    metrics: Metrics,
    work: Mutex<Work>,
}

/// What a request came to so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Work {
    pub(super) conversations: u64,
    /// Of those that were computed.
    pub(super) tokens: u64,
    pub(super) tokenising: Option<Interval>,
    pub(super) queued: Option<Interval>,
    pub(super) computing: Option<Interval>,
}

/// From the first to the last of something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval {
    pub(super) from: Instant,
    pub(super) to: Instant,
}

/// When a conversation was where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Computed {
    pub(crate) tokens: usize,
    /// How long it took to become tokens.
    pub(crate) tokenising: Duration,
    /// When it was put in line.
    pub(crate) entered: Instant,
    /// When its pack was given to the engine.
    pub(crate) begun: Instant,
    /// When its pack was computed.
    pub(crate) computed: Instant,
}

impl RequestContext {
    pub(super) fn new(id: RequestId, route: Arc<RouteMetrics>, metrics: Metrics) -> Self {
        Self {
            id,
            begun: Instant::now(),
            route,
            metrics,
            work: Mutex::default(),
        }
    }

    /// That of the request whose task this is.
    pub(crate) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// The name of the request whose task this is.
    pub(crate) fn current_id() -> Option<RequestId> {
        CURRENT.try_with(|context| context.id.clone()).ok()
    }

    pub(super) async fn scope<T>(self: Arc<Self>, future: impl Future<Output = T>) -> T {
        CURRENT.scope(self, future).await
    }

    /// Notes conversations that are to be scored.
    pub(crate) fn asked(&self, conversations: usize) {
        self.change(|work| work.conversations += conversations as u64);
    }

    /// Notes a conversation that was computed.
    pub(crate) fn computed(&self, computed: &Computed) {
        let tokenising = Interval {
            from: computed.entered - computed.tokenising,
            to: computed.entered,
        };
        let queued = Interval {
            from: computed.entered,
            to: computed.begun.max(computed.entered),
        };
        let computing = Interval {
            from: computed.begun,
            to: computed.computed.max(computed.begun),
        };
        self.route
            .computed(tokenising.length(), queued.length(), computing.length());
        self.change(|work| {
            work.tokens += computed.tokens as u64;
            Interval::widen(&mut work.tokenising, tokenising);
            Interval::widen(&mut work.queued, queued);
            Interval::widen(&mut work.computing, computing);
        });
    }

    /// Notes a conversation of a model that has no score.
    pub(crate) fn failed(&self, model: &str, error: &worldpm_ort_runtime::Error) {
        self.metrics.failed(model, error);
    }

    pub(super) fn work(&self) -> Work {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Work)) {
        change(&mut self.work.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Interval {
    fn length(self) -> Duration {
        self.to - self.from
    }

    fn widen(whole: &mut Option<Self>, part: Self) {
        *whole = Some(match *whole {
            None => part,
            Some(whole) => Self {
                from: whole.from.min(part.from),
                to: whole.to.max(part.to),
            },
        });
    }
}

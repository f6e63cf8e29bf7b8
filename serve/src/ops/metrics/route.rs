//! What is counted for each route. A request finds its counters without making a label.

use std::{
    sync::{PoisonError, RwLock},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        histogram::Histogram,
    },
    registry::Registry,
};

/// From 1 ms to 10 min.
const SECONDS: [f64; 18] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    120.0, 300.0, 600.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRoute {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStatus {
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    route: String,
    kind: &'static str,
}

#[derive(Clone)]
struct Seconds;

impl MetricConstructor<Histogram> for Seconds {
    fn new_metric(&self) -> Histogram {
        Histogram::new(SECONDS)
    }
}

type Times = Family<OfRoute, Histogram, Seconds>;

/// What is counted for each route, in a registry.
#[derive(Clone)]
pub(super) struct RouteFamilies {
    requests: Family<OfStatus, Counter>,
    errors: Family<OfKind, Counter>,
    request: Times,
    tokenising: Times,
    queued: Times,
    computing: Times,
}

/// The counters of one route.
pub(crate) struct RouteMetrics {
    name: String,
    families: RouteFamilies,
    /// By status, and by kind of error, as they came up.
    requests: Found<u16>,
    errors: Found<&'static str>,
    request: Histogram,
    tokenising: Histogram,
    queued: Histogram,
    computing: Histogram,
}

/// A handful of counters that were asked for before.
struct Found<K>(RwLock<Vec<(K, Counter)>>);

impl<K: Copy + PartialEq> Found<K> {
    fn new() -> Self {
        Self(RwLock::default())
    }

    fn count(&self, key: K, make: impl FnOnce() -> Counter) {
        let found = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, counter)) = found.iter().find(|(known, _)| *known == key) {
            counter.inc();
            return;
        }
        drop(found);
        let counter = make();
        counter.inc();
        let mut found = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !found.iter().any(|(known, _)| *known == key) {
            found.push((key, counter));
        }
    }
}

impl RouteFamilies {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let times = || Times::new_with_constructor(Seconds);
        let families = Self {
            requests: Family::default(),
            errors: Family::default(),
            request: times(),
            tokenising: times(),
            queued: times(),
            computing: times(),
        };
        registry.register(
            "requests",
            "Requests that were answered; 499 where the client left before that",
            families.requests.clone(),
        );
        registry.register(
            "request_errors",
            "Requests that were refused or failed, by kind",
            families.errors.clone(),
        );
        for (name, help, family) in [
            (
                "request_seconds",
                "From the head of a request to its reply",
                &families.request,
            ),
            (
                "conversation_tokenising_seconds",
                "Time in which a conversation became tokens",
                &families.tokenising,
            ),
            (
                "conversation_queued_seconds",
                "Time that a conversation was in line",
                &families.queued,
            ),
            (
                "conversation_computing_seconds",
                "Time that the pack of a conversation was in the engine",
                &families.computing,
            ),
        ] {
            registry.register(name, help, family.clone());
        }
        families
    }

    pub(super) fn of(&self, route: &str) -> RouteMetrics {
        let name = route.to_owned();
        let labels = OfRoute {
            route: name.clone(),
        };
        RouteMetrics {
            name,
            families: self.clone(),
            requests: Found::new(),
            errors: Found::new(),
            request: self.request.get_or_create_owned(&labels),
            tokenising: self.tokenising.get_or_create_owned(&labels),
            queued: self.queued.get_or_create_owned(&labels),
            computing: self.computing.get_or_create_owned(&labels),
        }
    }
}

impl RouteMetrics {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Counts a request that was answered.
    pub(crate) fn answered(&self, status: u16, kind: Option<&'static str>, time: Duration) {
        self.request.observe(time.as_secs_f64());
        self.requests.count(status, || {
            let route = self.name.clone();
            let labels = OfStatus { route, status };
            self.families.requests.get_or_create_owned(&labels)
        });
        if let Some(kind) = kind {
            self.errors.count(kind, || {
                let route = self.name.clone();
                let labels = OfKind { route, kind };
                self.families.errors.get_or_create_owned(&labels)
            });
        }
    }

    /// Counts a conversation that was computed.
    pub(crate) fn computed(&self, tokenising: Duration, queued: Duration, computing: Duration) {
        self.tokenising.observe(tokenising.as_secs_f64());
        self.queued.observe(queued.as_secs_f64());
        self.computing.observe(computing.as_secs_f64());
    }
}

//! What is counted while requests are answered.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};
use worldpm_ort_runtime::Error;

use super::route::{RouteFamilies, RouteMetrics};

const CONVERSATIONS: [f64; 12] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0,
];
const TOKENS: [f64; 10] = [
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
];
/// The route of requests to no path of this server.
const OTHER: &str = "other";

/// What a server counts; cheap to clone.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Shared>);

struct Shared {
    registry: Registry,
    families: RouteFamilies,
    /// By the pattern of the path, which are as many as the server has.
    routes: RwLock<HashMap<String, Arc<RouteMetrics>>>,
    other: Arc<RouteMetrics>,
    in_flight: Gauge,
    conversations: Histogram,
    tokens: Histogram,
    failed: Family<Failed, Counter>,
    not_finite: Family<OfModel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    model: String,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfModel {
    model: String,
}

impl Metrics {
    pub(crate) fn new<'a>(models: impl Iterator<Item = &'a str>) -> Self {
        let mut registry = Registry::with_prefix("worldpm");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version of this program", build);
        let families = RouteFamilies::new(&mut registry);
        let (in_flight, failed) = (Gauge::default(), Family::default());
        let not_finite = Family::<OfModel, Counter>::default();
        let conversations = Histogram::new(CONVERSATIONS);
        let tokens = Histogram::new(TOKENS);
        registry.register(
            "requests_in_flight",
            "Requests that are not answered yet",
            in_flight.clone(),
        );
        registry.register(
            "request_conversations",
            "Conversations of a request that has some",
            conversations.clone(),
        );
        registry.register(
            "request_tokens",
            "Tokens of the computed conversations of a request that has some",
            tokens.clone(),
        );
        registry.register(
            "conversation_errors",
            "Conversations that came to an error, by kind",
            failed.clone(),
        );
        registry.register(
            "scores_not_finite",
            "Scores that were no number, and were not handed out",
            not_finite.clone(),
        );
        // Every model has its line from the start, so that a first one is seen as an increase.
        for model in models {
            let model = model.to_owned();
            drop(not_finite.get_or_create(&OfModel { model }));
        }
        Self(Arc::new(Shared {
            registry,
            routes: RwLock::default(),
            other: Arc::new(families.of(OTHER)),
            families,
            in_flight,
            conversations,
            tokens,
            failed,
            not_finite,
        }))
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// The counters of the route of a pattern, those of `other` without one.
    pub(crate) fn route(&self, pattern: Option<&str>) -> Arc<RouteMetrics> {
        let Some(pattern) = pattern else {
            return Arc::clone(&self.0.other);
        };
        let routes = self.0.routes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(route) = routes.get(pattern) {
            return Arc::clone(route);
        }
        drop(routes);
        let mut routes = self
            .0
            .routes
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let route = routes.entry(pattern.to_owned());
        Arc::clone(route.or_insert_with(|| Arc::new(self.0.families.of(pattern))))
    }

    pub(crate) fn begun(&self) {
        self.0.in_flight.inc();
    }

    /// A request was answered, or its client left.
    pub(crate) fn ended(&self, conversations: u64, tokens: u64) {
        self.0.in_flight.dec();
        if conversations > 0 {
            self.0.conversations.observe(conversations as f64);
            self.0.tokens.observe(tokens as f64);
        }
    }

    /// A conversation of a model has no score.
    pub(crate) fn failed(&self, model: &str, error: &Error) {
        let (model, kind) = (model.to_owned(), error.kind().as_str());
        if matches!(error, Error::NotFinite { .. }) {
            let model = model.clone();
            self.0.not_finite.get_or_create(&OfModel { model }).inc();
        }
        self.0.failed.get_or_create(&Failed { model, kind }).inc();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn scores_that_are_no_number_are_counted_for_their_model() {
        let metrics = Metrics::new(["one", "two"].into_iter());
        let error = Error::NotFinite {
            value: f32::NAN,
            label: None,
            step: None,
        };
        metrics.failed("two", &error);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, metrics.registry()).unwrap();
        for line in [
            "worldpm_scores_not_finite_total{model=\"one\"} 0",
            "worldpm_scores_not_finite_total{model=\"two\"} 1",
            "worldpm_conversation_errors_total{model=\"two\",kind=\"internal\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}

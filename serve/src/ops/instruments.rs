//! What a server counts and reports with.

use std::time::Duration;

use super::{log::Throttle, metrics::Metrics, options::OpsOptions, traces::Traces};
use crate::error::ServeError;

/// How long the end of a server waits for spans to be sent.
const FLUSH: Duration = Duration::from_secs(5);

/// What a server counts and reports with.
pub(crate) struct Instruments {
    pub(super) metrics: Metrics,
    pub(super) traces: Option<Traces>,
    pub(super) throttle: Throttle,
}

impl Instruments {
    /// # Errors
    /// [`ServeError::Option`] for an endpoint that is none.
    pub(crate) fn new<'a>(
        options: &OpsOptions,
        models: impl Iterator<Item = &'a str>,
    ) -> Result<Self, ServeError> {
        Ok(Self {
            metrics: Metrics::new(models),
            traces: Traces::start(&options.otlp)?,
            throttle: Throttle::default(),
        })
    }

    /// Sends the spans that are not sent yet.
    pub(crate) async fn flush(&self) {
        let Some(traces) = self.traces.clone() else {
            return;
        };
        // The exporter waits for the network.
        let flushed = tokio::task::spawn_blocking(move || traces.shut_down(FLUSH)).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

//! The paths for operators.

use axum::{
    Router,
    routing::{get, post},
};

use super::{metrics, probes, reload::reload};
use crate::state::App;

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/live", get(probes::live))
        .route("/ready", get(probes::ready))
        .route("/startup", get(probes::startup))
        .route("/health", get(probes::ready))
        .route("/admin/reload", post(reload))
        .route("/metrics", get(metrics::scrape))
}

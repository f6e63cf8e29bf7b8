//! The paths for operators.

use utoipa_axum::{router::OpenApiRouter, routes};

use super::{metrics, probes, reload};
use crate::{openapi::tagged, state::App};

pub(crate) fn routes() -> OpenApiRouter<App> {
    tagged(
        "Operations",
        "For whoever runs the server. Probes need no key, and say nothing about the models.",
    )
    .routes(routes!(probes::live))
    .routes(routes!(probes::startup))
    .routes(routes!(probes::ready))
    .routes(routes!(probes::health))
    .routes(routes!(metrics::scrape::scrape))
    .routes(routes!(reload::reload))
}

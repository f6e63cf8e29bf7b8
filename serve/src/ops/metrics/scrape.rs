//! `GET /metrics`.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, header};
use prometheus_client::{
    encoding::{prometheus_text, text},
    registry::Registry,
};

use super::{models::ModelMetrics, process::ProcessMetrics};
use crate::state::App;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics, as OpenMetrics where the client asks for that, else as Prometheus' text.
///
/// Names begin with `worldpm_`, or with `process_`.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "Operations",
    responses((status = 200, description = "All metrics.", content(
        (String = "text/plain; version=0.0.4; charset=utf-8"),
        (String = "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    ))),
)]
pub(crate) async fn scrape(State(app): State<App>, headers: HeaderMap) -> Response {
    let accepts = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    let open = accepts.is_some_and(|accept| accept.contains("application/openmetrics-text"));
    let mut models = Registry::with_prefix("worldpm");
    models.register_collector(Box::new(ModelMetrics::of(&app)));
    let mut process = Registry::default();
    process.register_collector(Box::new(ProcessMetrics));
    let registries = [app.instruments().metrics.registry(), &models, &process];
    let mut body = String::with_capacity(16 << 10);
    let encode = if open {
        text::encode_registry
    } else {
        prometheus_text::encode
    };
    // Writing to a string does not fail.
    for registry in registries {
        let _ = encode(&mut body, registry);
    }
    let content_type = if open {
        let _ = text::encode_eof(&mut body);
        OPEN_METRICS
    } else {
        prometheus_text::CONTENT_TYPE
    };
    let content_type = HeaderValue::from_static(content_type);
    ([(header::CONTENT_TYPE, content_type)], body).into_response()
}

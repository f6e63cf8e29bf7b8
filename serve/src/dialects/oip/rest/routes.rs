//! The paths of the protocol.

use axum::{
    Router,
    routing::{get, post},
};

use super::{infer::infer, models};
use crate::state::App;

pub(crate) fn routes() -> Router<App> {
    let mut router = Router::new()
        .route("/v2", get(models::server))
        .route("/v2/", get(models::server))
        .route("/v2/health/live", get(models::live))
        .route("/v2/health/ready", get(models::ready))
        .route("/v2/repository/index", post(models::index));
    for model in [
        "/v2/models/{model}",
        "/v2/models/{model}/versions/{version}",
    ] {
        router = router
            .route(model, get(models::metadata))
            .route(&format!("{model}/ready"), get(models::model_ready))
            .route(&format!("{model}/config"), get(models::config))
            .route(&format!("{model}/infer"), post(infer));
    }
    router
}

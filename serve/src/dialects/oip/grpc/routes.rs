//! The paths of the services.

use axum::{
    Router,
    routing::{any, post},
};

use super::{
    health,
    infer::infer,
    models,
    services::{HEALTH, INFERENCE},
    status::Refusal,
};
use crate::{
    http::{Problem, ProblemKind},
    state::App,
};

pub(crate) fn routes() -> Router<App> {
    let mut router = Router::new();
    for (method, route) in [
        ("ServerLive", post(models::live)),
        ("ServerReady", post(models::ready)),
        ("ServerMetadata", post(models::server)),
        ("ModelReady", post(models::model_ready)),
        ("ModelMetadata", post(models::metadata)),
        ("ModelConfig", post(models::config)),
        ("RepositoryIndex", post(models::index)),
        ("ModelInfer", post(infer)),
    ] {
        router = router.route(&format!("/{INFERENCE}/{method}"), route);
    }
    router = router.route(&format!("/{HEALTH}/Check"), post(health::check));
    for service in [INFERENCE, HEALTH] {
        router = router.route(&format!("/{service}/{{method}}"), any(unimplemented));
    }
    router
}

async fn unimplemented() -> Refusal {
    let what = "the service has no such method here";
    Problem::new(ProblemKind::MethodNotAllowed, what).into()
}

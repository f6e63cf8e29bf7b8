//! What a balancer or Kubernetes asks.
//!
//! | path | 200 while |
//! |---|---|
//! | `/live` | the process answers, and no model has lost its devices, which only a new process mends |
//! | `/startup` | every model was loaded, and its probes have their scores |
//! | `/ready`, `/health` | the same, and the server is not about to end |
//!
//! A model of several copies has lost its devices when all of them have; with fewer, the others go on.

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{http::ProblemKind, models, state::App};

#[derive(Serialize, ToSchema)]
#[schema(as = Probe)]
struct Status<'a> {
    /// `live`, `ready`, `loading`, `failed`, `lost` or `draining`.
    status: &'a str,
}

/// Whether the process answers, and no model has lost all its devices.
///
/// For Kubernetes' liveness probe: a server that is not live has to be started again. One that loads its models, or is about to
/// end, is live. No key is needed.
#[utoipa::path(
    get,
    path = "/live",
    operation_id = "live",
    tag = "Operations",
    responses(
        (status = 200, description = "It does, and none has.", body = Status, example = json!({"status": "live"})),
        (status = 503, description = "A model has lost its devices: start the server again.", body = Status, example = json!({"status": "lost"})),
    ),
)]
pub(crate) async fn live(State(app): State<App>) -> impl IntoResponse {
    match app.models().any_lost() {
        true => answer(false, "lost"),
        false => answer(true, "live"),
    }
}

/// Whether every model was loaded, and its probes have their scores.
///
/// For Kubernetes' startup probe. No key is needed.
#[utoipa::path(
    get,
    path = "/startup",
    operation_id = "startup",
    tag = "Operations",
    responses(
        (status = 200, description = "All were.", body = Status, example = json!({"status": "ready"})),
        (status = 503, description = "One is still being loaded, could not be, or has lost its devices: `status` says which.", body = Status, example = json!({"status": "loading"})),
    ),
)]
pub(crate) async fn startup(State(app): State<App>) -> impl IntoResponse {
    answer(app.models().all_ready(), status(&app))
}

/// Whether every model is ready, and the server is not about to end.
///
/// For Kubernetes' readiness probe and for balancers: a server that is not ready is sent no requests. No key is needed.
#[utoipa::path(
    get,
    path = "/ready",
    operation_id = "ready",
    tag = "Operations",
    responses(
        (status = 200, description = "It is ready.", body = Status, example = json!({"status": "ready"})),
        (status = 503, description = "It is not, or not any more: `status` says why.", body = Status, example = json!({"status": "draining"})),
    ),
)]
pub(crate) async fn ready(State(app): State<App>) -> impl IntoResponse {
    answer(app.models().all_ready() && !app.is_draining(), status(&app))
}

/// The same as `/ready`, as TEI and vLLM name it.
///
/// No key is needed.
#[utoipa::path(
    get,
    path = "/health",
    operation_id = "health",
    tag = "Operations",
    responses(
        (status = 200, description = "It is ready.", body = Status, example = json!({"status": "ready"})),
        (status = 503, description = "It is not, or not any more: `status` says why.", body = Status, example = json!({"status": "draining"})),
    ),
)]
pub(crate) async fn health(app: State<App>) -> impl IntoResponse {
    ready(app).await
}

fn status(app: &App) -> &'static str {
    if app.is_draining() {
        return "draining";
    }
    if app.models().any_lost() {
        return "lost";
    }
    let states = app.models().all().iter().map(|model| model.state());
    let mut status = "ready";
    for state in states {
        match state {
            models::State::Failed(_) => return "failed",
            models::State::Loading => status = "loading",
            models::State::Ready(_) => {}
        }
    }
    status
}

fn answer(good: bool, status: &str) -> Response {
    let body = Json(Status { status });
    match good {
        true => body.into_response(),
        // A probe that comes too early is no fault of the server.
        false => {
            let kind = ProblemKind::Unavailable;
            (kind.status(), Extension(kind), body).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_yet_is_no_fault() {
        let response = answer(false, "loading");
        assert_eq!(response.status().as_u16(), 503);
        let kind = response.extensions().get::<ProblemKind>();
        assert_eq!(kind, Some(&ProblemKind::Unavailable));
        assert_eq!(answer(true, "ready").status().as_u16(), 200);
    }
}

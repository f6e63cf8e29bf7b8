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
use serde_json::json;

use crate::{http::ProblemKind, models, state::App};

pub(crate) async fn live(State(app): State<App>) -> impl IntoResponse {
    match app.models().any_lost() {
        true => answer(false, "lost"),
        false => answer(true, "live"),
    }
}

pub(crate) async fn startup(State(app): State<App>) -> impl IntoResponse {
    answer(app.models().all_ready(), status(&app))
}

pub(crate) async fn ready(State(app): State<App>) -> impl IntoResponse {
    answer(app.models().all_ready() && !app.is_draining(), status(&app))
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
    let body = Json(json!({"status": status}));
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

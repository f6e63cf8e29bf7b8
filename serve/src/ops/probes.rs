//! What a balancer or Kubernetes asks.
//!
//! | path | 200 while |
//! |---|---|
//! | `/live` | the process answers, and no model has failed in a way that only a new process mends |
//! | `/startup` | every model was loaded, and its probes have their scores |
//! | `/ready`, `/health` | the same, and the server is not about to end |

use axum::{Json, extract::State, response::IntoResponse};
use http::StatusCode;
use serde_json::json;

use crate::{models, state::App};

pub(crate) async fn live() -> impl IntoResponse {
    answer(true, "live")
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

fn answer(good: bool, status: &str) -> impl IntoResponse {
    let code = match good {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, Json(json!({"status": status})))
}

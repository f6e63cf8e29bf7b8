//! `POST /admin/reload`: opens the bundles of all models again, or of the one that `{"model": NAME}` names. For whoever has a
//! key that is marked `admin`, or asks by a Unix socket.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    http::{Dialect, Failure, Problem, ProblemKind, body, parse},
    models,
    security::Trusted,
    state::App,
};

/// `{"error": {"kind", "message"}}`.
pub(super) struct Admin;

impl Dialect for Admin {
    fn body(problem: &Problem) -> Value {
        json!({"error": {"kind": problem.kind.as_str(), "message": problem.message}})
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    model: Option<String>,
}

/// What came of a model. Whoever may read it may also read the log, so that it has the whole error.
#[derive(Serialize)]
struct Outcome {
    name: String,
    reloaded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Whether it, or the one before it, is in service.
    serves: bool,
}

pub(super) async fn reload(
    State(app): State<App>,
    trusted: Trusted,
    request: Request,
) -> Result<Response, Failure<Admin>> {
    let bytes = body(request, &app).await?;
    if trusted != Trusted(true) {
        let problem = "this path is for a key that is marked `admin`, and for Unix sockets";
        return Err(Problem::new(ProblemKind::Unauthorized, problem).into());
    }
    let which: Which = match bytes.is_empty() {
        true => Which::default(),
        false => parse(&bytes)?,
    };
    let chosen = match &which.model {
        Some(name) => vec![Arc::clone(app.models().get(Some(name))?)],
        None => app.models().all().to_vec(),
    };
    let way = app.options().reload;
    let mut outcomes = Vec::new();
    for model in chosen {
        let outcome = models::reload(&model, way).await;
        outcomes.push(Outcome {
            name: model.name().to_owned(),
            reloaded: outcome.is_ok(),
            seconds: outcome.as_ref().ok().map(|time| time.as_secs_f64()),
            error: outcome.err().map(|error| error.to_string()),
            serves: model.is_ready(),
        });
    }
    let status = match outcomes.iter().all(|outcome| outcome.reloaded) {
        true => StatusCode::OK,
        false => StatusCode::CONFLICT,
    };
    Ok((status, Json(json!({"models": outcomes}))).into_response())
}

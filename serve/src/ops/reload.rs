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
use utoipa::ToSchema;

use crate::{
    http::{Dialect, ErrorObject, Failure, Problem, ProblemKind, body, parse},
    models,
    openapi::MODEL,
    security::Trusted,
    state::App,
};

/// `{"error": {"kind", "message"}}`.
pub(super) struct Admin;

impl Dialect for Admin {
    type Body = ErrorObject;

    fn body(problem: &Problem) -> ErrorObject {
        problem.into()
    }
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReloadRequest)]
struct Which {
    /// The name of a model. Default: all of them.
    model: Option<String>,
}

/// What came of a model. Whoever may read it may also read the log, so that it has the whole error.
#[derive(Serialize, ToSchema)]
#[schema(as = ReloadOutcome)]
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

#[derive(Serialize, ToSchema)]
#[schema(as = ReloadReply)]
struct Reply {
    models: Vec<Outcome>,
}

/// Opens bundles again.
///
/// For whoever has a key that is marked `admin`, or asks by a Unix socket. It answers after the exchange; requests that were under
/// way finish with what they had.
#[utoipa::path(
    post,
    path = "/admin/reload",
    operation_id = "reload",
    tag = "Operations",
    request_body(content = Option<Which>, example = json!({"model": MODEL})),
    responses(
        (status = 200, description = "All were exchanged.", body = Reply, example = json!({
            "models": [{"name": MODEL, "reloaded": true, "seconds": 12.5, "serves": true}],
        })),
        (status = 401, description = "The client may not.", body = ErrorObject, example = json!({"error": {
            "kind": "unauthorized", "message": "this path is for a key that is marked `admin`, and for Unix sockets",
        }})),
        (status = 409, description = "One was not; `error` says why.", body = Reply, example = json!({
            "models": [{"name": MODEL, "reloaded": false, "error": "the bundle has no manifest.json", "serves": true}],
        })),
        Failure<Admin>,
    ),
)]
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
    Ok((status, Json(Reply { models: outcomes })).into_response())
}

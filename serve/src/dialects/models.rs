//! `GET /v1/models`: the names of the models, which OpenAI's clients and verl ask for.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    models::State as Loading,
    openapi::{MODEL, tagged},
    state::App,
};

const TAG: &str = "Models";

pub(crate) fn routes() -> OpenApiRouter<App> {
    tagged(TAG, "As OpenAI's clients and verl ask for them.").routes(routes!(models))
}

#[derive(Serialize, ToSchema)]
#[schema(as = ModelsReply)]
struct Reply {
    object: &'static str,
    data: Vec<Model>,
}

#[derive(Serialize, ToSchema)]
struct Model {
    /// A name that requests may have.
    id: String,
    object: &'static str,
    /// When the server got it, in seconds since 1970.
    created: u64,
    owned_by: &'static str,
    /// The name of the model for which `id` stands.
    root: String,
    /// Most tokens of a conversation; null while the model is loaded.
    max_model_len: Option<usize>,
}

/// The names of the models.
#[utoipa::path(
    get,
    path = "/v1/models",
    operation_id = "models",
    tag = TAG,
    responses((status = 200, description = "Each name, aliases too.", body = Reply, example = json!({
        "object": "list",
        "data": [{
            "id": MODEL, "object": "model", "created": 1790000000, "owned_by": "worldpm-ort", "root": MODEL,
            "max_model_len": 32768,
        }],
    }))),
)]
async fn models(State(app): State<App>) -> Json<Reply> {
    let models = app.models().all().iter().flat_map(|model| {
        let options = &model.options;
        let length = match model.state() {
            Loading::Ready(scorer) => Some(scorer.max_length()),
            _ => None,
        };
        let names = std::iter::once(&options.name).chain(&options.aliases);
        names.map(move |name| Model {
            id: name.clone(),
            object: "model",
            created: model.created_seconds(),
            owned_by: "worldpm-ort",
            root: options.name.clone(),
            max_model_len: length,
        })
    });
    Json(Reply {
        object: "list",
        data: models.collect(),
    })
}

//! `GET /v1/models`: the names of the models, which OpenAI's clients and verl ask for.

use axum::{Json, Router, extract::State, routing::get};
use serde_json::{Value, json};

use crate::{models::State as Loading, state::App};

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/v1/models", get(models))
}

async fn models(State(app): State<App>) -> Json<Value> {
    let models = app.models().all().iter().flat_map(|model| {
        let options = &model.options;
        let length = match model.state() {
            Loading::Ready(scorer) => Some(scorer.max_length()),
            _ => None,
        };
        let names = std::iter::once(&options.name).chain(&options.aliases);
        names.map(move |name| {
            json!({
                "id": name,
                "object": "model",
                "created": model.created_seconds(),
                "owned_by": "worldpm-ort",
                "root": options.name,
                "max_model_len": length,
            })
        })
    });
    Json(json!({"object": "list", "data": models.collect::<Vec<_>>()}))
}

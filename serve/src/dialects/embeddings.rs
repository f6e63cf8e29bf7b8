//! `POST /v1/embeddings`: verl asks SGLang's reward models here. The score is the one element of an embedding.

use axum::{Json, Router, extract::State, routing::post};
use serde_json::{Value, json};

use super::{
    openai::{OpenAi, Usage},
    reading::numbers,
    request::Request,
};
use crate::{
    http::{Client, Failure, Input},
    scoring::Asked,
    state::App,
};

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/v1/embeddings", post(embeddings))
}

async fn embeddings(
    State(app): State<App>,
    client: Client,
    request: Input<Request, OpenAi>,
) -> Result<Json<Value>, Failure<OpenAi>> {
    let mut request = request.value;
    let asked = Asked::new(&app, client, request.model.as_deref())?;
    let scored = asked.all(request.take_items()?).await?;
    request.check_lengths(&scored)?;
    let data: Vec<Value> = scored
        .iter()
        .enumerate()
        .map(|(index, scored)| {
            json!({"index": index, "object": "embedding", "embedding": request.encoded(numbers(&scored.reward))})
        })
        .collect();
    Ok(Json(json!({
        "object": "list",
        "model": asked.model.name(),
        "data": data,
        "usage": Usage::of(&scored),
    })))
}

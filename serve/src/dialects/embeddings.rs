//! `POST /v1/embeddings`: verl asks SGLang's reward models here. The score is the one element of an embedding.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    openai::{OpenAi, Usage},
    reading::numbers,
    request::{Encoded, Request},
};
use crate::{
    http::{Client, Failure, Input},
    openapi::{MODEL, TEXT, tagged},
    scoring::Asked,
    state::App,
};

const TAG: &str = "Embeddings";

pub(crate) fn routes() -> OpenApiRouter<App> {
    tagged(TAG, "As SGLang answers for reward models, for verl.").routes(routes!(embeddings))
}

#[derive(Serialize, ToSchema)]
#[schema(as = EmbeddingsReply)]
struct Reply {
    object: &'static str,
    model: String,
    /// In the order of the inputs.
    data: Vec<Embedding>,
    usage: Usage,
}

#[derive(Serialize, ToSchema)]
struct Embedding {
    index: usize,
    object: &'static str,
    /// The score is its one element; one for each label of a model with several. Raw.
    embedding: Encoded,
}

/// Scores texts that the chat template made, their token ids, or one conversation.
///
/// verl takes `data[-1].embedding[-1]`. Scores are raw.
#[utoipa::path(
    post,
    path = "/v1/embeddings",
    operation_id = "embeddings",
    tag = TAG,
    request_body(content = Request, example = json!({"model": MODEL, "input": TEXT})),
    responses(
        (status = 200, description = "The scores.", body = Reply, example = json!({
            "object": "list", "model": MODEL,
            "data": [{"index": 0, "object": "embedding", "embedding": [-1.25]}],
            "usage": {"prompt_tokens": 42, "total_tokens": 42, "completion_tokens": 0, "prompt_tokens_details": null},
        })),
        Failure<OpenAi>,
    ),
)]
async fn embeddings(
    State(app): State<App>,
    client: Client,
    request: Input<Request, OpenAi>,
) -> Result<Json<Reply>, Failure<OpenAi>> {
    let mut request = request.value;
    let asked = Asked::new(&app, client, request.model.as_deref())?;
    let scored = request.scored(&asked).await?;
    let data = scored.iter().enumerate().map(|(index, scored)| Embedding {
        index,
        object: "embedding",
        embedding: request.encoded(numbers(&scored.reward)),
    });
    Ok(Json(Reply {
        object: "list",
        model: asked.model.name().to_owned(),
        data: data.collect(),
        usage: Usage::of(&scored),
    }))
}

//! `POST /rerank`: `{"query", "texts", "raw_scores", "return_text"}` gives `[{"index", "score", "text"}]`, best first. Each text
//! is scored as the answer to the query.

use std::time::Instant;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use worldpm_ort_runtime::Conversation;

use super::{
    headers::headers,
    refusal::{TAG, Tei},
};
use crate::{
    dialects::reading::{activated, number},
    http::{Client, Failure, Input, Problem},
    openapi::{ANSWER, OTHER_ANSWER, PROMPT},
    scoring::{Asked, Item},
    state::App,
};

#[derive(Deserialize, ToSchema)]
#[schema(as = RerankRequest)]
pub(super) struct Request {
    /// The question.
    query: String,
    /// Its answers.
    #[schema(min_items = 1)]
    texts: Vec<String>,
    /// Whether scores are raw. Default: no, they go through a sigmoid.
    #[serde(default)]
    raw_scores: bool,
    /// Whether the reply has the answers too. Default: no.
    #[serde(default)]
    return_text: bool,
    /// The name of a model. Default: the first one of the server.
    model: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Rank {
    /// Its place in the request, from 0.
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    score: f64,
}

/// Ranks answers to a question, best first.
///
/// The model must give one score.
#[utoipa::path(
    post,
    path = "/rerank",
    operation_id = "rerank",
    tag = TAG,
    request_body(content = Request, example = json!({
        "query": PROMPT, "texts": [OTHER_ANSWER, ANSWER], "raw_scores": true, "return_text": true,
    })),
    responses(
        (status = 200, description = "The answers, best first.", body = Vec<Rank>,
            headers(("x-score-activation" = String, description = "What scores went through: `none` or `sigmoid`.")),
            example = json!([
                {"index": 1, "text": ANSWER, "score": -1.25},
                {"index": 0, "text": OTHER_ANSWER, "score": -3.5},
            ])),
        Failure<Tei>,
    ),
)]
pub(super) async fn rerank(
    State(app): State<App>,
    client: Client,
    request: Input<Request, Tei>,
) -> Result<Response, Failure<Tei>> {
    let begun = Instant::now();
    let request = request.value;
    let asked = Asked::new(&app, client, request.model.as_deref())?;
    if request.texts.is_empty() {
        return Err(Problem::invalid("`texts` is empty").into());
    }
    let characters = request.texts.iter().map(|text| text.chars().count()).sum();
    let items = request.texts.iter().map(|text| {
        Item::Conversation(Conversation::exchange(request.query.clone(), text.clone()))
    });
    let scored = asked.all(items.collect()).await?;
    let mut ranks = Vec::with_capacity(scored.len());
    for ((index, scored), text) in scored.iter().enumerate().zip(request.texts) {
        let raw = number(&scored.reward)?;
        ranks.push(Rank {
            index,
            text: request.return_text.then_some(text),
            score: if request.raw_scores {
                raw
            } else {
                activated(&[raw])[0]
            },
        });
    }
    ranks.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut headers = headers(begun, characters, &scored);
    let activation = if request.raw_scores {
        "none"
    } else {
        "sigmoid"
    };
    let name = HeaderName::from_static("x-score-activation");
    headers.insert(name, HeaderValue::from_static(activation));
    Ok((headers, Json(ranks)).into_response())
}

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
use worldpm_ort_runtime::Conversation;

use super::{headers::headers, refusal::Tei};
use crate::{
    dialects::reading::{activated, number},
    http::{Client, Failure, Input, Problem},
    scoring::{Asked, Item},
    state::App,
};

#[derive(Deserialize)]
pub(super) struct Request {
    query: String,
    texts: Vec<String>,
    #[serde(default)]
    raw_scores: bool,
    #[serde(default)]
    return_text: bool,
    model: Option<String>,
}

#[derive(Serialize)]
struct Rank {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    score: f64,
}

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

//! `POST /classify`: vLLM's, which verl asks, and SGLang's, which AReaL asks.
//!
//! | request | reply |
//! |---|---|
//! | vLLM: `{"model", "input": text(s) or ids, "use_activation"}`, or `messages` | `{"data": [{"index", "label", "probs", "num_classes"}], "activation", …}` |
//! | SGLang: `{"model", "text": text(s)}` or `input_ids` | `[{"embedding": [score], "meta_info"}]` |
//!
//! vLLM applies an activation unless `use_activation` is false; here scores are raw unless it is true, and `activation` in the
//! reply says which.

use axum::{Json, Router, extract::State, routing::post};
use serde_json::{Value, json};

use super::{
    items::Texts,
    openai::{self, OpenAi, Usage},
    reading::{activated, numbers},
    request::Request,
};
use crate::{
    http::{Client, Failure, Input},
    scoring::{Asked, Scored},
    state::App,
};

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/classify", post(classify))
}

async fn classify(
    State(app): State<App>,
    client: Client,
    request: Input<Request, OpenAi>,
) -> Result<Json<Value>, Failure<OpenAi>> {
    let mut request = request.value;
    let asked = Asked::new(&app, client, request.model.as_deref())?;
    if let Some(Texts(items)) = request.text.take().or(request.input_ids.take()) {
        let scored = asked.all(items).await?;
        return Ok(Json(scored.iter().map(sglang).collect()));
    }
    let scored = asked.all(request.take_items()?).await?;
    request.check_lengths(&scored)?;
    Ok(Json(vllm(&asked, &scored, request.activates())))
}

fn vllm(asked: &Asked, scored: &[Scored], activate: bool) -> Value {
    let labels = &asked.scorer.manifest().model.labels;
    let data: Vec<Value> = scored
        .iter()
        .enumerate()
        .map(|(index, scored)| {
            let raw = numbers(&scored.reward);
            let values = if activate { activated(&raw) } else { raw };
            let best = (0..values.len()).max_by(|&a, &b| values[a].total_cmp(&values[b]));
            let label = best.and_then(|best| labels.get(best));
            json!({"index": index, "label": label, "num_classes": values.len(), "probs": values})
        })
        .collect();
    json!({
        "id": openai::reply_id("classify"),
        "object": "list",
        "created": openai::now(),
        "model": asked.model.name(),
        "data": data,
        "usage": Usage::of(scored),
        "activation": match (activate, labels.len()) {
            (false, _) => "none",
            (true, 1) => "sigmoid",
            (true, _) => "softmax",
        },
    })
}

fn sglang(scored: &Scored) -> Value {
    json!({
        "embedding": numbers(&scored.reward),
        "meta_info": {
            "id": openai::reply_id("classify"),
            "finish_reason": null,
            "prompt_tokens": scored.reward.tokens,
            "cached_tokens": 0,
            "e2e_latency": scored.times.total().as_secs_f64(),
        },
    })
}

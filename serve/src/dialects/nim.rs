//! `POST /v1/chat/completions`, as NVIDIA NIM answers it for reward models: the score is text in the reply's content,
//! `reward:-1.25`, or `label:score` with commas for a model with several labels.

use axum::{Json, Router, extract::State, routing::post};
use serde_json::{Value, json};
use worldpm_ort_runtime::Output;

use super::{
    openai::{self, OpenAi, Usage},
    reading::number,
    request::Request,
};
use crate::{
    http::{Client, Failure, Input, Problem},
    scoring::{Asked, Scored},
    state::App,
};

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/v1/chat/completions", post(complete))
}

async fn complete(
    State(app): State<App>,
    client: Client,
    request: Input<Request, OpenAi>,
) -> Result<Json<Value>, Failure<OpenAi>> {
    let mut request = request.value;
    let asked = Asked::new(&app, client, request.model.as_deref())?;
    let scored = asked.all(request.take_items()?).await?;
    let [scored] = scored.as_slice() else {
        return Err(Problem::invalid("send `messages`, one conversation").into());
    };
    let usage = Usage::of(std::slice::from_ref(scored));
    Ok(Json(json!({
        "id": openai::reply_id("chatcmpl"),
        "object": "chat.completion",
        "created": openai::now(),
        "model": asked.model.name(),
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": content(scored)?},
            "logprobs": null,
            "finish_reason": "stop",
        }],
        "usage": usage,
    })))
}

fn content(scored: &Scored) -> Result<String, Problem> {
    match &scored.reward.output {
        Output::Labels(labels) => {
            let all = labels
                .iter()
                .map(|(label, score)| format!("{label}:{}", f64::from(score)));
            Ok(all.collect::<Vec<_>>().join(","))
        }
        _ => Ok(format!("reward:{}", number(&scored.reward)?)),
    }
}

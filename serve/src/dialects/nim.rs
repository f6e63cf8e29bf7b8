//! `POST /v1/chat/completions`, as NVIDIA NIM answers it for reward models: the score is text in the reply's content,
//! `reward:-1.25`, or `label:score` with commas for a model with several labels.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use worldpm_ort_runtime::Output;

use super::{
    openai::{self, OpenAi, Usage},
    reading::number,
    request::Request,
};
use crate::{
    http::{Client, Failure, Input, Problem},
    openapi::{ANSWER, MODEL, PROMPT, null, tagged},
    scoring::{Asked, Scored},
    state::App,
};

const TAG: &str = "Chat completions";

pub(crate) fn routes() -> OpenApiRouter<App> {
    tagged(TAG, "As NVIDIA NIM answers for reward models.").routes(routes!(complete))
}

#[derive(Serialize, ToSchema)]
struct Completion {
    id: String,
    object: &'static str,
    /// Seconds since 1970.
    created: u64,
    model: String,
    choices: [Choice; 1],
    usage: Usage,
}

#[derive(Serialize, ToSchema)]
struct Choice {
    index: usize,
    message: Said,
    #[schema(schema_with = null, required = true)]
    logprobs: Option<()>,
    finish_reason: &'static str,
}

#[derive(Serialize, ToSchema)]
struct Said {
    role: &'static str,
    /// `reward:SCORE`, or `LABEL:SCORE` with commas for a model with several labels.
    content: String,
}

/// Scores a conversation; the score is text in the content of the reply.
///
/// It is raw.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    operation_id = "chat_completions",
    tag = TAG,
    request_body(content = Request, example = json!({
        "model": MODEL,
        "messages": [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": ANSWER}],
    })),
    responses(
        (status = 200, description = "The score.", body = Completion, example = json!({
            "id": "chatcmpl-0f8fad5bd9cb469fa16570867728950e", "object": "chat.completion", "created": 1790000000,
            "model": MODEL,
            "choices": [{
                "index": 0, "message": {"role": "assistant", "content": "reward:-1.25"}, "logprobs": null,
                "finish_reason": "stop",
            }],
            "usage": {"prompt_tokens": 42, "total_tokens": 42, "completion_tokens": 0, "prompt_tokens_details": null},
        })),
        Failure<OpenAi>,
    ),
)]
async fn complete(
    State(app): State<App>,
    client: Client,
    request: Input<Request, OpenAi>,
) -> Result<Json<Completion>, Failure<OpenAi>> {
    let mut request = request.value;
    let asked = Asked::new(&app, client, request.model.as_deref())?;
    let scored = request.scored(&asked).await?;
    let [scored] = scored.as_slice() else {
        return Err(Problem::invalid("send `messages`, one conversation").into());
    };
    let message = Said {
        role: "assistant",
        content: content(scored)?,
    };
    Ok(Json(Completion {
        id: openai::reply_id("chatcmpl"),
        object: "chat.completion",
        created: openai::now(),
        model: asked.model.name().to_owned(),
        choices: [Choice {
            index: 0,
            message,
            logprobs: None,
            finish_reason: "stop",
        }],
        usage: Usage::of(std::slice::from_ref(scored)),
    }))
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

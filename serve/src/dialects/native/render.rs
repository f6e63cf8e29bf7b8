//! `POST /v1/render`: the text that the chat template makes of a conversation, and where it is scored.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;
use worldpm_ort_runtime::json::Json as Text;

use super::{
    described::{OneConversation, TAG},
    records::Prepared,
    refusal::Native,
    score::model_name,
};
use crate::{
    http::{Failure, Input, Problem},
    openapi::{ANSWER, MODEL, PROMPT, TEXT},
    state::App,
};

#[derive(Serialize, ToSchema)]
#[schema(as = RenderReply)]
pub(super) struct Reply {
    model: String,
    text: String,
    tokens: usize,
    scored: Scored,
}

/// The token at which the conversation is scored; the last one, of a model that scores steps.
#[derive(Serialize, ToSchema)]
#[schema(as = RenderedToken)]
struct Scored {
    /// Which token it is, from 0.
    position: usize,
    id: u32,
    token: Option<String>,
    /// Where it begins in the text, in UTF-16 code units, as JavaScript counts.
    start: usize,
    /// Where it ends, in the same units.
    end: usize,
}

/// Shows the text that the chat template makes of a conversation, and the token at which it is scored.
///
/// Nothing is scored.
#[utoipa::path(
    post,
    path = "/v1/render",
    operation_id = "render",
    tag = TAG,
    request_body(content = OneConversation, example = json!({"model": MODEL, "prompt": PROMPT, "response": ANSWER})),
    responses(
        (status = 200, description = "The text.", body = Reply, example = json!({
            "model": MODEL,
            "text": TEXT,
            "tokens": 42,
            "scored": {"position": 41, "id": 151643, "token": "<|endoftext|>", "start": 189, "end": 202},
        })),
        Failure<Native>,
    ),
)]
pub(super) async fn render(
    State(app): State<App>,
    request: Input<Text, Native>,
) -> Result<Json<Reply>, Failure<Native>> {
    let mut value = request.value;
    let model = match &mut value {
        Text::Object(fields) => fields.remove("model"),
        _ => None,
    };
    let model = app.models().get(model_name(model)?.as_deref())?;
    let scorer = model.scorer()?;
    let prepared = Prepared::of_value(value);
    prepared
        .entry?
        .check()
        .map_err(|error| Problem::invalid(error.to_string()))?;
    let [conversation] = prepared.conversations.as_slice() else {
        return Err(Problem::invalid("send one conversation").into());
    };
    let rendered = scorer
        .rendered(conversation)
        .map_err(|error| Problem::from(&error))?;
    let token = scorer.token_text(rendered.scored.id);
    let units = |text: &str| text.chars().map(char::len_utf16).sum::<usize>();
    let (start, end) = (rendered.range.start, rendered.range.end);
    let start_unit = units(&rendered.text[..start]);
    Ok(Json(Reply {
        model: model.name().to_owned(),
        tokens: rendered.tokens,
        scored: Scored {
            position: rendered.scored.position,
            id: rendered.scored.id,
            token,
            start: start_unit,
            end: start_unit + units(&rendered.text[start..end]),
        },
        text: rendered.text,
    }))
}

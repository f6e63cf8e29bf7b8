//! `POST /v1/rank`: the best of N answers to a prompt.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use worldpm_ort_runtime::json::{Json as Text, Object};

use super::{
    answer::Conversation,
    described::{TAG, scored_with},
    refusal::Native,
};
use crate::{
    dialects::{
        items::{TextOrMessages, conversation},
        reading::number,
    },
    http::{Client, Failure, Input, Problem},
    openapi::{ANSWER, MODEL, OTHER_ANSWER, PROMPT},
    scoring::{Asked, Item},
    state::App,
};

#[derive(Deserialize, ToSchema)]
#[schema(as = RankRequest)]
pub(super) struct Request {
    /// The name of a model. Default: the first one of the server.
    model: Option<String>,
    /// A text, which is a user's message, or messages.
    #[serde(alias = "messages")]
    #[schema(value_type = TextOrMessages)]
    prompt: Text,
    /// Tools that the assistant may call, for chat templates that list them.
    #[schema(value_type = Option<Vec<Object>>)]
    tools: Option<Vec<Text>>,
    /// Texts, which are an assistant's messages, or lists of messages.
    #[serde(alias = "candidates")]
    #[schema(value_type = Vec<TextOrMessages>, min_items = 1)]
    responses: Vec<Text>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RankReply)]
pub(super) struct Reply {
    model: String,
    /// Which response is the best.
    best: usize,
    /// Best first; equal scores in the order of the request.
    results: Vec<Ranked>,
}

#[derive(Serialize, ToSchema)]
struct Ranked {
    /// Its place in the request, from 0.
    index: usize,
    #[serde(flatten)]
    scored: Conversation,
    /// Its score less that of the best.
    margin: f64,
}

fn example() -> Value {
    json!({
        "model": MODEL,
        "best": 1,
        "results": [
            scored_with(-1.25, &json!({"index": 1, "margin": 0.0})),
            scored_with(-3.5, &json!({"index": 0, "margin": -2.25})),
        ],
    })
}

/// Ranks answers to a prompt, best first.
///
/// `messages` may stand for `prompt`, and `candidates` for `responses`.
#[utoipa::path(
    post,
    path = "/v1/rank",
    operation_id = "rank",
    tag = TAG,
    request_body(content = Request, example = json!({
        "model": MODEL, "prompt": PROMPT, "responses": [OTHER_ANSWER, ANSWER],
    })),
    responses(
        (status = 200, description = "The answers with raw scores, best first.", body = Reply, example = example),
        Failure<Native>,
    ),
)]
pub(super) async fn rank(
    State(app): State<App>,
    client: Client,
    request: Input<Request, Native>,
) -> Result<Json<Reply>, Failure<Native>> {
    let request = request.value;
    let asked = Asked::new(&app, client, request.model.as_deref())?;
    if request.responses.is_empty() {
        return Err(Problem::invalid("`responses` is empty").into());
    }
    let prompt = messages("prompt", "user", request.prompt)?;
    let mut items = Vec::with_capacity(request.responses.len());
    for (index, response) in request.responses.into_iter().enumerate() {
        let field = format!("responses[{index}]");
        let mut all = prompt.clone();
        all.extend(messages(&field, "assistant", response)?);
        let one = conversation(all, request.tools.clone()).map_err(|problem| problem.at(index))?;
        items.push(Item::Conversation(one));
    }
    let scored = asked.all(items).await?;
    let mut order = Vec::with_capacity(scored.len());
    for (index, scored) in scored.iter().enumerate() {
        order.push((index, number(&scored.reward)?));
    }
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    let (best, most) = order[0];
    let results = order.into_iter().map(|(index, score)| Ranked {
        index,
        scored: Conversation::of(&scored[index], &asked.scorer),
        margin: score - most,
    });
    Ok(Json(Reply {
        model: asked.model.name().to_owned(),
        best,
        results: results.collect(),
    }))
}

/// The messages of a text, or those of a list.
fn messages(field: &str, role: &str, value: Text) -> Result<Vec<Text>, Problem> {
    match value {
        Text::String(content) => {
            let mut message = Object::new();
            message.insert("role", role);
            message.insert("content", content);
            Ok(vec![message.into()])
        }
        Text::Array(messages) => Ok(messages),
        other => Err(Problem::invalid(format!(
            "`{field}` is {}: it must be a text or a list of messages",
            other.kind()
        ))),
    }
}

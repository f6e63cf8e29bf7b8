//! slime's remote reward model: `{"prompt", "response", "label"}` of one sample, and the body of the reply is the score, or an
//! object with it under [`ServeOptions::slime_key`](crate::ServeOptions::slime_key), for slime's `--reward-key`.
//!
//! A prompt that is a text is templated already, with the prompt for the answer at its end, and the two are scored as one text;
//! a prompt that is a list of messages goes through the model's template with the response.

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{PartialSchema, ToSchema, openapi};
use utoipa_axum::{router::OpenApiRouter, routes};
use worldpm_ort_runtime::json::{Json as Text, Object};

use super::{
    items::{TextOrMessages, conversation},
    reading::number,
};
use crate::{
    http::{Client, Dialect, ErrorText, Failure, Input, Problem},
    openapi::{ANSWER, PROMPT, at, number as number_schema, object, tagged, with_reply},
    options::ServeOptions,
    scoring::{Asked, Item},
    state::App,
};

const TAG: &str = "slime";

/// At `/` and at more paths.
pub(crate) fn routes(options: &ServeOptions) -> OpenApiRouter<App> {
    let mut routes = routes!(reward);
    if let Some(key) = &options.slime_key {
        let score = number_schema("The raw score.");
        let schema = object("The score under a key of the server's choice.");
        let schema = schema.property(key, score).required(key).into();
        routes = with_reply(routes, ("SlimeReply", schema), &json!({key: -1.25}));
    }
    let mut router = tagged(TAG, "As its trainers ask a remote reward model.");
    for (path, number) in options.slime_paths.iter().zip(2..) {
        router = router.routes(at(path, &format!("_{number}"), routes.clone()));
    }
    router.routes(routes)
}

/// A bare message.
struct Slime;

impl Dialect for Slime {
    type Body = ErrorText;

    fn body(problem: &Problem) -> ErrorText {
        problem.into()
    }
}

#[derive(Deserialize, ToSchema)]
#[schema(as = SlimeRequest)]
struct Request {
    /// A text that the chat template made, with the prompt for the answer at its end, or messages.
    #[schema(value_type = TextOrMessages)]
    prompt: Text,
    /// What was answered.
    response: String,
    /// The name of a model. Default: the first one of the server.
    model: Option<String>,
}

/// The raw score, in descriptions.
struct SlimeReply;

impl ToSchema for SlimeReply {}

impl PartialSchema for SlimeReply {
    fn schema() -> openapi::RefOr<openapi::Schema> {
        number_schema("The raw score.").into()
    }
}

/// Scores an answer.
///
/// A prompt that is a text and its response are scored as one text; a prompt of messages goes through the chat template with the
/// response. `label`, which the client sends too, is not read.
#[utoipa::path(
    post,
    path = "/",
    operation_id = "slime_reward",
    tag = TAG,
    request_body(content = Request, example = json!({
        "prompt": [{"role": "user", "content": PROMPT}], "response": ANSWER, "label": null,
    })),
    responses(
        (status = 200, description = "The score.", body = SlimeReply, example = json!(-1.25)),
        Failure<Slime>,
    ),
)]
async fn reward(
    State(app): State<App>,
    client: Client,
    request: Input<Request, Slime>,
) -> Result<Json<Value>, Failure<Slime>> {
    let request = request.value;
    let asked = Asked::new(&app, client, request.model.as_deref())?;
    let item = item(request.prompt, request.response)?;
    let score = number(&asked.one(item).await?.reward)?;
    Ok(Json(match &app.options().slime_key {
        Some(key) => json!({key: score}),
        None => json!(score),
    }))
}

fn item(prompt: Text, response: String) -> Result<Item, Problem> {
    match prompt {
        Text::String(prompt) => Ok(Item::Templated(format!("{prompt}{response}"))),
        Text::Array(mut messages) => {
            let mut answer = Object::new();
            answer.insert("role", "assistant");
            answer.insert("content", response);
            messages.push(answer.into());
            conversation(messages, None).map(Item::Conversation)
        }
        other => Err(Problem::invalid(format!(
            "`prompt` is {}: it must be a text or a list of messages",
            other.kind()
        ))),
    }
}

//! slime's remote reward model: `{"prompt", "response", "label"}` of one sample, and the body of the reply is the score, or an
//! object with it under [`ServeOptions::slime_key`](crate::ServeOptions::slime_key), for slime's `--reward-key`.
//!
//! A prompt that is a text is templated already, with the prompt for the answer at its end, and the two are scored as one text;
//! a prompt that is a list of messages goes through the model's template with the response.

use axum::{Json, Router, extract::State, routing::post};
use serde::Deserialize;
use serde_json::{Value, json};
use worldpm_ort_runtime::json::{Json as Text, Object};

use super::{items::conversation, reading::number};
use crate::{
    http::{Client, Dialect, Failure, Input, Problem},
    scoring::{Asked, Item},
    state::App,
};

/// At `/` and at more paths.
pub(crate) fn routes(paths: &[String]) -> Router<App> {
    let mut router = Router::new().route("/", post(reward));
    for path in paths {
        router = router.route(path, post(reward));
    }
    router
}

/// A bare message.
struct Slime;

impl Dialect for Slime {
    fn body(problem: &Problem) -> Value {
        json!({"error": problem.message})
    }
}

#[derive(Deserialize)]
struct Request {
    prompt: Text,
    response: String,
    model: Option<String>,
}

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

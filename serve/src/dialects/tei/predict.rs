//! `POST /predict`: `{"inputs", "raw_scores"}` gives `[{"score", "label"}]`, and a list of such lists for a batch.
//!
//! | `inputs` | scored |
//! |---|---|
//! | `"text"` | a text that the template made |
//! | `["question", "answer"]` | a pair: one conversation of the two |
//! | `[["text"], ["question", "answer"]]` | a batch of these |
//!
//! Unless `raw_scores` is true, scores go through a sigmoid (a softmax for several labels), as TEI documents it; the header
//! `x-score-activation` says which.

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
    dialects::reading::{activated, numbers},
    http::{Client, Failure, Input, Problem},
    openapi::{ANSWER, PROMPT},
    scoring::{Asked, Item, Scored},
    state::App,
};

#[derive(Deserialize, ToSchema)]
#[schema(as = PredictRequest)]
pub(super) struct Request {
    inputs: Inputs,
    /// Whether scores are raw. Default: no, they go through a sigmoid, or a softmax of several labels.
    #[serde(default)]
    raw_scores: bool,
    /// The name of a model. Default: the first one of the server.
    model: Option<String>,
}

/// What is scored.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = PredictInputs)]
enum Inputs {
    /// A text that the chat template made.
    Text(String),
    /// A question and its answer: one conversation. One text alone is as above.
    Pair(Vec<String>),
    /// Several of these.
    Batch(Vec<Vec<String>>),
}

/// Of one input, or of a batch.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Predictions {
    One(Vec<Prediction>),
    Batch(Vec<Vec<Prediction>>),
}

#[derive(Serialize, ToSchema)]
struct Prediction {
    score: f64,
    label: String,
}

/// Scores texts, or pairs of a question and an answer.
///
/// The labels of each input are in the order of their scores.
#[utoipa::path(
    post,
    path = "/predict",
    operation_id = "predict",
    tag = TAG,
    request_body(content = Request, examples(
        ("pair" = (value = json!({"inputs": [PROMPT, ANSWER], "raw_scores": true}))),
        ("batch" = (value = json!({"inputs": [[PROMPT, ANSWER]], "raw_scores": true}))),
    )),
    responses(
        (status = 200, description = "The scores.", body = Predictions,
            headers(("x-score-activation" = String, description = "What scores went through: `none`, `sigmoid` or `softmax`.")),
            examples(
                ("pair" = (value = json!([{"score": -1.25, "label": "LABEL_0"}]))),
                ("batch" = (value = json!([[{"score": -1.25, "label": "LABEL_0"}]]))),
            )),
        Failure<Tei>,
    ),
)]
pub(super) async fn predict(
    State(app): State<App>,
    client: Client,
    request: Input<Request, Tei>,
) -> Result<Response, Failure<Tei>> {
    let begun = Instant::now();
    let request = request.value;
    let asked = Asked::new(&app, client, request.model.as_deref())?;
    let (inputs, batch) = match request.inputs {
        Inputs::Text(text) => (vec![vec![text]], false),
        Inputs::Pair(pair) => (vec![pair], false),
        Inputs::Batch(batch) => (batch, true),
    };
    let characters = inputs
        .iter()
        .flatten()
        .map(|text| text.chars().count())
        .sum();
    let items = inputs.into_iter().map(item);
    let scored = asked.all(items.collect::<Result<_, _>>()?).await?;
    let labels = &asked.scorer.manifest().model.labels;
    let predictions = scored
        .iter()
        .map(|scored| predictions(scored, labels, request.raw_scores));
    let mut predictions: Vec<Vec<Prediction>> = predictions.collect();
    let body = Json(match batch {
        true => Predictions::Batch(predictions),
        false => Predictions::One(predictions.pop().unwrap_or_default()),
    });
    let mut headers = headers(begun, characters, &scored);
    let activation = match (request.raw_scores, labels.len()) {
        (true, _) => "none",
        (false, 1) => "sigmoid",
        (false, _) => "softmax",
    };
    let name = HeaderName::from_static("x-score-activation");
    headers.insert(name, HeaderValue::from_static(activation));
    Ok((headers, body).into_response())
}

fn item(texts: Vec<String>) -> Result<Item, Problem> {
    let mut texts = texts.into_iter();
    match (texts.next(), texts.next(), texts.next()) {
        (Some(text), None, None) => Ok(Item::Templated(text)),
        (Some(question), Some(answer), None) => {
            Ok(Item::Conversation(Conversation::exchange(question, answer)))
        }
        _ => Err(Problem::invalid(
            "`inputs`: an input is one text, or a pair of a question and an answer; a batch is a list of such lists",
        )),
    }
}

fn predictions(scored: &Scored, labels: &[String], raw: bool) -> Vec<Prediction> {
    let numbers = numbers(&scored.reward);
    let values = if raw { numbers } else { activated(&numbers) };
    let all = labels.iter().cloned().zip(values);
    let mut all: Vec<Prediction> = all
        .map(|(label, score)| Prediction { score, label })
        .collect();
    all.sort_by(|a, b| b.score.total_cmp(&a.score));
    all
}

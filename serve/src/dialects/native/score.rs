//! `POST /v1/score`.

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::header::CONTENT_TYPE;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use worldpm_ort_runtime::{
    json::Json as Text,
    records::{Entry, RecordReward},
};

use super::{
    answer::{Answer, Candidates, Conversation, Pair},
    described::{ScoreRequest, TAG, id, scored_with},
    lines,
    records::{self, Prepared},
    refusal::Native,
};
use crate::{
    http::{Client, Failure, Problem, Refusal, body, parse},
    openapi::{ANSWER, MODEL, PROMPT},
    scoring::{Asked, Scored},
    state::App,
};

/// To a record, or to a list of them.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = ScoreReply)]
enum Either {
    One(Box<Reply>),
    Several(Replies),
}

/// Of a record.
#[derive(Serialize, ToSchema)]
#[schema(as = AnsweredRecord)]
struct Reply {
    model: String,
    #[serde(flatten)]
    answered: Answered,
}

/// Of a list of records.
#[derive(Serialize, ToSchema)]
#[schema(as = AnsweredRecords)]
struct Replies {
    model: String,
    /// In the order of the records.
    results: Vec<Answered>,
}

#[derive(Serialize, ToSchema)]
struct Answered {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = id, required = false)]
    id: Option<Text>,
    #[serde(flatten)]
    outcome: AnswerOr,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum AnswerOr {
    Answer(Box<Answer>),
    Refused { error: Refusal },
}

fn example() -> Value {
    scored_with(-1.25, &json!({"model": MODEL, "id": 7}))
}

/// Scores a record, or a list of records.
///
/// A record that cannot be scored has an `error` in place of a score and touches no other; where it is the only one, the request
/// is refused. When one was refused because the server has too much to do, the whole request is.
///
/// With the content type `application/x-ndjson` the body is JSON Lines, a record a line, and so is the reply: what
/// `worldpm-ort score` reads and writes. The model is named by `?model=` there.
#[utoipa::path(
    post,
    path = "/v1/score",
    operation_id = "score",
    tag = TAG,
    params(("model" = Option<String>, Query, description = "The name of a model, for JSON Lines. Default: the first one of the server.")),
    request_body(content(
        (ScoreRequest = "application/json", example = json!({
            "id": 7, "model": MODEL, "prompt": PROMPT, "response": ANSWER,
        })),
        (String = "application/x-ndjson", example = json!("{\"id\":7,\"prompt\":\"Tips for better sleep?\",\"response\":\"Keep a regular bedtime.\"}\n")),
    )),
    responses(
        (status = 200, description = "Raw scores.", content(
            (Either = "application/json", example = example),
            (String = "application/x-ndjson", example = json!("{\"id\":7,\"score\":-1.25,\"tokens\":42}\n")),
        )),
        Failure<Native>,
    ),
)]
pub(super) async fn score(
    State(app): State<App>,
    client: Client,
    request: Request,
) -> Result<Response, Failure<Native>> {
    let content_type = request.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let lines = content_type.is_some_and(lines::are_meant);
    let model = lines.then(|| lines::model(request.uri())).flatten();
    let body = body(request, &app).await?;
    if lines {
        let asked = Asked::new(&app, client, model.as_deref())?;
        return Ok(lines::score(&asked, &body).await?);
    }
    let mut value: Text = parse(&body)?;
    let model = match &mut value {
        Text::Object(fields) => fields.remove("model"),
        _ => None,
    };
    let asked = Asked::new(&app, client, model_name(model)?.as_deref())?;
    let list = match &mut value {
        Text::Object(fields) => fields.remove("records"),
        _ => None,
    };
    let model = asked.model.name().to_owned();
    match list {
        None => {
            let scored = records::score(&asked, vec![Prepared::of_value(value)]).await?;
            let mut scored = scored.into_iter();
            let (entry, outcome) = scored.next().unwrap_or((None, Ok(Vec::new())));
            let outcome = answer(&asked, entry.as_ref(), &outcome?)?;
            let answered = Answered {
                id: entry.and_then(|entry| entry.id),
                outcome: AnswerOr::Answer(outcome.into()),
            };
            let reply = Reply { model, answered };
            Ok(Json(Either::One(reply.into())).into_response())
        }
        Some(Text::Array(list)) => {
            let list = list.into_iter().map(Prepared::of_value).collect();
            let scored = records::score(&asked, list).await?;
            let results = scored.into_iter().map(|(entry, outcome)| {
                let answer = outcome.and_then(|scored| answer(&asked, entry.as_ref(), &scored));
                Answered {
                    id: entry.and_then(|entry| entry.id),
                    outcome: match answer {
                        Ok(answer) => AnswerOr::Answer(answer.into()),
                        Err(problem) => AnswerOr::Refused {
                            error: Refusal::from(&problem),
                        },
                    },
                }
            });
            let results = results.collect();
            Ok(Json(Either::Several(Replies { model, results })).into_response())
        }
        Some(other) => Err(Problem::invalid(format!(
            "`records` is {}: it must be a list of records",
            other.kind()
        ))
        .into()),
    }
}

pub(super) fn model_name(model: Option<Text>) -> Result<Option<String>, Problem> {
    match model {
        None | Some(Text::Null) => Ok(None),
        Some(Text::String(name)) => Ok(Some(name.to_string())),
        Some(other) => Err(Problem::invalid(format!(
            "`model` is {}: it must be the name of a model",
            other.kind()
        ))),
    }
}

fn answer(asked: &Asked, entry: Option<&Entry>, scored: &[Scored]) -> Result<Answer, Problem> {
    let reward = records::reward(entry, scored)?;
    Ok(match (&reward, scored) {
        (RecordReward::Candidates(all), _) => {
            Answer::Candidates(Candidates::of(all, scored, &asked.scorer))
        }
        (RecordReward::Pair { .. }, [chosen, rejected]) => {
            Answer::Pair(Pair::of(chosen, rejected, &asked.scorer))
        }
        (_, [one]) => Answer::Single(Conversation::of(one, &asked.scorer)),
        _ => return Err(Problem::invalid("there is nothing to score")),
    })
}

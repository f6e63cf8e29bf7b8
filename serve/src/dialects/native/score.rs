//! `POST /v1/score`.

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::header::CONTENT_TYPE;
use serde::Serialize;
use worldpm_ort_runtime::{
    json::Json as Text,
    records::{Entry, RecordReward},
};

use super::{
    answer::{Answer, Candidates, Conversation, Pair},
    lines,
    records::{self, Prepared},
    refusal::{Native, Refusal},
};
use crate::{
    http::{Client, Failure, Problem, body, parse},
    scoring::{Asked, Scored},
    state::App,
};

/// Of a record.
#[derive(Serialize)]
struct Reply {
    model: String,
    #[serde(flatten)]
    answered: Answered,
}

/// Of a list of records.
#[derive(Serialize)]
struct Replies {
    model: String,
    results: Vec<Answered>,
}

#[derive(Serialize)]
struct Answered {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Text>,
    #[serde(flatten)]
    outcome: AnswerOr,
}

#[derive(Serialize)]
#[serde(untagged)]
enum AnswerOr {
    Answer(Box<Answer>),
    Refused { error: Refusal },
}

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
            Ok(Json(Reply { model, answered }).into_response())
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
                            error: Refusal::of(&problem),
                        },
                    },
                }
            });
            let results = results.collect();
            Ok(Json(Replies { model, results }).into_response())
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

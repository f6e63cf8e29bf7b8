//! `POST /v1/compare`: a pair, with margin and probability.

use axum::{Json, extract::State};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use worldpm_ort_runtime::{
    json::Json as Text,
    records::{Entry, Side},
};

use super::{
    answer::Pair,
    described::{Comparison, TAG, pair_example, scored_example},
    records::{self, Prepared},
    refusal::Native,
    score::model_name,
};
use crate::{
    http::{Client, Failure, Input, Problem},
    openapi::MODEL,
    scoring::Asked,
    state::App,
};

#[derive(Serialize, ToSchema)]
#[schema(as = CompareReply)]
pub(super) struct Reply {
    model: String,
    #[serde(flatten)]
    pair: Pair,
}

fn example() -> Value {
    json!({
        "model": MODEL,
        "chosen": scored_example(-1.25),
        "rejected": scored_example(-3.5),
        "margin": 2.25,
        "probability": 0.904_650_535_100_891,
    })
}

/// Compares two answers.
///
/// `margin` is the score of `chosen` less that of `rejected`, and `probability` its sigmoid.
#[utoipa::path(
    post,
    path = "/v1/compare",
    operation_id = "compare",
    tag = TAG,
    request_body(content = Comparison, example = pair_example),
    responses(
        (status = 200, description = "Both scores, raw.", body = Reply, example = example),
        Failure<Native>,
    ),
)]
pub(super) async fn compare(
    State(app): State<App>,
    client: Client,
    request: Input<Text, Native>,
) -> Result<Json<Reply>, Failure<Native>> {
    let mut value = request.value;
    let model = match &mut value {
        Text::Object(fields) => fields.remove("model"),
        _ => None,
    };
    let asked = Asked::new(&app, client, model_name(model)?.as_deref())?;
    let prepared = Prepared::of_value(value);
    match prepared.entry.as_ref().map(Entry::sides).as_deref() {
        Ok([Side::Whole]) => {
            return Err(Problem::invalid(
                "one conversation cannot be compared: send `chosen` and `rejected`",
            )
            .into());
        }
        Ok([Side::Candidate(_), ..]) => {
            return Err(Problem::invalid(
                "candidates are not compared: send two of them as `chosen` and `rejected`, or all of them to /v1/score",
            )
            .into());
        }
        _ => {}
    }
    let mut outcomes = records::score(&asked, vec![prepared]).await?;
    let (_, outcome) = outcomes
        .pop()
        .ok_or_else(|| Problem::invalid("there is nothing to score"))?;
    match outcome?.as_slice() {
        [chosen, rejected] => Ok(Json(Reply {
            model: asked.model.name().to_owned(),
            pair: Pair::of(chosen, rejected, &asked.scorer),
        })),
        _ => Err(Problem::invalid("send `chosen` and `rejected`").into()),
    }
}

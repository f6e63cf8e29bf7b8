//! `POST /pooling`: vLLM's and LMDeploy's.
//!
//! vLLM gives a list of scores for each token of a reward model, of which clients take the last; here that is a list of one,
//! the score at the scored token. LMDeploy gives the bare number, as
//! [`ServeOptions::pooling_scalar`](crate::ServeOptions::pooling_scalar) makes this path do.

use axum::{Json, Router, extract::State, routing::post};
use serde_json::{Value, json};

use super::{
    openai::{self, OpenAi, Usage},
    reading::{activated, number, numbers},
    request::Request,
};
use crate::{
    http::{Client, Failure, Input, Problem},
    scoring::{Asked, Scored},
    state::App,
};

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/pooling", post(pooling))
}

async fn pooling(
    State(app): State<App>,
    client: Client,
    request: Input<Request, OpenAi>,
) -> Result<Json<Value>, Failure<OpenAi>> {
    let mut request = request.value;
    let asked = Asked::new(&app, client, request.model.as_deref())?;
    let scored = asked.all(request.take_items()?).await?;
    request.check_lengths(&scored)?;
    let activate = request.activates();
    let scalar = app.options().pooling_scalar;
    let pooled = scored.iter().enumerate().map(|(index, scored)| {
        let data = data(&request, scored, activate, scalar)?;
        Ok(json!({"index": index, "object": "pooling", "data": data}))
    });
    Ok(Json(json!({
        "id": openai::reply_id("pool"),
        "object": "list",
        "created": openai::now(),
        "model": asked.model.name(),
        "data": pooled.collect::<Result<Vec<Value>, Problem>>()?,
        "usage": Usage::of(&scored),
        "activation": if activate { "sigmoid" } else { "none" },
    })))
}

fn data(
    request: &Request,
    scored: &Scored,
    activate: bool,
    scalar: bool,
) -> Result<Value, Problem> {
    let with = |raw: Vec<f64>| if activate { activated(&raw) } else { raw };
    if scalar {
        let one = with(vec![number(&scored.reward)?]);
        return Ok(json!(one[0]));
    }
    let all = with(numbers(&scored.reward));
    Ok(match request.encoded(all) {
        // A list for each scored token.
        list @ Value::Array(_) => json!([list]),
        base64 => base64,
    })
}

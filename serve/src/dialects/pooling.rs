//! `POST /pooling`: vLLM's and LMDeploy's.
//!
//! vLLM gives a list of scores for each token of a reward model, of which clients take the last; here that is a list of one,
//! the score at the scored token. LMDeploy gives the bare number, as
//! [`ServeOptions::pooling_scalar`](crate::ServeOptions::pooling_scalar) makes this path do.

use axum::{Json, extract::State};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    openai::{self, OpenAi, Usage},
    reading::{activated, number, numbers},
    request::{Encoded, Request},
};
use crate::{
    http::{Client, Failure, Input, Problem},
    openapi::{MODEL, TEXT, number as number_schema, tagged, with_reply},
    scoring::{Asked, Scored},
    state::App,
};

const TAG: &str = "Pooling";

/// What `data` is, is the server's choice.
pub(crate) fn routes(scalar: bool) -> OpenApiRouter<App> {
    let routes = match scalar {
        false => routes!(pooling),
        true => {
            let schema = number_schema("The score, as LMDeploy gives it.");
            with_reply(routes!(pooling), ("Pooled", schema), &example(json!(-1.25)))
        }
    };
    tagged(TAG, "As vLLM and LMDeploy answer for reward models.").routes(routes)
}

#[derive(Serialize, ToSchema)]
#[schema(as = PoolingReply)]
struct Reply {
    id: String,
    object: &'static str,
    /// Seconds since 1970.
    created: u64,
    model: String,
    /// In the order of the inputs.
    data: Vec<Pooling>,
    usage: Usage,
    /// What scores went through: `none` or `sigmoid`.
    activation: &'static str,
}

#[derive(Serialize, ToSchema)]
struct Pooling {
    index: usize,
    object: &'static str,
    data: Pooled,
}

/// The scores of a conversation.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Pooled {
    /// LMDeploy's.
    #[schema(title = "LMDeploy")]
    Number(f64),
    /// A list for each scored token, of which there is one.
    Tokens([Vec<f64>; 1]),
    /// The same as `f32`, little end first.
    Base64(String),
}

fn example(data: Value) -> Value {
    json!({
        "id": "pool-0f8fad5bd9cb469fa16570867728950e", "object": "list", "created": 1_790_000_000, "model": MODEL,
        "data": [{"index": 0, "object": "pooling", "data": data}],
        "usage": {"prompt_tokens": 42, "total_tokens": 42, "completion_tokens": 0, "prompt_tokens_details": null},
        "activation": "none",
    })
}

/// Scores texts that the chat template made, their token ids, or one conversation.
///
/// vLLM gives a list of scores for each token, of which clients take the last; here it is a list of one, the score at the scored
/// token. Scores are raw unless `use_activation` is true.
#[utoipa::path(
    post,
    path = "/pooling",
    operation_id = "pooling",
    tag = TAG,
    request_body(content = Request, example = json!({"model": MODEL, "input": TEXT})),
    responses(
        (status = 200, description = "The scores.", body = Reply, example = json!(example(json!([[-1.25]])))),
        Failure<OpenAi>,
    ),
)]
async fn pooling(
    State(app): State<App>,
    client: Client,
    request: Input<Request, OpenAi>,
) -> Result<Json<Reply>, Failure<OpenAi>> {
    let mut request = request.value;
    let asked = Asked::new(&app, client, request.model.as_deref())?;
    let scored = request.scored(&asked).await?;
    let activate = request.activates();
    let scalar = app.options().pooling_scalar;
    let pooled = scored.iter().enumerate().map(|(index, scored)| {
        Ok(Pooling {
            index,
            object: "pooling",
            data: data(&request, scored, activate, scalar)?,
        })
    });
    Ok(Json(Reply {
        id: openai::reply_id("pool"),
        object: "list",
        created: openai::now(),
        model: asked.model.name().to_owned(),
        data: pooled.collect::<Result<_, Problem>>()?,
        usage: Usage::of(&scored),
        activation: if activate { "sigmoid" } else { "none" },
    }))
}

fn data(
    request: &Request,
    scored: &Scored,
    activate: bool,
    scalar: bool,
) -> Result<Pooled, Problem> {
    let with = |raw: Vec<f64>| if activate { activated(&raw) } else { raw };
    if scalar {
        let one = with(vec![number(&scored.reward)?]);
        return Ok(Pooled::Number(one[0]));
    }
    let all = with(numbers(&scored.reward));
    Ok(match request.encoded(all) {
        Encoded::Numbers(all) => Pooled::Tokens([all]),
        Encoded::Base64(text) => Pooled::Base64(text),
    })
}

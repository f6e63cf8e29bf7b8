//! `POST /get_reward`, as OpenRLHF's trainers ask it: `{"query": [text, …], "prompts", "labels"}` gives
//! `{"rewards": [score, …], "scores", "extra_logs"}`. The texts are templated already. The client tries five times, whatever
//! the status, and then goes on without a reward.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{items::Texts, reading::number};
use crate::{
    http::{Client, Dialect, ErrorText, Failure, Input, Problem},
    openapi::{TEXT, tagged},
    scoring::Asked,
    state::App,
};

const TAG: &str = "OpenRLHF";

pub(crate) fn routes() -> OpenApiRouter<App> {
    tagged(TAG, "As its trainers ask a remote reward model.").routes(routes!(get_reward))
}

/// A bare message.
pub(crate) struct OpenRlhf;

impl Dialect for OpenRlhf {
    type Body = ErrorText;

    fn body(problem: &Problem) -> ErrorText {
        problem.into()
    }
}

#[derive(Deserialize, ToSchema)]
#[schema(as = GetRewardRequest)]
struct Request {
    /// What is scored, templated already. `prompts` and `labels`, which the client sends too, are not read.
    query: Texts,
    /// The name of a model. Default: the first one of the server.
    model: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = GetRewardReply)]
struct Reply {
    /// Raw scores, in the order of the texts.
    rewards: Vec<f64>,
    /// The same.
    scores: Vec<f64>,
    extra_logs: Logs,
}

#[derive(Serialize, ToSchema)]
#[schema(as = GetRewardLogs)]
struct Logs {
    /// The same.
    dummy_scores: Vec<f64>,
}

/// Scores texts that the chat template made.
///
/// The client tries five times, whatever the status, and then goes on without a reward.
#[utoipa::path(
    post,
    path = "/get_reward",
    operation_id = "get_reward",
    tag = TAG,
    request_body(content = Request, example = json!({"query": [TEXT], "prompts": [""], "labels": [""]})),
    responses(
        (status = 200, description = "The scores.", body = Reply, example = json!({
            "rewards": [-1.25], "scores": [-1.25], "extra_logs": {"dummy_scores": [-1.25]},
        })),
        Failure<OpenRlhf>,
    ),
)]
async fn get_reward(
    State(app): State<App>,
    client: Client,
    request: Input<Request, OpenRlhf>,
) -> Result<Json<Reply>, Failure<OpenRlhf>> {
    let request = request.value;
    let asked = Asked::new(&app, client, request.model.as_deref())?;
    let scored = asked.all(request.query.0).await?;
    let rewards = scored.iter().map(|scored| number(&scored.reward));
    let rewards = rewards.collect::<Result<Vec<f64>, Problem>>()?;
    Ok(Json(Reply {
        scores: rewards.clone(),
        extra_logs: Logs {
            dummy_scores: rewards.clone(),
        },
        rewards,
    }))
}

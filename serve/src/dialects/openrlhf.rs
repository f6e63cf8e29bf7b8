//! `POST /get_reward`, as OpenRLHF's trainers ask it: `{"query": [text, …], "prompts", "labels"}` gives
//! `{"rewards": [score, …], "scores", "extra_logs"}`. The texts are templated already. The client tries five times, whatever
//! the status, and then goes on without a reward.

use axum::{Json, Router, extract::State, routing::post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{items::Texts, reading::number};
use crate::{
    http::{Client, Dialect, Failure, Input, Problem},
    scoring::Asked,
    state::App,
};

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/get_reward", post(get_reward))
}

/// A bare message.
pub(crate) struct OpenRlhf;

impl Dialect for OpenRlhf {
    fn body(problem: &Problem) -> Value {
        json!({"error": problem.message})
    }
}

#[derive(Deserialize)]
struct Request {
    query: Texts,
    model: Option<String>,
}

async fn get_reward(
    State(app): State<App>,
    client: Client,
    request: Input<Request, OpenRlhf>,
) -> Result<Json<Value>, Failure<OpenRlhf>> {
    let request = request.value;
    let asked = Asked::new(&app, client, request.model.as_deref())?;
    let scored = asked.all(request.query.0).await?;
    let rewards = scored.iter().map(|scored| number(&scored.reward));
    let rewards = rewards.collect::<Result<Vec<f64>, Problem>>()?;
    Ok(Json(json!({
        "rewards": rewards,
        "scores": rewards,
        "extra_logs": {"dummy_scores": rewards},
    })))
}

//! `GET /info`.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use serde_json::{Value, json};

use super::refusal::Tei;
use crate::{http::Failure, state::App};

/// Of the first model.
pub(super) async fn info(State(app): State<App>) -> Result<Json<Value>, Failure<Tei>> {
    let model = app.models().get(None)?;
    let scorer = model.scorer()?;
    let manifest = scorer.manifest();
    let labels = &manifest.model.labels;
    let by_id: BTreeMap<String, &String> =
        (0..).map(|id: usize| id.to_string()).zip(labels).collect();
    let by_label: BTreeMap<&String, String> = labels
        .iter()
        .zip((0..).map(|id: usize| id.to_string()))
        .collect();
    Ok(Json(json!({
        "model_id": model.name(),
        "served_model_name": model.name(),
        "model_sha": null,
        "model_dtype": manifest.precision.to_string(),
        "model_type": {"reranker": {"id2label": by_id, "label2id": by_label}},
        "max_input_length": scorer.max_length(),
        "max_client_batch_size": app.options().max_request_conversations,
        "auto_truncate": false,
        "version": env!("CARGO_PKG_VERSION"),
    })))
}

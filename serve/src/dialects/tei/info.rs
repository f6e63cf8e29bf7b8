//! `GET /info`.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::refusal::{TAG, Tei, TeiError};
use crate::{
    http::Failure,
    openapi::{MODEL, null},
    state::App,
};

#[derive(Serialize, ToSchema)]
pub(super) struct Info {
    model_id: String,
    served_model_name: String,
    #[schema(schema_with = null, required = true)]
    model_sha: Option<()>,
    /// The precision of the weights.
    model_dtype: String,
    model_type: ModelType,
    /// Most tokens of a conversation.
    max_input_length: usize,
    /// Most conversations of a request.
    max_client_batch_size: usize,
    /// Always false: nothing is cut unless the server was told to.
    auto_truncate: bool,
    version: &'static str,
}

#[derive(Serialize, ToSchema)]
struct ModelType {
    reranker: Labels,
}

#[derive(Serialize, ToSchema)]
struct Labels {
    id2label: BTreeMap<String, String>,
    label2id: BTreeMap<String, String>,
}

/// What the first model is.
#[utoipa::path(
    get,
    path = "/info",
    operation_id = "info",
    tag = TAG,
    responses(
        (status = 200, description = "The first model of the server.", body = Info, example = json!({
            "model_id": MODEL, "served_model_name": MODEL, "model_sha": null, "model_dtype": "f32",
            "model_type": {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": "0"}}},
            "max_input_length": 32768, "max_client_batch_size": 4096, "auto_truncate": false,
            "version": env!("CARGO_PKG_VERSION"),
        })),
        (status = 503, description = "The model is loaded, or could not be.", body = TeiError, example = json!({
            "error": "model `worldpm` is still being loaded; try again later", "error_type": "Unhealthy",
        })),
    ),
)]
pub(super) async fn info(State(app): State<App>) -> Result<Json<Info>, Failure<Tei>> {
    let model = app.models().get(None)?;
    let scorer = model.scorer()?;
    let manifest = scorer.manifest();
    let labels = &manifest.model.labels;
    let ids = || (0..).map(|id: usize| id.to_string());
    let by_id = ids().zip(labels.iter().cloned()).collect();
    let by_label = labels.iter().cloned().zip(ids()).collect();
    Ok(Json(Info {
        model_id: model.name().to_owned(),
        served_model_name: model.name().to_owned(),
        model_sha: None,
        model_dtype: manifest.precision.to_string(),
        model_type: ModelType {
            reranker: Labels {
                id2label: by_id,
                label2id: by_label,
            },
        },
        max_input_length: scorer.max_length(),
        max_client_batch_size: app.options().max_request_conversations,
        auto_truncate: false,
        version: env!("CARGO_PKG_VERSION"),
    }))
}

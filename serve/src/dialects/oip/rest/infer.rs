//! `POST v2/models/MODEL/infer`.

use axum::{
    extract::{self, State},
    response::Response,
};

use super::{
    super::{inference, interface::TAG},
    address::Address,
    refusal::Oip,
    reply::{InferReply, reply},
    request::{InferRequest, Request},
};
use crate::{
    http::{Client, Failure, body},
    openapi::{MODEL, TEXT},
    state::App,
};

/// Scores the conversations of named tensors.
///
/// Send `text` (BYTES: texts that the chat template made), `input_ids` (INT64, with `attention_mask` or `sequence_lengths` where
/// they are padded) or `conversation` (BYTES: JSON of messages or of a record). The output is `score`, FP32, or `scores` of a
/// model with several labels; raw.
///
/// Inputs may be binary: `inference-header-content-length` says how many bytes of the body are JSON, and each input that has
/// `binary_data_size` in its parameters follows. Outputs are, where `binary_data` asks for it.
#[utoipa::path(
    post,
    path = "/v2/models/{model}/infer",
    operation_id = "model_infer",
    tag = TAG,
    params(("model" = String, Path, description = "The name of a model.", example = json!(MODEL))),
    request_body(content(
        (InferRequest = "application/json", example = json!({
            "id": "42",
            "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [TEXT]}],
        })),
        (Vec<u8> = "application/octet-stream"),
    )),
    responses(
        (status = 200, description = "The scores.", content(
            (InferReply = "application/json", example = json!({
                "id": "42", "model_name": MODEL, "model_version": "1",
                "outputs": [{"name": "score", "datatype": "FP32", "shape": [1, 1], "data": [-1.25]}],
            })),
            (Vec<u8> = "application/octet-stream"),
        )),
        Failure<Oip>,
    ),
)]
pub(super) async fn infer(
    State(app): State<App>,
    client: Client,
    address: Address,
    request: extract::Request,
) -> Result<Response, Failure<Oip>> {
    let headers = request.headers().clone();
    let body = body(request, &app).await?;
    let request = Request::read(address, &headers, body)?;
    let inferred = inference::infer(&app, client, request.inference).await?;
    let id = request.id.as_deref();
    Ok(reply(&inferred, id, &request.binary, request.all_binary))
}

//! The reply to a request: JSON, and after it the scores that are to be binary.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderValue, header::CONTENT_TYPE};
use serde_json::{Value, json};

use super::{
    super::{inference::Inferred, interface::VERSION},
    request::JSON_LENGTH,
};

const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// A reply; the outputs past those that `binary` knows are binary as `others` says.
pub(super) fn reply(
    inferred: &Inferred,
    id: Option<&str>,
    binary: &[bool],
    others: bool,
) -> Response {
    let mut data: Vec<Bytes> = Vec::new();
    let mut outputs = Vec::new();
    for (index, scores) in inferred.outputs.iter().enumerate() {
        let mut output = json!({
            "name": scores.name,
            "datatype": "FP32",
            "shape": scores.shape,
        });
        if binary.get(index).copied().unwrap_or(others) {
            let raw = scores.raw();
            output["parameters"] = json!({"binary_data_size": raw.len()});
            data.push(raw);
        } else {
            // In double precision a score keeps its bits.
            let values = scores.values.iter().copied().map(f64::from);
            output["data"] = values.collect::<Value>();
        }
        outputs.push(output);
    }
    let mut body = json!({
        "model_name": inferred.model,
        "model_version": VERSION,
        "outputs": outputs,
    });
    if let Some(id) = id {
        body["id"] = json!(id);
    }
    if data.is_empty() {
        return Json(body).into_response();
    }
    let mut bytes = body.to_string().into_bytes();
    let length = HeaderValue::from(bytes.len());
    for raw in data {
        bytes.extend_from_slice(&raw);
    }
    let mut response = bytes.into_response();
    response.headers_mut().insert(CONTENT_TYPE, BINARY);
    response.headers_mut().insert(JSON_LENGTH, length);
    response
}

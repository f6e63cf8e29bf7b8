//! The reply to a request: JSON, and after it the scores that are to be binary.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderValue, header::CONTENT_TYPE};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{
    super::{inference::Inferred, interface::VERSION},
    request::JSON_LENGTH,
};

const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// The JSON of a reply.
#[derive(Serialize, ToSchema)]
pub(super) struct InferReply<'a> {
    model_name: &'a str,
    model_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    outputs: Vec<Scores<'a>>,
}

/// An output of all conversations.
#[derive(Serialize, ToSchema)]
#[schema(as = InferScores)]
struct Scores<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: [usize; 2],
    /// Where its data is binary.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Binary>,
    /// Row by row, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Vec<f64>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = InferBinary)]
struct Binary {
    /// How many bytes it has after the JSON.
    binary_data_size: usize,
}

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
        let mut output = Scores {
            name: scores.name,
            datatype: "FP32",
            shape: scores.shape,
            parameters: None,
            data: None,
        };
        if binary.get(index).copied().unwrap_or(others) {
            let raw = scores.raw();
            output.parameters = Some(Binary {
                binary_data_size: raw.len(),
            });
            data.push(raw);
        } else {
            // In double precision a score keeps its bits.
            let values = scores.values.iter().copied().map(f64::from);
            output.data = Some(values.collect());
        }
        outputs.push(output);
    }
    let body = InferReply {
        model_name: &inferred.model,
        model_version: VERSION,
        id,
        outputs,
    };
    if data.is_empty() {
        return Json(body).into_response();
    }
    let mut bytes = json!(body).to_string().into_bytes();
    let length = HeaderValue::from(bytes.len());
    for raw in data {
        bytes.extend_from_slice(&raw);
    }
    let mut response = bytes.into_response();
    response.headers_mut().insert(CONTENT_TYPE, BINARY);
    response.headers_mut().insert(JSON_LENGTH, length);
    response
}

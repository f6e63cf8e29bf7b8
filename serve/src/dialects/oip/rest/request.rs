//! The body of a request: JSON, and after it the binary data of inputs that have theirs there.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, header::CONTENT_ENCODING};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    super::{
        inference::Inference,
        tensor::{Declared, Tensor},
    },
    address::Address,
    elements::Elements,
};
use crate::http::{Problem, parse};

/// How many bytes of a body are JSON; the rest is binary data.
pub(super) const JSON_LENGTH: HeaderName =
    HeaderName::from_static("inference-header-content-length");

type Parameters = serde_json::Map<String, Value>;

/// The JSON of a request.
#[derive(Deserialize, ToSchema)]
pub(super) struct InferRequest {
    /// The reply has it too.
    id: Option<String>,
    /// `binary_data_output`: whether outputs are binary where they do not say; `timeout`: in microseconds.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    parameters: Option<Parameters>,
    inputs: Vec<Input>,
    /// What is given. Default: `score`, or `scores`.
    #[serde(default)]
    outputs: Option<Vec<Output>>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = InferInput)]
struct Input {
    name: String,
    /// Conversations first.
    shape: Vec<usize>,
    /// `BYTES`, `INT64`, `INT32` or `BOOL`.
    datatype: String,
    /// `binary_data_size`: how many bytes of binary data are its own, in place of `data`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    parameters: Option<Parameters>,
    data: Option<Elements>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = InferOutput)]
struct Output {
    name: String,
    /// `binary_data`: whether it is binary.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    parameters: Option<Parameters>,
}

/// A request that was read.
pub(super) struct Request {
    pub(super) inference: Inference,
    pub(super) id: Option<String>,
    /// For each output that it names, whether it is to be binary.
    pub(super) binary: Vec<bool>,
    /// Whether outputs are to be binary where it names none.
    pub(super) all_binary: bool,
}

impl Request {
    /// # Errors
    /// Names what is wrong.
    pub(super) fn read(
        address: Address,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Self, Problem> {
        if headers.contains_key(CONTENT_ENCODING) {
            return Err(Problem::invalid(
                "a body is not decompressed: send it as it is, without `content-encoding`",
            ));
        }
        let (json, binary) = split(headers, body)?;
        let body: InferRequest = parse(&json)?;
        let parameters = body.parameters.unwrap_or_default();
        let all_binary = flag(&parameters, "binary_data_output")?.unwrap_or(false);
        let mut outputs = Vec::new();
        let mut wanted = Vec::new();
        for output in body.outputs.unwrap_or_default() {
            let parameters = output.parameters.unwrap_or_default();
            let what = format!("output {:?}", output.name);
            refuse(&parameters, &what)?;
            wanted.push(flag(&parameters, "binary_data")?.unwrap_or(all_binary));
            outputs.push(output.name);
        }
        Ok(Self {
            inference: Inference {
                model: address.model,
                version: address.version,
                inputs: tensors(body.inputs, binary)?,
                outputs,
                timeout: timeout(&parameters)?,
            },
            id: body.id,
            binary: wanted,
            all_binary,
        })
    }
}

fn split(headers: &HeaderMap, mut body: Bytes) -> Result<(Bytes, Bytes), Problem> {
    let Some(value) = headers.get(JSON_LENGTH) else {
        return Ok((body, Bytes::new()));
    };
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    match length {
        Some(length) if length <= body.len() => {
            let json = body.split_to(length);
            Ok((json, body))
        }
        Some(length) => Err(Problem::invalid(format!(
            "`{JSON_LENGTH}` says that {length} bytes are JSON, and the body has {}",
            body.len()
        ))),
        None => Err(Problem::invalid(format!(
            "`{JSON_LENGTH}` must be a number of bytes"
        ))),
    }
}

fn tensors(inputs: Vec<Input>, mut binary: Bytes) -> Result<Vec<Tensor>, Problem> {
    let mut tensors = Vec::new();
    for input in inputs {
        let declared = Declared::new(input.name, &input.datatype, input.shape)?;
        let parameters = input.parameters.unwrap_or_default();
        refuse(&parameters, &format!("input {:?}", declared.name))?;
        let size =
            match parameters.get("binary_data_size") {
                None => None,
                Some(size) => Some(size.as_u64().ok_or_else(|| {
                    declared.wrong("`binary_data_size` must be a number of bytes")
                })?),
            };
        let size = size.map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        tensors.push(match (input.data, size) {
            (Some(elements), None) => elements.tensor(declared)?,
            (None, Some(size)) if size <= binary.len() => {
                declared.with_raw(binary.split_to(size))?
            }
            (None, Some(size)) => {
                return Err(declared.wrong(&format!(
                    "`binary_data_size` is {size}, and {} bytes are left after the JSON",
                    binary.len()
                )));
            }
            (Some(_), Some(_)) => {
                return Err(declared.wrong("it has both `data` and `binary_data_size`"));
            }
            (None, None) => {
                return Err(declared.wrong("it has neither `data` nor `binary_data_size`"));
            }
        });
    }
    match binary.len() {
        0 => Ok(tensors),
        rest => Err(Problem::invalid(format!(
            "{rest} bytes of binary data belong to no input"
        ))),
    }
}

/// Refuses what would give another result than is asked for.
fn refuse(parameters: &Parameters, of: &str) -> Result<(), Problem> {
    if parameters.contains_key("shared_memory_region") {
        return Err(Problem::invalid(format!(
            "{of}: memory is not shared here; send the data"
        )));
    }
    match parameters.get("classification").and_then(Value::as_u64) {
        None | Some(0) => Ok(()),
        Some(_) => Err(Problem::invalid(format!(
            "{of}: `classification` is not given; take the scores"
        ))),
    }
}

fn flag(parameters: &Parameters, name: &str) -> Result<Option<bool>, Problem> {
    match parameters.get(name) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(Problem::invalid(format!("`{name}` must be true or false"))),
    }
}

/// Triton's, in microseconds; 0 is none.
fn timeout(parameters: &Parameters) -> Result<Option<Duration>, Problem> {
    match parameters.get("timeout").map(Value::as_u64) {
        None | Some(Some(0)) => Ok(None),
        Some(Some(microseconds)) => Ok(Some(Duration::from_micros(microseconds))),
        Some(None) => Err(Problem::invalid(
            "`timeout` must be a number of microseconds",
        )),
    }
}

//! What is known of the server and its models.

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use worldpm_ort_runtime::Scorer;

use super::{
    super::interface::{
        self, EXTENSIONS, INPUTS, PLATFORM, SERVER, Spec, TAG, VERSION, check_version,
    },
    address::Address,
    refusal::Oip,
};
use crate::{
    http::{BodyFailure, ErrorText, Failure, body, parse},
    openapi::MODEL,
    state::App,
};

#[derive(Serialize, ToSchema)]
#[schema(as = ServerMetadata)]
pub(super) struct Server {
    name: &'static str,
    version: &'static str,
    /// What is understood beyond the protocol.
    extensions: [&'static str; 4],
}

/// What the server is.
///
/// Its name, its version, and what it understands beyond the protocol.
#[utoipa::path(
    get,
    path = "/v2",
    operation_id = "server_metadata",
    tag = TAG,
    responses((status = 200, description = "The server.", body = Server, example = json!({
        "name": SERVER, "version": env!("CARGO_PKG_VERSION"), "extensions": EXTENSIONS,
    }))),
)]
pub(super) async fn server() -> Json<Server> {
    Json(Server {
        name: SERVER,
        version: env!("CARGO_PKG_VERSION"),
        extensions: EXTENSIONS,
    })
}

#[derive(Serialize, ToSchema)]
#[schema(as = ServerLive)]
pub(super) struct Live {
    live: bool,
}

/// Whether the server answers.
///
/// It says nothing of the models: `/live` does. No key is needed.
#[utoipa::path(
    get,
    path = "/v2/health/live",
    operation_id = "server_live",
    tag = TAG,
    responses((status = 200, description = "It does.", body = Live, example = json!({"live": true}))),
)]
pub(super) async fn live() -> Json<Live> {
    Json(Live { live: true })
}

#[derive(Serialize, ToSchema)]
#[schema(as = ServerReady)]
struct Ready {
    /// The same as `ready` is meant by this name in the protocol's own text.
    live: bool,
    ready: bool,
}

/// Whether all models are ready, and the server is not about to end.
///
/// The same as `/ready`, in the words of the protocol. No key is needed.
#[utoipa::path(
    get,
    path = "/v2/health/ready",
    operation_id = "server_ready",
    tag = TAG,
    responses(
        (status = 200, description = "It is ready.", body = Ready, example = json!({"live": true, "ready": true})),
        (status = 503, description = "It is not.", body = Ready, example = json!({"live": true, "ready": false})),
    ),
)]
pub(super) async fn ready(State(app): State<App>) -> Response {
    let ready = interface::is_server_ready(&app);
    answer(ready, Ready { live: true, ready })
}

#[derive(Serialize, ToSchema)]
struct ModelReady {
    name: String,
    ready: bool,
}

/// Whether a model is ready.
///
/// While it is loaded, when that failed, when it has lost its devices, and when the server is about to end, it is not. No key is
/// needed.
#[utoipa::path(
    get,
    path = "/v2/models/{model}/ready",
    operation_id = "model_ready",
    tag = TAG,
    params(("model" = String, Path, description = "The name of a model.", example = json!(MODEL))),
    responses(
        (status = 200, description = "It is.", body = ModelReady, example = json!({"name": MODEL, "ready": true})),
        (status = 400, description = "The path is not UTF-8.", body = ErrorText, example = json!({"error": "the path is not UTF-8"})),
        (status = 404, description = "There is no such model.", body = ErrorText, example = json!({
            "error": "there is no model \"other\" here; there is worldpm",
        })),
        (status = 503, description = "It is not.", body = ModelReady, example = json!({"name": MODEL, "ready": false})),
    ),
)]
pub(super) async fn model_ready(
    State(app): State<App>,
    address: Address,
) -> Result<Response, Failure<Oip>> {
    let ready = interface::is_model_ready(&app, &address.model, address.version.as_deref())?;
    let name = address.model;
    Ok(answer(ready, ModelReady { name, ready }))
}

fn answer(ready: bool, body: impl Serialize) -> Response {
    let status = match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(body)).into_response()
}

#[derive(Serialize, ToSchema)]
pub(super) struct ModelMetadata {
    name: String,
    versions: [&'static str; 1],
    platform: &'static str,
    inputs: Vec<TensorMetadata>,
    outputs: Vec<TensorMetadata>,
}

/// A tensor of conversations.
#[derive(Serialize, ToSchema)]
struct TensorMetadata {
    name: &'static str,
    datatype: &'static str,
    /// -1 for any number; conversations first.
    shape: [i64; 2],
}

impl From<&Spec> for TensorMetadata {
    fn from(spec: &Spec) -> Self {
        Self {
            name: spec.name,
            datatype: spec.datatype.name(),
            shape: [-1, spec.width],
        }
    }
}

/// What a model takes and gives.
///
/// Its tensors, by their names, types and shapes.
#[utoipa::path(
    get,
    path = "/v2/models/{model}",
    operation_id = "model_metadata",
    tag = TAG,
    params(("model" = String, Path, description = "The name of a model.", example = json!(MODEL))),
    responses(
        (status = 200, description = "Its tensors.", body = ModelMetadata, example = json!({
            "name": MODEL, "versions": [VERSION], "platform": PLATFORM,
            "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1, 1]}],
            "outputs": [{"name": "score", "datatype": "FP32", "shape": [-1, 1]}],
        })),
        (status = 400, description = "The path is not UTF-8.", body = ErrorText, example = json!({"error": "the path is not UTF-8"})),
        (status = 404, description = "There is no such model.", body = ErrorText, example = json!({
            "error": "there is no model \"other\" here; there is worldpm",
        })),
        (status = 503, description = "It is loaded, or could not be.", body = ErrorText, example = json!({
            "error": "model `worldpm` is still being loaded; try again later",
        })),
    ),
)]
pub(super) async fn metadata(
    State(app): State<App>,
    address: Address,
) -> Result<Json<ModelMetadata>, Failure<Oip>> {
    let (name, outputs) = known(&app, &address)?;
    Ok(Json(ModelMetadata {
        name,
        versions: [VERSION],
        platform: PLATFORM,
        inputs: INPUTS.iter().map(Into::into).collect(),
        outputs: outputs.iter().map(Into::into).collect(),
    }))
}

#[derive(Serialize, ToSchema)]
pub(super) struct ModelConfig {
    name: String,
    platform: &'static str,
    backend: &'static str,
    /// Most conversations of a request.
    max_batch_size: usize,
    input: Vec<TensorConfig>,
    output: Vec<TensorConfig>,
}

#[derive(Serialize, ToSchema)]
struct TensorConfig {
    name: &'static str,
    data_type: &'static str,
    /// Of one conversation; -1 for any number.
    dims: [i64; 1],
    /// Of an input.
    #[serde(skip_serializing_if = "Option::is_none")]
    optional: Option<bool>,
}

impl TensorConfig {
    fn new(spec: &Spec, optional: Option<bool>) -> Self {
        Self {
            name: spec.name,
            data_type: spec.datatype.triton().0,
            dims: [spec.width],
            optional,
        }
    }
}

/// The same in the form of Triton.
///
/// Its clients check by it what they send.
#[utoipa::path(
    get,
    path = "/v2/models/{model}/config",
    operation_id = "model_config",
    tag = TAG,
    params(("model" = String, Path, description = "The name of a model.", example = json!(MODEL))),
    responses(
        (status = 200, description = "Its configuration.", body = ModelConfig, example = json!({
            "name": MODEL, "platform": PLATFORM, "backend": SERVER, "max_batch_size": 4096,
            "input": [{"name": "text", "data_type": "TYPE_STRING", "dims": [1], "optional": true}],
            "output": [{"name": "score", "data_type": "TYPE_FP32", "dims": [1]}],
        })),
        (status = 400, description = "The path is not UTF-8.", body = ErrorText, example = json!({"error": "the path is not UTF-8"})),
        (status = 404, description = "There is no such model.", body = ErrorText, example = json!({
            "error": "there is no model \"other\" here; there is worldpm",
        })),
        (status = 503, description = "It is loaded, or could not be.", body = ErrorText, example = json!({
            "error": "model `worldpm` is still being loaded; try again later",
        })),
    ),
)]
pub(super) async fn config(
    State(app): State<App>,
    address: Address,
) -> Result<Json<ModelConfig>, Failure<Oip>> {
    let (name, outputs) = known(&app, &address)?;
    let input = |spec| TensorConfig::new(spec, Some(true));
    let output = |spec| TensorConfig::new(spec, None);
    Ok(Json(ModelConfig {
        name,
        platform: PLATFORM,
        backend: SERVER,
        max_batch_size: app.options().max_request_conversations,
        input: INPUTS.iter().map(input).collect(),
        output: outputs.iter().map(output).collect(),
    }))
}

/// The name of a model, and what it gives.
fn known(app: &App, address: &Address) -> Result<(String, [Spec; 2]), Failure<Oip>> {
    let model = app.models().get(Some(&address.model))?;
    check_version(address.version.as_deref())?;
    let scorer: &Scorer = &*model.scorer()?;
    Ok((model.name().to_owned(), interface::outputs(scorer)))
}

#[derive(Default, Deserialize, ToSchema)]
#[schema(as = RepositoryIndexRequest)]
struct Index {
    /// Only the models that are ready. Default: all.
    #[serde(default)]
    ready: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = RepositoryIndexEntry)]
pub(super) struct Entry {
    name: String,
    version: &'static str,
    /// `READY`, `LOADING` or `UNAVAILABLE`.
    state: &'static str,
    /// Why it is not ready.
    reason: &'static str,
}

/// The models of the server.
///
/// Each with its state; with `ready`, only those that are ready. A body is not needed.
#[utoipa::path(
    post,
    path = "/v2/repository/index",
    operation_id = "repository_index",
    tag = TAG,
    request_body(content = Option<Index>, example = json!({"ready": true})),
    responses(
        (status = 200, description = "Each model.", body = Vec<Entry>, example = json!([
            {"name": MODEL, "version": VERSION, "state": "READY", "reason": ""},
        ])),
        BodyFailure<Oip>,
    ),
)]
pub(super) async fn index(
    State(app): State<App>,
    request: Request,
) -> Result<Json<Vec<Entry>>, BodyFailure<Oip>> {
    let body = body(request, &app).await?;
    let asked: Index = match body.is_empty() {
        true => Index::default(),
        false => parse(&body)?,
    };
    let entries = interface::index(&app, asked.ready).map(|entry| Entry {
        name: entry.name,
        version: VERSION,
        state: entry.state,
        reason: entry.reason,
    });
    Ok(Json(entries.collect()))
}

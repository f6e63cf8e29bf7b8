//! What is known of the server and its models.

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use worldpm_ort_runtime::Scorer;

use super::{
    super::interface::{self, EXTENSIONS, INPUTS, PLATFORM, SERVER, Spec, VERSION, check_version},
    address::Address,
    refusal::Oip,
};
use crate::{
    http::{Failure, body, parse},
    state::App,
};

pub(super) async fn server() -> Json<Value> {
    Json(json!({
        "name": SERVER,
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": EXTENSIONS,
    }))
}

pub(super) async fn live() -> Json<Value> {
    Json(json!({"live": true}))
}

pub(super) async fn ready(State(app): State<App>) -> Response {
    let ready = interface::is_server_ready(&app);
    // The protocol's own text names the field `live`.
    answer(ready, json!({"live": true, "ready": ready}))
}

pub(super) async fn model_ready(
    State(app): State<App>,
    address: Address,
) -> Result<Response, Failure<Oip>> {
    let ready = interface::is_model_ready(&app, &address.model, address.version.as_deref())?;
    Ok(answer(
        ready,
        json!({"name": address.model, "ready": ready}),
    ))
}

fn answer(ready: bool, body: Value) -> Response {
    let status = match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(body)).into_response()
}

pub(super) async fn metadata(
    State(app): State<App>,
    address: Address,
) -> Result<Json<Value>, Failure<Oip>> {
    let (name, outputs) = known(&app, &address)?;
    let tensor = |spec: &Spec| json!({"name": spec.name, "datatype": spec.datatype.name(), "shape": [-1, spec.width]});
    Ok(Json(json!({
        "name": name,
        "versions": [VERSION],
        "platform": PLATFORM,
        "inputs": INPUTS.iter().map(tensor).collect::<Value>(),
        "outputs": outputs.iter().map(tensor).collect::<Value>(),
    })))
}

/// As Triton tells it, whose clients check what they send by it.
pub(super) async fn config(
    State(app): State<App>,
    address: Address,
) -> Result<Json<Value>, Failure<Oip>> {
    let (name, outputs) = known(&app, &address)?;
    let tensor = |spec: &Spec| {
        let (datatype, _) = spec.datatype.triton();
        json!({"name": spec.name, "data_type": datatype, "dims": [spec.width]})
    };
    let inputs = INPUTS.iter().map(|spec| {
        let mut input = tensor(spec);
        input["optional"] = json!(true);
        input
    });
    Ok(Json(json!({
        "name": name,
        "platform": PLATFORM,
        "backend": SERVER,
        "max_batch_size": app.options().max_request_conversations,
        "input": inputs.collect::<Value>(),
        "output": outputs.iter().map(tensor).collect::<Value>(),
    })))
}

/// The name of a model, and what it gives.
fn known(app: &App, address: &Address) -> Result<(String, [Spec; 2]), Failure<Oip>> {
    let model = app.models().get(Some(&address.model))?;
    check_version(address.version.as_deref())?;
    let scorer: &Scorer = &*model.scorer()?;
    Ok((model.name().to_owned(), interface::outputs(scorer)))
}

#[derive(Default, Deserialize)]
struct Index {
    /// Only the models that are ready.
    #[serde(default)]
    ready: bool,
}

pub(super) async fn index(
    State(app): State<App>,
    request: Request,
) -> Result<Json<Value>, Failure<Oip>> {
    let body = body(request, &app).await?;
    let asked: Index = match body.is_empty() {
        true => Index::default(),
        false => parse(&body)?,
    };
    let entries = interface::index(&app, asked.ready).map(|entry| {
        json!({
            "name": entry.name,
            "version": VERSION,
            "state": entry.state,
            "reason": entry.reason,
        })
    });
    Ok(Json(entries.collect()))
}

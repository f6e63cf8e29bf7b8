//! What is known of the server and its models.

use axum::extract::State;

use super::{
    super::interface::{
        self, EXTENSIONS, INPUTS, PLATFORM, SERVER, Spec, VERSION, check_version, outputs,
    },
    call::{Call, Reply},
    messages::{
        ConfigInput, ConfigOutput, Empty, ModelConfig, ModelConfigResponse, ModelIndex,
        ModelMetadataResponse, ModelRequest, ReadyResponse, RepositoryIndexRequest,
        RepositoryIndexResponse, ServerLiveResponse, ServerMetadataResponse, TensorMetadata,
    },
    status::Refusal,
};
use crate::state::App;

pub(super) async fn live(_: Call<Empty>) -> Reply<ServerLiveResponse> {
    Reply(ServerLiveResponse { live: true })
}

pub(super) async fn ready(State(app): State<App>, _: Call<Empty>) -> Reply<ReadyResponse> {
    Reply(ReadyResponse {
        ready: interface::is_server_ready(&app),
    })
}

pub(super) async fn model_ready(
    State(app): State<App>,
    call: Call<ModelRequest>,
) -> Reply<ReadyResponse> {
    let ModelRequest { name, version } = call.message;
    let ready = interface::is_model_ready(&app, &name, Some(&version));
    // As in Triton, whose clients wait for models that are yet to come.
    let ready = ready.unwrap_or(false);
    Reply(ReadyResponse { ready })
}

pub(super) async fn server(_: Call<Empty>) -> Reply<ServerMetadataResponse> {
    Reply(ServerMetadataResponse {
        name: SERVER.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        extensions: EXTENSIONS.map(Into::into).into(),
    })
}

pub(super) async fn metadata(
    State(app): State<App>,
    call: Call<ModelRequest>,
) -> Result<Reply<ModelMetadataResponse>, Refusal> {
    let (name, outputs) = known(&app, &call.message)?;
    let tensors = |specs: &[Spec]| {
        let all = specs.iter().map(|spec| TensorMetadata {
            name: spec.name.into(),
            datatype: spec.datatype.name().into(),
            shape: vec![-1, spec.width],
        });
        all.collect()
    };
    Ok(Reply(ModelMetadataResponse {
        name,
        versions: vec![VERSION.into()],
        platform: PLATFORM.into(),
        inputs: tensors(&INPUTS),
        outputs: tensors(&outputs),
    }))
}

pub(super) async fn config(
    State(app): State<App>,
    call: Call<ModelRequest>,
) -> Result<Reply<ModelConfigResponse>, Refusal> {
    let (name, outputs) = known(&app, &call.message)?;
    let most = app.options().max_request_conversations;
    let input = INPUTS.iter().map(|spec| ConfigInput {
        name: spec.name.into(),
        data_type: spec.datatype.triton().1,
        dims: vec![spec.width],
        optional: true,
    });
    let output = outputs.iter().map(|spec| ConfigOutput {
        name: spec.name.into(),
        data_type: spec.datatype.triton().1,
        dims: vec![spec.width],
    });
    Ok(Reply(ModelConfigResponse {
        config: Some(ModelConfig {
            name,
            platform: PLATFORM.into(),
            max_batch_size: i32::try_from(most).unwrap_or(i32::MAX),
            input: input.collect(),
            output: output.collect(),
            backend: SERVER.into(),
        }),
    }))
}

fn known(app: &App, request: &ModelRequest) -> Result<(String, [Spec; 2]), Refusal> {
    let model = app.models().get(Some(&request.name))?;
    check_version(Some(&request.version))?;
    Ok((model.name().to_owned(), outputs(&*model.scorer()?)))
}

pub(super) async fn index(
    State(app): State<App>,
    call: Call<RepositoryIndexRequest>,
) -> Reply<RepositoryIndexResponse> {
    let entries = interface::index(&app, call.message.ready);
    let models = entries.map(|entry| ModelIndex {
        name: entry.name,
        version: VERSION.into(),
        state: entry.state.into(),
        reason: entry.reason.into(),
    });
    Reply(RepositoryIndexResponse {
        models: models.collect(),
    })
}

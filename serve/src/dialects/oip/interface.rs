//! What a model takes and gives, as its metadata says.

use worldpm_ort_runtime::{Scorer, bundle_format::Activation};

use super::tensor::Datatype;
use crate::{
    http::Problem,
    models::{Model, State},
    state::App,
};

/// Under which its paths are listed.
pub(super) const TAG: &str = "Open Inference Protocol";

/// The one version that every model has.
pub(super) const VERSION: &str = "1";
/// What runs the models.
pub(super) const PLATFORM: &str = "onnxruntime";
pub(super) const SERVER: &str = "worldpm-ort";
/// What is understood beyond the protocol.
pub(super) const EXTENSIONS: [&str; 4] = [
    "binary_tensor_data",
    "model_configuration",
    "model_repository",
    "parameters",
];

/// Of NeMo-Aligner.
pub(super) const REWARDS: &str = "rewards";

/// A tensor of N conversations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) datatype: Datatype,
    /// Elements for each conversation; -1 for any number.
    pub(super) width: i64,
}

/// What a model may be sent: texts, tokens or conversations, each without the others.
pub(super) const INPUTS: [Spec; 8] = [
    spec("text", Datatype::Bytes, 1),
    spec("input_ids", Datatype::Int64, -1),
    spec("attention_mask", Datatype::Int64, -1),
    spec("sequence_lengths", Datatype::Int64, 1),
    spec("conversation", Datatype::Bytes, 1),
    spec("sentences", Datatype::Bytes, 1),
    spec("tokens", Datatype::Int64, -1),
    spec("add_EOS", Datatype::Bool, 1),
];

const fn spec(name: &'static str, datatype: Datatype, width: i64) -> Spec {
    Spec {
        name,
        datatype,
        width,
    }
}

/// What a model gives: first what it gives where nothing is asked for.
pub(super) fn outputs(scorer: &Scorer) -> [Spec; 2] {
    // A model that scores steps has labels too, but gives one number of them, or none.
    let width = match scorer.manifest().activation {
        Activation::Softmax { .. } => 1,
        Activation::None => scorer.manifest().model.labels.len(),
    };
    let name = if width == 1 { "score" } else { "scores" };
    let width = i64::try_from(width).unwrap_or(i64::MAX);
    [
        spec(name, Datatype::Fp32, width),
        spec(REWARDS, Datatype::Fp32, width),
    ]
}

/// # Errors
/// For a version that no model has.
pub(super) fn check_version(version: Option<&str>) -> Result<(), Problem> {
    match version {
        None | Some("" | VERSION) => Ok(()),
        Some(other) => Err(Problem::not_found(format!(
            "there is no version {other:?} of the model; there is {VERSION}"
        ))),
    }
}

pub(super) fn is_server_ready(app: &App) -> bool {
    app.models().all_ready() && !app.is_draining()
}

/// # Errors
/// For a model or a version that is not known.
pub(super) fn is_model_ready(
    app: &App,
    name: &str,
    version: Option<&str>,
) -> Result<bool, Problem> {
    let model = app.models().get(Some(name))?;
    check_version(version)?;
    Ok(model.is_ready() && !app.is_draining())
}

/// An entry of the repository's index.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) state: &'static str,
    pub(super) reason: &'static str,
}

/// Every model, or those that are ready.
pub(super) fn index(app: &App, ready: bool) -> impl Iterator<Item = Entry> {
    let models = app.models().all().iter();
    let all = models.map(|model| entry(model));
    all.filter(move |entry| !ready || entry.state == "READY")
}

fn entry(model: &Model) -> Entry {
    let (state, reason) = match model.state() {
        State::Ready(_) => ("READY", ""),
        State::Loading => ("LOADING", ""),
        State::Failed(_) => ("UNAVAILABLE", "it could not be loaded; the log says why"),
    };
    Entry {
        name: model.name().to_owned(),
        state,
        reason,
    }
}

//! `POST /classify`: vLLM's, which verl asks, and SGLang's, which AReaL asks.
//!
//! | request | reply |
//! |---|---|
//! | vLLM: `{"model", "input": text(s) or ids, "use_activation"}`, or `messages` | `{"data": [{"index", "label", "probs", "num_classes"}], "activation", …}` |
//! | SGLang: `{"model", "text": text(s)}` or `input_ids` | `[{"embedding": [score], "meta_info"}]` |
//!
//! vLLM applies an activation unless `use_activation` is false; here scores are raw unless it is true, and `activation` in the
//! reply says which.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    items::Texts,
    openai::{self, OpenAi, Usage},
    reading::{activated, numbers},
    request::Request,
};
use crate::{
    http::{Client, Failure, Input},
    openapi::{MODEL, TEXT, null, tagged},
    scoring::{Asked, Scored},
    state::App,
};

const TAG: &str = "Classification";

pub(crate) fn routes() -> OpenApiRouter<App> {
    tagged(TAG, "As vLLM and SGLang answer it, for verl and AReaL.").routes(routes!(classify))
}

/// Either, by how it was asked.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = ClassifyReply)]
enum Reply {
    Vllm(Classified),
    Sglang(Vec<Embedded>),
}

/// vLLM's reply.
#[derive(Serialize, ToSchema)]
struct Classified {
    id: String,
    object: &'static str,
    /// Seconds since 1970.
    created: u64,
    model: String,
    /// In the order of the inputs.
    data: Vec<Class>,
    usage: Usage,
    /// What scores went through: `none`, `sigmoid` or `softmax`.
    activation: &'static str,
}

#[derive(Serialize, ToSchema)]
struct Class {
    index: usize,
    /// The label with the largest score.
    label: Option<String>,
    /// The score, or one for each label.
    probs: Vec<f64>,
    num_classes: usize,
}

/// SGLang's reply.
#[derive(Serialize, ToSchema)]
struct Embedded {
    /// The score, or one for each label; raw.
    embedding: Vec<f64>,
    meta_info: MetaInfo,
}

#[derive(Serialize, ToSchema)]
struct MetaInfo {
    id: String,
    #[schema(schema_with = null, required = true)]
    finish_reason: Option<()>,
    prompt_tokens: usize,
    /// 0.
    cached_tokens: usize,
    /// Seconds from text to score.
    e2e_latency: f64,
}

/// Scores texts that the chat template made, their token ids, or one conversation.
///
/// With `input` or `messages` the reply is vLLM's, of which verl takes `data[-1].probs[-1]`. With `text` or `input_ids` it is
/// SGLang's. Scores are raw unless `use_activation` is true.
#[utoipa::path(
    post,
    path = "/classify",
    operation_id = "classify",
    tag = TAG,
    request_body(content = Request, examples(
        ("vLLM" = (value = json!({"model": MODEL, "input": TEXT, "use_activation": false}))),
        ("SGLang" = (value = json!({"model": MODEL, "text": [TEXT]}))),
    )),
    responses(
        (status = 200, description = "The scores.", body = Reply, examples(
            ("vLLM" = (value = json!({
                "id": "classify-0f8fad5bd9cb469fa16570867728950e", "object": "list", "created": 1790000000, "model": MODEL,
                "data": [{"index": 0, "label": "LABEL_0", "probs": [-1.25], "num_classes": 1}],
                "usage": {"prompt_tokens": 42, "total_tokens": 42, "completion_tokens": 0, "prompt_tokens_details": null},
                "activation": "none",
            }))),
            ("SGLang" = (value = json!([{
                "embedding": [-1.25],
                "meta_info": {
                    "id": "classify-0f8fad5bd9cb469fa16570867728950e", "finish_reason": null, "prompt_tokens": 42,
                    "cached_tokens": 0, "e2e_latency": 0.012,
                },
            }]))),
        )),
        Failure<OpenAi>,
    ),
)]
async fn classify(
    State(app): State<App>,
    client: Client,
    request: Input<Request, OpenAi>,
) -> Result<Json<Reply>, Failure<OpenAi>> {
    let mut request = request.value;
    let asked = Asked::new(&app, client, request.model.as_deref())?;
    if let Some(Texts(items)) = request.text.take().or(request.input_ids.take()) {
        let scored = asked.all(items).await?;
        request.check_lengths(&scored)?;
        return Ok(Json(Reply::Sglang(scored.iter().map(sglang).collect())));
    }
    let scored = request.scored(&asked).await?;
    let classified = vllm(&asked, &scored, request.activates());
    Ok(Json(Reply::Vllm(classified)))
}

fn vllm(asked: &Asked, scored: &[Scored], activate: bool) -> Classified {
    let labels = &asked.scorer.manifest().model.labels;
    let data = scored.iter().enumerate().map(|(index, scored)| {
        let raw = numbers(&scored.reward);
        let values = if activate { activated(&raw) } else { raw };
        let best = (0..values.len()).max_by(|&a, &b| values[a].total_cmp(&values[b]));
        Class {
            index,
            label: best.and_then(|best| labels.get(best)).cloned(),
            num_classes: values.len(),
            probs: values,
        }
    });
    Classified {
        id: openai::reply_id("classify"),
        object: "list",
        created: openai::now(),
        model: asked.model.name().to_owned(),
        data: data.collect(),
        usage: Usage::of(scored),
        activation: match (activate, labels.len()) {
            (false, _) => "none",
            (true, 1) => "sigmoid",
            (true, _) => "softmax",
        },
    }
}

fn sglang(scored: &Scored) -> Embedded {
    Embedded {
        embedding: numbers(&scored.reward),
        meta_info: MetaInfo {
            id: openai::reply_id("classify"),
            finish_reason: None,
            prompt_tokens: scored.reward.tokens,
            cached_tokens: 0,
            e2e_latency: scored.times.total().as_secs_f64(),
        },
    }
}

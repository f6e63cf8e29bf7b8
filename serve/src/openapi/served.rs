//! `GET /openapi.json`.

use axum::{Json, extract::State};
use serde_json::{Value, json};
use utoipa_axum::{router::OpenApiRouter, routes};
use worldpm_ort_runtime::Conversation;

use super::{
    examples::{ANSWER, MODEL, PROMPT, TEXT},
    routed::tagged,
};
use crate::{models, state::App};

const TAG: &str = "Pages";

pub(crate) fn routes() -> OpenApiRouter<App> {
    tagged(
        TAG,
        "For browsers: they need nothing but this server. The page asks for the key where one is needed.",
    )
    .routes(routes!(openapi))
}

/// This description.
///
/// It has the names of the models of this server, and examples that they take.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "openapi",
    tag = TAG,
    responses((status = 200, description = "OpenAPI 3.1", body = Object)),
)]
async fn openapi(State(app): State<App>) -> Json<Value> {
    let mut document = json!(app.description());
    let models = app.models().all();
    let names = models
        .iter()
        .flat_map(|model| std::iter::once(&model.options.name).chain(&model.options.aliases));
    let filled = Filled {
        names: names.cloned().collect(),
        text: match models[0].state() {
            models::State::Ready(scorer) => scorer
                .render(&Conversation::exchange(PROMPT, ANSWER))
                .unwrap_or_else(|_| TEXT.to_owned()),
            _ => TEXT.to_owned(),
        },
    };
    filled.fill(&mut document);
    Json(document)
}

/// What of the description depends on the models.
struct Filled {
    names: Vec<String>,
    text: String,
}

impl Filled {
    fn fill(&self, value: &mut Value) {
        match value {
            Value::String(text) if text == TEXT => text.clone_from(&self.text),
            Value::String(text) if text == MODEL => text.clone_from(&self.names[0]),
            Value::Array(all) => all.iter_mut().for_each(|one| self.fill(one)),
            Value::Object(fields) => {
                if fields.get("in").is_some_and(|place| place == "path")
                    && fields.get("name").is_some_and(|name| name == "model")
                    && let Some(schema) = fields.get_mut("schema")
                {
                    schema["enum"] = json!(self.names);
                }
                fields.values_mut().for_each(|one| self.fill(one));
            }
            _ => {}
        }
    }
}

//! The description of the server, against the server.

mod replies;
mod routes;

use serde_json::Value;
use worldpm_ort::ScorerOptions;
use worldpm_ort_serve::{ApiKey, ModelOptions, ServeOptions};

use crate::{
    schema::check,
    served::{Reply, Served, ask, bundle_with_end},
};

const ADMIN: (&str, &str) = ("authorization", "Bearer admin");

/// An operation of a description.
struct Operation<'a> {
    document: &'a Value,
    method: String,
    path: &'a str,
    said: &'a Value,
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let paths = document["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, said)| Operation {
            document,
            method: method.to_uppercase(),
            path,
            said,
        })
    });
    all.collect()
}

impl Operation<'_> {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// With the examples of its parameters in its path.
    fn address(&self) -> String {
        let parameters = self.said["parameters"].as_array();
        let in_path = parameters
            .into_iter()
            .flatten()
            .filter(|one| one["in"] == "path");
        in_path.fold(self.path.to_owned(), |path, one| {
            let place = format!("{{{}}}", one["name"].as_str().unwrap());
            path.replace(&place, one["example"].as_str().unwrap())
        })
    }

    fn requests(&self) -> Vec<(&str, &Value)> {
        let content = self.said["requestBody"]["content"].as_object();
        let all = content.into_iter().flatten();
        all.flat_map(|(content_type, content)| {
            let examples = examples(content).into_iter();
            examples.map(move |example| (content_type.as_str(), example))
        })
        .collect()
    }

    fn send(&self, served: &Served, content_type: &str, body: Option<&str>) -> Reply {
        let headers = [("content-type", content_type), ADMIN];
        let address = self.address();
        ask(&served.address, &address, &headers, body.map(str::as_bytes))
    }

    /// Checks that a reply is one that is described.
    #[track_caller]
    fn check(&self, reply: &Reply) {
        let name = self.name();
        let said = &self.said["responses"][reply.status.to_string()];
        assert!(said.is_object(), "{name}: not described: {reply:?}");
        let content_type = reply.header("content-type").unwrap_or_default();
        let content = &said["content"][content_type];
        if said["content"].is_null() {
            assert_eq!(reply.body, "", "{name}");
            return;
        }
        assert!(content.is_object(), "{name}: not described: {reply:?}");
        if content_type == "application/json" {
            let checked = check(self.document, &content["schema"], &reply.json());
            assert_eq!(checked, Ok(()), "{name}: {}", reply.body);
        }
    }
}

fn examples(content: &Value) -> Vec<&Value> {
    let several = content["examples"].as_object().into_iter().flatten();
    let several = several.map(|(_, example)| &example["value"]);
    content.get("example").into_iter().chain(several).collect()
}

fn text(content_type: &str, example: &Value) -> String {
    match example {
        Value::String(lines) if content_type == "application/x-ndjson" => lines.clone(),
        value => value.to_string(),
    }
}

fn with_keys(mut options: ServeOptions) -> ServeOptions {
    options.security.api_keys = vec![ApiKey::new("a", "admin").admin()];
    options
}

fn with_end(name: &str) -> ModelOptions {
    ModelOptions::new(name, bundle_with_end(), ScorerOptions::default())
}

fn described(served: &Served) -> Value {
    served.get_with("/openapi.json", &[ADMIN]).ok()
}

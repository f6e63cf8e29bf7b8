//! The description of the server, against the server.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Value, json};
use worldpm_ort::ScorerOptions;
use worldpm_ort_serve::{ApiKey, ModelOptions, ServeOptions};

use crate::{
    schema::check,
    served::{Reply, Served, ask, bundle_with_end, local, real},
};

const ADMIN: (&str, &str) = ("authorization", "Bearer admin");

/// What a server has by default.
const OPERATIONS: [&str; 47] = [
    "GET /",
    "GET /docs",
    "GET /docs.css",
    "GET /docs.js",
    "GET /health",
    "GET /info",
    "GET /live",
    "GET /metrics",
    "GET /openapi.json",
    "GET /page.css",
    "GET /page.js",
    "GET /ready",
    "GET /startup",
    "GET /v1/models",
    "GET /v2",
    "GET /v2/",
    "GET /v2/health/live",
    "GET /v2/health/ready",
    "GET /v2/models/{model}",
    "GET /v2/models/{model}/config",
    "GET /v2/models/{model}/ready",
    "GET /v2/models/{model}/versions/{version}",
    "GET /v2/models/{model}/versions/{version}/config",
    "GET /v2/models/{model}/versions/{version}/ready",
    "POST /",
    "POST /admin/reload",
    "POST /classify",
    "POST /get_reward",
    "POST /grpc.health.v1.Health/Check",
    "POST /inference.GRPCInferenceService/ModelConfig",
    "POST /inference.GRPCInferenceService/ModelInfer",
    "POST /inference.GRPCInferenceService/ModelMetadata",
    "POST /inference.GRPCInferenceService/ModelReady",
    "POST /inference.GRPCInferenceService/RepositoryIndex",
    "POST /inference.GRPCInferenceService/ServerLive",
    "POST /inference.GRPCInferenceService/ServerMetadata",
    "POST /inference.GRPCInferenceService/ServerReady",
    "POST /pooling",
    "POST /predict",
    "POST /rerank",
    "POST /v1/chat/completions",
    "POST /v1/compare",
    "POST /v1/embeddings",
    "POST /v1/rank",
    "POST /v1/render",
    "POST /v1/score",
    "POST /v2/models/{model}/infer",
];

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

#[test]
fn every_route_is_described_and_every_operation_exists() {
    let served = Served::start(with_keys(local()), vec![real("pm")]);
    let document = described(&served);
    assert_eq!(document["openapi"], "3.1.0");
    let operations = operations(&document);
    let names: BTreeSet<String> = operations.iter().map(Operation::name).collect();
    let mut expected: BTreeSet<String> = OPERATIONS.map(str::to_owned).into();
    expected.insert("POST /v2/models/{model}/versions/{version}/infer".to_owned());
    expected.insert("POST /v2/repository/index".to_owned());
    assert_eq!(names, expected);
    let ids: BTreeSet<_> = operations
        .iter()
        .map(|one| one.said["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), operations.len(), "ids are unique");
    for one in &operations {
        let name = one.name();
        assert!(one.said["summary"].is_string(), "{name}");
        let body = (one.method == "POST").then_some("");
        let reply = one.send(&served, "application/json", body);
        assert!(![404, 405].contains(&reply.status), "{name}: {reply:?}");
        let other = (one.method != "POST").then_some("");
        if one.path != "/" {
            let reply = one.send(&served, "application/json", other);
            let unimplemented = reply.header("grpc-status") == Some("12");
            assert!(reply.status == 405 || unimplemented, "{name}: {reply:?}");
        }
    }
}

/// Routes bring their description with them; those of these files are described by hand there.
#[test]
fn routes_come_with_their_description() {
    fn visit(root: &Path, folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(root, &path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let code = fs::read_to_string(&path).unwrap();
                let code = code.split("#[cfg(test)]").next().unwrap();
                // That counts requests.
                let code = code.replace("metrics.route(", "");
                if [".route(", ".nest", ".route_service("]
                    .iter()
                    .any(|call| code.contains(call))
                {
                    let path = path.strip_prefix(root).unwrap();
                    found.insert(path.to_str().unwrap().to_owned());
                }
            }
        }
    }
    let mut found = BTreeSet::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("serve/src");
    visit(&source, &source, &mut found);
    let by_hand = ["dialects/oip/grpc/routes.rs", "page/files.rs"];
    assert_eq!(found, by_hand.map(str::to_owned).into());
}

#[test]
fn examples_are_answered_as_described() {
    for model in [real("pm"), with_end("other")] {
        let served = Served::start(with_keys(local()), vec![model]);
        let document = described(&served);
        let mut sent = 0;
        for one in operations(&document) {
            let name = one.name();
            let responses = one.said["responses"].as_object().unwrap();
            for content in responses
                .values()
                .filter_map(|reply| reply["content"].get("application/json"))
            {
                for example in examples(content) {
                    let checked = check(&document, &content["schema"], example);
                    assert_eq!(checked, Ok(()), "{name}: an example of a reply");
                }
            }
            let requests = one.requests();
            for (content_type, example) in &requests {
                let content = &one.said["requestBody"]["content"][*content_type];
                let checked = check(&document, &content["schema"], example);
                assert_eq!(checked, Ok(()), "{name}: an example of a request");
                let body = text(content_type, example);
                let reply = one.send(&served, content_type, Some(&body));
                assert_eq!(reply.status, 200, "{name}: {reply:?}");
                one.check(&reply);
                sent += 1;
            }
            if one.method == "GET" {
                let reply = one.send(&served, "", None);
                assert_eq!(reply.status, 200, "{name}: {reply:?}");
                one.check(&reply);
            } else {
                let is_call = one.path.contains("grpc") || one.path.contains("GRPC");
                assert_eq!(requests.is_empty(), is_call, "{name}: examples");
            }
        }
        assert_eq!(sent, 19);
    }
}

#[test]
fn refusals_are_as_described() {
    let served = Served::start(with_keys(local()), vec![real("pm")]);
    let document = described(&served);
    for one in operations(&document) {
        let name = one.name();
        let gated = one.said["security"].is_array();
        let body = (one.method == "POST").then_some(&b"{}"[..]);
        let address = one.address();
        let without = ask(&served.address, &address, &[], body);
        assert_eq!(without.status == 401, gated, "{name}: {without:?}");
        if gated && !one.said["responses"]["401"].is_null() {
            one.check(&without);
        }
        if one.requests().is_empty() {
            continue;
        }
        let status = if name == "POST /predict" || name == "POST /rerank" {
            422
        } else {
            400
        };
        for body in ["{", "[1, 2]]", "\u{0}"] {
            let reply = one.send(&served, "application/json", Some(body));
            assert_eq!(reply.status, status, "{name}: {reply:?}");
            one.check(&reply);
        }
        let (content_type, example) = one.requests()[0];
        if example.get("model").is_some() {
            let mut request = example.clone();
            request["model"] = json!("nobody");
            let reply = one.send(&served, content_type, Some(&request.to_string()));
            assert_eq!(reply.status, 404, "{name}: {reply:?}");
            one.check(&reply);
        }
    }
}

#[test]
fn a_model_that_is_loaded_is_described_too() {
    let (send, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let slow = ModelOptions::with_open("pm", "nowhere", move || {
        let _ = wait.lock().unwrap().recv();
        worldpm_ort::Scorer::open(Path::new("nowhere"), &ScorerOptions::default())
    });
    let served = Served::start_loading(with_keys(local()), vec![slow]);
    let document = described(&served);
    for one in operations(&document) {
        for (content_type, example) in one.requests() {
            if one.path != "/admin/reload" && one.path != "/v2/repository/index" {
                let reply = one.send(&served, content_type, Some(&text(content_type, example)));
                assert_eq!(reply.status, 503, "{}: {reply:?}", one.name());
                assert!(reply.header("retry-after").is_some());
                one.check(&reply);
            }
        }
        if one.method == "GET" {
            one.check(&one.send(&served, "", None));
        }
    }
    drop(send);
}

/// What balancers and clients of the Open Inference Protocol ask: each is described in full, with the statuses that it has.
#[test]
fn probes_and_the_protocol_are_described_with_their_statuses() {
    let mut options = with_keys(local());
    options.max_body_bytes = 10_000;
    options.security.rate_limit = Some(0.001);
    options.security.rate_burst = Some(100);
    let served = Served::start(options, vec![real("pm")]);
    let document = described(&served);
    let operations = operations(&document);
    let is_probe = |path: &str| ["/live", "/ready", "/startup", "/health"].contains(&path);
    let asked: Vec<_> = operations
        .iter()
        .filter(|one| one.path.starts_with("/v2") || is_probe(one.path))
        .collect();
    assert_eq!(asked.len(), 4 + 4 + 8 + 1);
    for one in &asked {
        let name = one.name();
        assert!(one.said["summary"].is_string(), "{name}");
        assert!(one.said["description"].is_string(), "{name}");
        let last = one.path.rsplit('/').next().unwrap();
        let expected = match (one.method.as_str(), last) {
            ("POST", "infer") => "200 400 401 404 408 413 429 500 503 504",
            ("POST", _) => "200 400 401 408 413 429 500 503",
            (_, "live") if one.path != "/live" => "200",
            (_, "ready") if one.path.contains("{model}") => "200 400 404 503",
            _ if is_probe(one.path) || last == "ready" => "200 503",
            _ if one.path.contains("{model}") => "200 400 401 404 429 503",
            _ => "200 401 429 503",
        };
        let responses = one.said["responses"].as_object().unwrap();
        let statuses: BTreeSet<&str> = responses.keys().map(String::as_str).collect();
        let statuses: Vec<&str> = statuses.into_iter().collect();
        assert_eq!(statuses.join(" "), expected, "{name}");
        for (status, response) in responses {
            let text = response["description"].as_str().unwrap();
            assert!(text.len() > 5, "{name} {status}");
        }
        let requests = one.requests();
        let body = requests.first().map(|(_, example)| example.to_string());
        let mut wrong = vec![];
        if one.path.contains("{model}") {
            wrong.push(("/v2/models/pm", "/v2/models/nobody", 404));
            wrong.push(("/v2/models/pm", "/v2/models/%FF", 400));
        }
        if one.path.contains("{version}") {
            wrong.push(("/versions/1", "/versions/2", 404));
        }
        for (part, other, status) in wrong {
            let address = one.address().replace(part, other);
            let body = body.as_deref().map(str::as_bytes);
            let reply = ask(&served.address, &address, &[ADMIN], body);
            assert_eq!(reply.status, status, "{address}: {reply:?}");
            one.check(&reply);
        }
        if body.is_some() {
            let large = " ".repeat(10_001);
            let reply = one.send(&served, "application/json", Some(&large));
            assert_eq!(reply.status, 413, "{name}: {reply:?}");
            one.check(&reply);
        }
    }
    // Until the client has sent as much as it may.
    while served.get_with("/v2", &[ADMIN]).status == 200 {}
    for one in asked {
        let example = one
            .requests()
            .first()
            .map(|(_, example)| example.to_string());
        let reply = one.send(&served, "application/json", example.as_deref());
        let is_limited = one.said["responses"]["429"].is_object();
        let status = if is_limited { 429 } else { 200 };
        assert_eq!(reply.status, status, "{}: {reply:?}", one.name());
        one.check(&reply);
    }
}

#[test]
fn it_is_of_this_server() {
    let served = Served::of(real("pm"));
    let document = served.get("/openapi.json").ok();
    assert!(document["components"]["securitySchemes"].is_null());
    assert!(!document.to_string().contains("\"security\""));
    assert!(document["paths"]["/rm"].is_null());

    let mut options = local();
    options.slime_paths = vec!["/rm".into(), "/rm/2".into()];
    options.slime_key = Some("reward".into());
    options.pooling_scalar = true;
    options.security.rate_limit = Some(1000.0);
    let mut first = real("one");
    first.aliases = vec!["alias".into()];
    let served = Served::start(with_keys(options), vec![first, with_end("two")]);
    assert_eq!(served.get("/openapi.json").status, 401);
    let document = described(&served);
    let all = operations(&document);
    for path in ["/", "/rm", "/rm/2", "/pooling"] {
        let found = all
            .iter()
            .find(|one| one.path == path && one.method == "POST");
        let one = found.unwrap();
        let (content_type, example) = one.requests()[0];
        let reply = one.send(&served, content_type, Some(&example.to_string()));
        reply.ok();
        one.check(&reply);
        let content = &one.said["responses"]["200"]["content"]["application/json"];
        assert_eq!(
            check(&document, &content["schema"], &content["example"]),
            Ok(())
        );
        let list = json!({"index": 0, "object": "pooling", "data": [[1.0]]});
        match path {
            "/pooling" => {
                assert!(content["example"]["data"][0]["data"].is_number());
                let schema = &document["components"]["schemas"]["Pooling"];
                assert!(check(&document, schema, &list).is_err());
            }
            _ => assert!(content["example"]["reward"].is_number()),
        }
    }
    let parameter = &document["paths"]["/v2/models/{model}"]["get"]["parameters"][0];
    assert_eq!(parameter["schema"]["enum"], json!(["one", "alias", "two"]));
    assert_eq!(parameter["example"], "one");
    assert!(document["paths"]["/info"]["get"]["responses"]["429"].is_object());
    assert!(document["paths"]["/live"]["get"]["responses"]["429"].is_null());
}

#[test]
fn the_page_of_it_needs_no_key_and_tells_nothing() {
    let served = Served::start(with_keys(local()), vec![real("secret-name")]);
    let root = served.get("/");
    for path in ["/docs", "/docs.css", "/docs.js"] {
        let reply = served.get(path);
        assert_eq!(reply.status, 200, "{path}");
        assert!(!reply.body.contains("secret-name"));
        for name in [
            "content-security-policy",
            "x-content-type-options",
            "referrer-policy",
            "cross-origin-resource-policy",
        ] {
            assert!(root.header(name).is_some(), "{name}");
            assert_eq!(reply.header(name), root.header(name), "{path}: {name}");
        }
    }
    assert!(root.body.contains("href=\"docs\""));
    assert_eq!(served.get("/openapi.json").status, 401);
}

//! Requests are answered as the description says, whatever becomes of them.

use std::{collections::BTreeSet, path::Path};

use serde_json::json;
use worldpm_ort::ScorerOptions;
use worldpm_ort_serve::ModelOptions;

use super::{ADMIN, described, examples, operations, text, with_end, with_keys};
use crate::{
    schema::check,
    served::{Served, ask, local, real},
};

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

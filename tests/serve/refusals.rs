//! What is refused, how each dialect says so, and what a refusal never tells.

use std::time::Duration;

use serde_json::{Value, json};
use worldpm_ort::{ScorerOptions, queue::QueueOptions};
use worldpm_ort_runtime::testing::{FakeOptions, Fault};

use crate::served::{Reply, Served, fake, local, real};

fn exchange() -> Value {
    json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}])
}

/// A request of each dialect that can be answered.
fn requests() -> Vec<(&'static str, Value)> {
    vec![
        ("/v1/score", json!({"messages": exchange()})),
        (
            "/v1/compare",
            json!({"prompt": "q", "chosen": "a", "rejected": "b"}),
        ),
        ("/v1/rank", json!({"prompt": "q", "responses": ["a"]})),
        ("/classify", json!({"input": "text"})),
        ("/classify", json!({"text": "text"})),
        ("/v1/embeddings", json!({"input": "text"})),
        ("/pooling", json!({"input": "text"})),
        ("/get_reward", json!({"query": ["text"]})),
        ("/", json!({"prompt": "p", "response": "r"})),
        ("/predict", json!({"inputs": "text"})),
        ("/rerank", json!({"query": "q", "texts": ["a"]})),
        ("/v1/chat/completions", json!({"messages": exchange()})),
    ]
}

/// The message of a refusal, in any dialect.
fn message(reply: &Reply) -> String {
    let error = &reply.json()["error"];
    let text = error.as_str().or(error["message"].as_str());
    text.unwrap_or_else(|| panic!("{reply:?}")).to_owned()
}

#[test]
fn bad_bodies_are_named() {
    let served = Served::of(real("pm"));
    for (path, good) in requests() {
        served.post(path, &good).ok();
        for (body, part) in [
            ("", "no body"),
            ("{", "EOF"),
            ("{} {}", "wrong"),
            ("[]", ""),
            ("7", ""),
            ("null", ""),
            (
                "{\"input\": 7, \"text\": 7, \"inputs\": 7, \"query\": 7, \"messages\": 7}",
                "",
            ),
            ("\u{0}\u{1}", ""),
        ] {
            let reply = served.send(path, "application/json", body.as_bytes());
            assert!(
                [400, 422].contains(&reply.status),
                "{path} {body}: {reply:?}"
            );
            let message = message(&reply);
            assert!(
                part == "wrong" || message.contains(part),
                "{path} {body}: {message}"
            );
        }
        let reply = served.send(path, "application/json", b"\xff\xfe{");
        assert!([400, 422].contains(&reply.status), "{reply:?}");
        let mut unknown = good.clone();
        unknown["model"] = json!("other");
        let reply = served.post(path, &unknown);
        assert_eq!(reply.status, 404, "{path}");
        assert!(message(&reply).contains("there is pm"), "{reply:?}");
        if path != "/" {
            assert_eq!(served.get(path).status, 405, "{path}");
        }
    }
    assert_eq!(served.get("/nothing").status, 404);
}

#[test]
fn too_much_is_refused() {
    let mut options = local();
    options.max_body_bytes = 2000;
    options.max_request_conversations = 3;
    let served = Served::start(options, vec![real("pm")]);
    let reply = served.post("/classify", &json!({"input": "x".repeat(2000)}));
    assert_eq!(reply.status, 413);
    let reply = served.post("/get_reward", &json!({"query": ["a", "b", "c", "d"]}));
    assert_eq!(reply.status, 413);
    assert!(message(&reply).contains("the limit is 3"));
    served
        .post("/get_reward", &json!({"query": ["a", "b", "c"]}))
        .ok();
}

#[test]
fn overload_is_said_as_each_client_expects() {
    let mut scorer = ScorerOptions::default();
    scorer.queue = QueueOptions::default().with_max_conversations(1);
    let slow = FakeOptions::default().with_stages(vec![Duration::from_millis(1500)]);
    let served = Served::of(fake("pm", slow, scorer));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| served.post("/v1/score", &json!({"messages": exchange()})));
        std::thread::sleep(Duration::from_millis(300));
        for (path, request) in requests() {
            let reply = served.post(path, &request);
            let expected = match path {
                "/predict" | "/rerank" => 429,
                _ => 503,
            };
            assert_eq!(reply.status, expected, "{path}: {}", reply.body);
            assert_eq!(reply.header("retry-after"), Some("1"), "{path}");
        }
        let records = json!({"records": [{"messages": exchange()}, {"messages": []}]});
        assert_eq!(served.post("/v1/score", &records).status, 503);
        first.join().unwrap().ok();
    });
    served
        .post("/v1/score", &json!({"messages": exchange()}))
        .ok();
}

#[test]
fn faults_of_the_server_are_not_explained_to_clients() {
    let token = 7;
    for (fault, status) in [
        (Fault::Pack { token }, 500),
        (Fault::DeviceLost { token }, 503),
    ] {
        let engine = FakeOptions::default().with_fault(fault);
        let served = Served::of(fake("pm", engine, ScorerOptions::default()));
        served
            .post("/classify", &json!({"input": [[1, 2, 3]]}))
            .ok();
        let reply = served.post("/classify", &json!({"input": [[1, token, 3]]}));
        assert_eq!(reply.status, status, "{reply:?}");
        for inside in ["stage", "fake", "it was to", "/"] {
            assert!(!reply.body.contains(inside), "{inside}: {}", reply.body);
        }
        let next = served.post("/classify", &json!({"input": [[1, 2, 3]]}));
        let lost = matches!(fault, Fault::DeviceLost { .. });
        assert_eq!(next.status, if lost { 503 } else { 200 }, "{next:?}");
    }
}

#[test]
fn a_lost_device_is_told_to_whoever_restarts_servers() {
    let token = 7;
    let probes = |served: &Served| ["/live", "/ready", "/startup"].map(|p| served.get(p).status);
    let gauge = |served: &Served, name: &str| {
        let text = served.get("/metrics").body;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let value = line.unwrap_or_else(|| panic!("{name} in {text}"));
        value.trim().parse::<f64>().unwrap()
    };
    let mut engine = FakeOptions::default().with_fault(Fault::DeviceLost { token });
    engine.replicas = 2;
    let served = Served::of(fake("pm", engine, ScorerOptions::default()));
    let ask = |id: u32| served.post("/classify", &json!({"input": [[1, id, 3]]}));
    // One copy is lost with what it had; the other goes on.
    assert_eq!(ask(token).status, 503);
    for _ in 0..20 {
        ask(2).ok();
    }
    assert_eq!(probes(&served), [200, 200, 200]);
    assert_eq!(gauge(&served, "worldpm_model_copies{model=\"pm\"}"), 2.0);
    assert_eq!(
        gauge(&served, "worldpm_model_copies_lost{model=\"pm\"}"),
        1.0
    );
    assert_eq!(gauge(&served, "worldpm_model_ready{model=\"pm\"}"), 1.0);
    // Without any, nothing is sent here any more, and the process is started again.
    assert_eq!(ask(token).status, 503);
    assert_eq!(ask(2).status, 503);
    assert_eq!(probes(&served), [503, 503, 503]);
    assert_eq!(served.get("/live").json()["status"], "lost");
    assert_eq!(gauge(&served, "worldpm_model_ready{model=\"pm\"}"), 0.0);
}

#[test]
fn a_conversation_that_takes_too_long_is_given_up() {
    let mut options = local();
    options.request_timeout = Some(Duration::from_millis(200));
    let slow = FakeOptions::default().with_stages(vec![Duration::from_secs(30)]);
    let served = Served::start(options, vec![fake("pm", slow, ScorerOptions::default())]);
    let reply = served.post("/v1/score", &json!({"messages": exchange()}));
    assert_eq!(reply.status, 504, "{reply:?}");
    assert_eq!(reply.json()["error"]["kind"], "deadline_exceeded");
}

#[test]
fn what_would_change_the_text_is_refused() {
    let served = Served::of(real("pm"));
    for (field, value) in [
        ("chat_template", json!("{{ messages }}")),
        ("chat_template_kwargs", json!({"a": 1})),
        ("add_generation_prompt", json!(true)),
        ("continue_final_message", json!(true)),
    ] {
        for path in ["/classify", "/pooling", "/v1/chat/completions"] {
            let mut request = json!({"messages": exchange()});
            request[field] = value.clone();
            let reply = served.post(path, &request);
            assert_eq!(reply.status, 400, "{path} {field}");
            assert!(message(&reply).contains(field));
        }
    }
    let question = json!({"messages": [{"role": "user", "content": "q"}]});
    let reply = served.post("/v1/score", &question);
    assert_eq!(reply.status, 400, "{reply:?}");
}

/// A conversation is not cut: a limit that it keeps is no matter, and one that it does not is refused.
#[test]
fn a_limit_that_would_cut_is_refused() {
    let served = Served::of(real("pm"));
    for (path, mut request) in [
        ("/v1/chat/completions", json!({"messages": exchange()})),
        ("/classify", json!({"messages": exchange()})),
        ("/classify", json!({"input": "a text of some tokens"})),
        ("/classify", json!({"text": "a text of some tokens"})),
        ("/pooling", json!({"messages": exchange()})),
        ("/v1/embeddings", json!({"messages": exchange()})),
    ] {
        let expected = served.post(path, &request);
        expected.ok();
        for limit in [-1, 1000] {
            request["truncate_prompt_tokens"] = json!(limit);
            assert_eq!(served.post(path, &request).status, 200, "{path} {limit}");
        }
        request["truncate_prompt_tokens"] = json!(2);
        let reply = served.post(path, &request);
        assert_eq!(reply.status, 400, "{path}: {reply:?}");
        assert!(message(&reply).contains("truncate_prompt_tokens"), "{path}");
    }
}

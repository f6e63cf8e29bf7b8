//! `/metrics`: the numbers agree with what was sent, and cost little.

use std::{
    io::Write,
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use worldpm_ort::{ScorerOptions, queue::QueueOptions};
use worldpm_ort_runtime::testing::{FakeOptions, Fault};

use crate::{
    exposition::{Exposition, Format},
    served::{Served, fake, local, real},
};

fn scrape(served: &Served) -> Exposition {
    let reply = served.get("/metrics");
    assert_eq!(reply.status, 200);
    let plain = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(reply.header("content-type"), Some(plain));
    Exposition::parse(&reply.body, Format::Prometheus)
}

fn exchange(answer: &str) -> Value {
    json!({"prompt": "q", "response": answer})
}

#[test]
fn they_agree_with_what_was_sent() {
    let mut options = ScorerOptions::default();
    options.max_length = Some(64);
    let pm = worldpm_ort_serve::ModelOptions::new("pm", crate::served::bundle(), options);
    let mut broken = fake(
        "broken",
        FakeOptions::default().with_fault(Fault::Pack { token: 7 }),
        ScorerOptions::default(),
    );
    broken.aliases = vec!["an alias".into()];
    let served = Served::start(local(), vec![pm, broken]);
    // The probes of a bundle are counted too.
    let before = scrape(&served);
    let mut tokens = 0.0;
    for answer in ["a", "b", "c"] {
        let reply = served.post("/v1/score", &exchange(answer)).ok();
        tokens += reply["tokens"].as_f64().unwrap();
    }
    let records = json!({"records": [exchange("d"), exchange("e")]});
    for result in served.post("/v1/score", &records).ok()["results"]
        .as_array()
        .unwrap()
    {
        tokens += result["tokens"].as_f64().unwrap();
    }
    let reply = served.post("/classify", &json!({"input": [1, 2, 3]})).ok();
    tokens += reply["usage"]["total_tokens"].as_f64().unwrap();
    assert_eq!(served.post("/classify", &json!({"input": 7})).status, 400);
    assert_eq!(
        served
            .post("/classify", &json!({"input": vec![5; 65]}))
            .status,
        413
    );
    let request = json!({"model": "an alias", "input": [1, 7]});
    assert_eq!(served.post("/classify", &request).status, 500);
    assert_eq!(served.get("/nowhere").status, 404);
    assert_eq!(served.get("/elsewhere?a=b").status, 404);
    assert_eq!(served.get("/classify").status, 405);

    let after = scrape(&served);
    let value = |series: &str| after.value(series);
    let grown = |series: &str| after.value(series) - before.value(series);
    assert_eq!(
        value("worldpm_requests_total{route=\"/v1/score\",status=\"200\"}"),
        4.0
    );
    for (status, count) in [(200, 1.0), (400, 1.0), (405, 1.0), (413, 1.0), (500, 1.0)] {
        let series = format!("worldpm_requests_total{{route=\"/classify\",status=\"{status}\"}}");
        assert_eq!(value(&series), count, "{series}");
    }
    assert_eq!(
        value("worldpm_requests_total{route=\"other\",status=\"404\"}"),
        2.0
    );
    for (route, kind, count) in [
        ("/classify", "invalid_input", 1.0),
        ("/classify", "too_long", 1.0),
        ("/classify", "internal", 1.0),
        ("/classify", "method_not_allowed", 1.0),
        ("other", "not_found", 2.0),
    ] {
        let series = format!("worldpm_request_errors_total{{route=\"{route}\",kind=\"{kind}\"}}");
        assert_eq!(value(&series), count, "{series}");
    }
    // The scrape itself.
    assert_eq!(value("worldpm_requests_in_flight"), 1.0);
    assert_eq!(
        value("worldpm_request_seconds_count{route=\"/v1/score\"}"),
        4.0
    );
    for part in ["tokenising", "queued", "computing"] {
        let name = format!("worldpm_conversation_{part}_seconds_count");
        assert_eq!(
            value(&format!("{name}{{route=\"/v1/score\"}}")),
            5.0,
            "{name}"
        );
        assert_eq!(
            value(&format!("{name}{{route=\"/classify\"}}")),
            1.0,
            "{name}"
        );
    }
    let spent = value("worldpm_conversation_computing_seconds_sum{route=\"/v1/score\"}");
    assert!(spent > 0.0);
    assert_eq!(value("worldpm_request_conversations_count"), 7.0);
    assert_eq!(value("worldpm_request_conversations_sum"), 8.0);
    assert_eq!(value("worldpm_request_tokens_sum"), tokens);
    assert_eq!(
        grown("worldpm_conversations_scored_total{model=\"pm\"}"),
        6.0
    );
    assert_eq!(grown("worldpm_tokens_total{model=\"pm\"}"), tokens);
    assert!(grown("worldpm_unique_tokens_total{model=\"pm\"}") <= tokens);
    assert!(grown("worldpm_packs_total{model=\"pm\"}") >= 1.0);
    assert_eq!(
        value("worldpm_conversation_errors_total{model=\"broken\",kind=\"internal\"}"),
        1.0
    );
    assert_eq!(
        value("worldpm_conversation_errors_total{model=\"pm\",kind=\"too_long\"}"),
        1.0
    );
    for model in ["pm", "broken"] {
        assert_eq!(
            value(&format!("worldpm_model_ready{{model=\"{model}\"}}")),
            1.0
        );
        assert_eq!(
            value(&format!("worldpm_queue_conversations{{model=\"{model}\"}}")),
            0.0
        );
        assert_eq!(
            value(&format!("worldpm_running_packs{{model=\"{model}\"}}")),
            0.0
        );
        assert_eq!(
            value(&format!(
                "worldpm_scores_not_finite_total{{model=\"{model}\"}}"
            )),
            0.0
        );
    }
    let stage = "{model=\"pm\",stage=\"0\"}";
    assert!(grown(&format!("worldpm_stage_busy_seconds_total{stage}")) > 0.0);
    assert!(value(&format!("worldpm_stage_loads_total{stage}")) >= 1.0);
    assert_eq!(
        grown(&format!("worldpm_stage_tokens_total{stage}")),
        grown("worldpm_unique_tokens_total{model=\"pm\"}")
    );
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        value(&format!("worldpm_build_info{{version=\"{version}\"}}")),
        1.0
    );
    assert!(value("process_resident_memory_bytes") > 1e6);
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_secs_f64();
    let age = now - value("process_start_time_seconds");
    assert!((-2.0..3600.0).contains(&age), "{age}");
}

#[test]
fn what_waits_is_seen() {
    let mut options = ScorerOptions::default();
    options.queue = QueueOptions::default().with_max_conversations(2);
    let slow = FakeOptions::default().with_stages(vec![Duration::from_millis(600)]);
    let served = Served::of(fake("pm", slow, options));
    std::thread::scope(|scope| {
        for answer in ["a", "b"] {
            let served = &served;
            scope.spawn(move || served.post("/v1/score", &exchange(answer)).ok());
            std::thread::sleep(Duration::from_millis(150));
        }
        let refused = served.post("/v1/score", &exchange("c"));
        assert_eq!(refused.status, 503);
        let found = scrape(&served);
        let value = |name: &str| found.value(&format!("worldpm_{name}{{model=\"pm\"}}"));
        assert_eq!(found.value("worldpm_requests_in_flight"), 3.0);
        assert_eq!(value("queue_conversations"), 2.0);
        assert!(value("queue_tokens") >= 2.0);
        assert!(value("running_packs") >= 1.0);
        let waited = value("queue_oldest_wait_seconds");
        assert!((0.0..1.2).contains(&waited), "{waited}");
        let errors = "worldpm_request_errors_total{route=\"/v1/score\",kind=\"overloaded\"}";
        assert_eq!(found.value(errors), 1.0);
    });
    assert_eq!(scrape(&served).value("worldpm_requests_in_flight"), 1.0);
}

#[test]
fn a_client_that_leaves_is_counted() {
    let slow = FakeOptions::default().with_stages(vec![Duration::from_millis(500)]);
    let served = Served::of(fake("pm", slow, ScorerOptions::default()));
    let mut stream = TcpStream::connect(served.address.strip_prefix("http://").unwrap()).unwrap();
    let body = exchange("a").to_string();
    let length = body.len();
    write!(
        stream,
        "POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    std::thread::sleep(Duration::from_millis(150));
    drop(stream);
    let left = "worldpm_requests_total{route=\"/v1/score\",status=\"499\"}";
    let begun = Instant::now();
    while !scrape(&served).samples.contains_key(left) {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(20));
    }
    let found = scrape(&served);
    assert_eq!(found.value("worldpm_requests_in_flight"), 1.0);
    let errors = "worldpm_request_errors_total{route=\"/v1/score\",kind=\"cancelled\"}";
    assert_eq!(found.value(errors), 1.0);
}

#[test]
fn each_server_counts_for_itself() {
    let (one, two) = (Served::of(real("pm")), Served::of(real("pm")));
    one.post("/v1/score", &exchange("a")).ok();
    let scored = "worldpm_requests_total{route=\"/v1/score\",status=\"200\"}";
    assert_eq!(scrape(&one).value(scored), 1.0);
    assert!(!scrape(&two).samples.contains_key(scored));
}

#[test]
fn open_metrics_where_it_is_asked_for() {
    let served = Served::of(real("pm"));
    served.post("/v1/score", &exchange("a")).ok();
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let reply = served.get_with("/metrics", &[("accept", accept)]);
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(reply.header("content-type"), Some(content_type));
    let found = Exposition::parse(&reply.body, Format::OpenMetrics);
    assert_eq!(found.names, scrape(&served).names);
}

#[test]
fn the_dashboard_asks_for_what_there_is() {
    let served = Served::of(real("pm"));
    served.post("/v1/score", &exchange("a")).ok();
    assert_eq!(served.post("/v1/score", &json!({"prompt": 3})).status, 400);
    let long = json!({"input": vec![5; 100_000]});
    assert_eq!(served.post("/classify", &long).status, 413);
    let found = scrape(&served);
    let text = include_str!("../../docs/grafana/worldpm-ort.json");
    let dashboard: Value = serde_json::from_str(text).unwrap();
    let mut queries = Vec::new();
    collect(&dashboard, &mut queries);
    assert!(queries.len() > 15, "{}", queries.len());
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut asked = std::collections::HashSet::new();
    for query in &queries {
        let words = query.split(|c| !is_part(c));
        let names =
            words.filter(|word| word.starts_with("worldpm_") || word.starts_with("process_"));
        let before = asked.len();
        asked.extend(names.map(str::to_owned));
        assert!(
            asked.len() > before || query.contains("worldpm_"),
            "{query}"
        );
    }
    for name in &asked {
        assert!(
            found.names.contains(name),
            "{name} is in the dashboard only"
        );
    }
    // What is counted is shown, but for what only others are made of.
    let hidden = ["_sum", "_count", "_bucket"];
    for name in &found.names {
        let own = name.starts_with("worldpm_") && !hidden.iter().any(|end| name.ends_with(end));
        assert!(
            !own || asked.contains(name),
            "{name} is not in the dashboard"
        );
    }
}

/// Every `expr`, and every `query` of a variable.
fn collect(value: &Value, queries: &mut Vec<String>) {
    match value {
        Value::Array(all) => all.iter().for_each(|value| collect(value, queries)),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "expr" => queries.push(text.clone()),
                    value => collect(value, queries),
                }
            }
        }
        _ => {}
    }
}

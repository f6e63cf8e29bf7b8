//! Requests that no client should send, to every path: each has a reply that is no fault of the server, and soon.

use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Map, Value, json};

use crate::{
    raw,
    served::{Served, local, real},
};

/// As many as this time has room for, but no less than a thousand.
const TIME: Duration = Duration::from_secs(10);
const LEAST: usize = 1000;

fn requests() -> Vec<(&'static str, Value)> {
    let messages = json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]);
    vec![
        (
            "/v1/score",
            json!({"messages": messages, "id": 1, "model": "pm", "tools": []}),
        ),
        (
            "/v1/score",
            json!({"records": [{"prompt": "q", "chosen": "a", "rejected": "b"}]}),
        ),
        (
            "/v1/compare",
            json!({"prompt": "q", "chosen": "a", "rejected": "b"}),
        ),
        ("/v1/rank", json!({"prompt": "q", "responses": ["a", "b"]})),
        ("/v1/render", json!({"messages": messages})),
        (
            "/classify",
            json!({"model": "pm", "input": ["text"], "use_activation": false}),
        ),
        ("/classify", json!({"text": "text", "messages": messages})),
        ("/v1/embeddings", json!({"model": "pm", "input": "text"})),
        (
            "/pooling",
            json!({"input": [[1, 2]], "truncate_prompt_tokens": 3}),
        ),
        (
            "/get_reward",
            json!({"query": ["text"], "prompts": ["p"], "labels": ["l"]}),
        ),
        (
            "/",
            json!({"prompt": messages, "response": "r", "label": null}),
        ),
        (
            "/predict",
            json!({"inputs": [["a", "b"]], "raw_scores": true}),
        ),
        (
            "/rerank",
            json!({"query": "q", "texts": ["a"], "return_text": true}),
        ),
        (
            "/v1/chat/completions",
            json!({"model": "pm", "messages": messages, "n": 1}),
        ),
        ("/admin/reload", json!({"model": "pm"})),
    ]
}

fn junk(random: &mut Rng) -> Value {
    match random.u8(0..14) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(u64::MAX),
        4 => json!(1e308),
        5 => json!(0.5),
        6 => json!(""),
        7 => json!("\u{0}\u{202e}\u{fffd}\u{1f4a9}e\u{301}<|im_end|><|endoftext|>"),
        8 => json!("x".repeat(random.usize(0..3000))),
        9 => json!([]),
        10 => json!({}),
        11 => json!([[[[]]], {}, null, 3]),
        12 => json!([u32::MAX, 0, 4_000_000_000_u32]),
        _ => json!({"role": random.u8(..), "content": [{"type": "image_url"}], "": []}),
    }
}

/// Puts junk somewhere: in place of a value, beside one, or under another name.
fn spoil(value: &mut Value, random: &mut Rng) {
    let here = random.u8(0..3) == 0;
    match value {
        Value::Object(fields) if !here && !fields.is_empty() => {
            let at = random.usize(0..fields.len());
            let key = fields.keys().nth(at).unwrap().clone();
            match random.u8(0..6) {
                0 => drop(fields.remove(&key)),
                1 => {
                    let moved = fields.remove(&key).unwrap();
                    fields.insert(key.to_uppercase(), moved);
                }
                _ => spoil(fields.get_mut(&key).unwrap(), random),
            }
        }
        Value::Array(items) if !here && !items.is_empty() => {
            let at = random.usize(0..items.len());
            match random.u8(0..4) {
                0 => items.insert(at, junk(random)),
                _ => spoil(&mut items[at], random),
            }
        }
        value => *value = junk(random),
    }
}

fn body(good: &Value, random: &mut Rng) -> Vec<u8> {
    let mut value = good.clone();
    for _ in 0..random.u8(1..4) {
        spoil(&mut value, random);
    }
    let mut bytes = value.to_string().into_bytes();
    match random.u8(0..12) {
        0 => bytes.truncate(random.usize(0..=bytes.len())),
        1 if !bytes.is_empty() => {
            let at = random.usize(0..bytes.len());
            bytes[at] = random.u8(..);
        }
        2 => {
            let deep = random.usize(1..100_000);
            let (open, close) = *random.choice(&[("[", "]"), ("{\"a\":", "}")]).unwrap();
            bytes = format!("{}1{}", open.repeat(deep), close.repeat(deep)).into_bytes();
        }
        3 => {
            // A field of the request is deep, and another name has junk.
            let deep = random.usize(1..2000);
            let mut fields = Map::new();
            fields.extend(
                good.as_object()
                    .into_iter()
                    .flatten()
                    .map(|(key, value)| (key.clone(), value.clone())),
            );
            let text = Value::Object(fields).to_string();
            let nested = format!("{}{}", "[".repeat(deep), "]".repeat(deep));
            bytes = text.replacen("\"q\"", &nested, 1).into_bytes();
        }
        4 => bytes = format!("{{\"input\": [{}]}}", "9".repeat(random.usize(1..5000))).into_bytes(),
        5 => bytes =
            b"{\"input\": \"\\ud800\", \"query\": [\"\\udfff\\u0000\"], \"prompt\": \"\\ud83d\"}"
                .to_vec(),
        6 => bytes.splice(0..0, *b"\xef\xbb\xbf").for_each(drop),
        _ => {}
    }
    bytes
}

#[test]
fn every_path_answers_whatever_comes() {
    let mut options = local();
    options.max_request_conversations = 64;
    let served = Served::start(options, vec![real("pm")]);
    let mut random = Rng::with_seed(14);
    let types = [
        "application/json",
        "application/json; charset=utf-16",
        "application/x-ndjson",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "",
    ];
    let requests = requests();
    let begun = Instant::now();
    let mut sent = 0;
    while sent < LEAST || begun.elapsed() < TIME {
        let (path, good) = random.choice(&requests).unwrap();
        let body = body(good, &mut random);
        let content_type = *random.choice(&types).unwrap();
        let reply = served.send(path, content_type, &body);
        let shown = || String::from_utf8_lossy(&body[..body.len().min(2000)]).into_owned();
        // TEI's clients know 424 as a fault of the server.
        assert!(
            reply.status < 500 && reply.status != 424,
            "{path} ({content_type}): {}: {}\n{}",
            reply.status,
            reply.body,
            shown()
        );
        if reply.status != 200 {
            reply.json();
        }
        sent += 1;
    }
    eprintln!("{sent} requests in {:?}", begun.elapsed());
    for (path, good) in requests {
        if path != "/admin/reload" {
            let status = served.post(path, &good).status;
            assert!([200, 400].contains(&status), "{path}: {status}");
        }
    }
    served
        .post("/v1/score", &json!({"prompt": "q", "response": "a"}))
        .ok();
}

#[test]
fn what_is_not_http_is_refused() {
    let mut options = local();
    options.read_timeout = Duration::from_millis(500);
    let served = Served::start(options, vec![real("pm")]);
    let score = "POST /v1/score HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    let chunked = format!("{score}transfer-encoding: chunked\r\n\r\n");
    for request in [
        "\r\n\r\n\r\n",
        "\u{0}\u{1}\u{2}\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "get /live http/1.1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\njunk junk junk junk junk",
        &format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(70_000)),
        &format!("{score}content-length: -1\r\n\r\n"),
        &format!("{score}content-length: 99999999999999999999999\r\n\r\n"),
        &format!("{score}content-length: 3\r\ncontent-length: 4\r\n\r\n{{}} "),
        &format!("{score}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        &format!("{score}transfer-encoding: gzip\r\n\r\n"),
        &format!("{score}expect: 100-continue\r\ncontent-length: 9\r\n\r\n"),
        &format!("{chunked}xyz\r\n"),
        &format!("{chunked}ffffffffffffffffff\r\n"),
        &format!("{chunked}5\r\n{{}}\r\n0\r\n\r\n"),
        &format!("{chunked}-2\r\n{{}}\r\n0\r\n\r\n"),
        &format!("{chunked}2;{}\r\n{{}}\r\n0\r\n\r\n", "e".repeat(70_000)),
        &format!("{chunked}2\r\n{{}}\r\n0\r\n{}\r\n", "x: y\r\n".repeat(5000)),
    ] {
        let begun = Instant::now();
        let reply = raw::ask(&mut raw::connect(served.socket()), request.as_bytes());
        let shown = &request[..request.len().min(200)];
        assert!(begun.elapsed() < Duration::from_secs(10), "{shown:?}");
        let last = reply
            .rsplit("HTTP/1.1 ")
            .next()
            .and_then(|rest| rest.get(..3));
        let status: Option<u16> = last.and_then(|status| status.parse().ok());
        assert!(
            status.is_none_or(|status| (400..500).contains(&status)),
            "{shown:?}: {reply}"
        );
    }
    served.get("/ready").ok();
}

//! Every dialect gives the scores of the library, with the same bits.

use serde_json::{Value, json};
use worldpm_ort::{Conversation, Scorer, ScorerOptions};

use crate::served::{Served, bundle, local, real};

const PROMPT: &str = "Tips for better sleep?";
const GOOD: &str = "Keep a regular bedtime.";
const BAD: &str = "just sleep lol";

struct Expected {
    good: f64,
    bad: f64,
    /// What the template makes of the good answer.
    text: String,
    ids: Vec<u32>,
}

fn expected() -> Expected {
    let scorer = Scorer::open(&bundle(), &ScorerOptions::default()).unwrap();
    let [good, bad] = [GOOD, BAD].map(|answer| Conversation::exchange(PROMPT, answer));
    let scores = scorer.score(&[good.clone(), bad]);
    let score = |at: usize| f64::from(scores[at].as_ref().unwrap().score);
    Expected {
        good: score(0),
        bad: score(1),
        text: scorer.render(&good).unwrap(),
        ids: scorer.token_ids(&good).unwrap(),
    }
}

fn messages(answer: &str) -> Value {
    json!([{"role": "user", "content": PROMPT}, {"role": "assistant", "content": answer}])
}

#[test]
fn our_own() {
    let (served, expected) = (Served::of(real("pm")), expected());
    for record in [
        json!({"id": 7, "prompt": PROMPT, "response": GOOD}),
        json!({"id": 7, "model": "pm", "messages": messages(GOOD)}),
    ] {
        let reply = served.post("/v1/score", &record).ok();
        assert_eq!(reply["score"], expected.good, "{reply}");
        assert_eq!((&reply["id"], &reply["model"]), (&json!(7), &json!("pm")));
        assert_eq!(reply["tokens"], expected.ids.len());
        let last = expected.ids.len() - 1;
        assert_eq!(reply["scored_token"]["position"], last);
        assert_eq!(reply["scored_token"]["id"], expected.ids[last]);
        assert!(reply["scored_token"]["text"].is_string());
        assert!(reply["timings"]["computing_ms"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(
        served.post("/v1/score", &messages(BAD)).ok()["score"],
        expected.bad
    );

    let pair = json!({"prompt": PROMPT, "chosen": GOOD, "rejected": BAD});
    for path in ["/v1/score", "/v1/compare"] {
        let reply = served.post(path, &pair).ok();
        assert_eq!(reply["chosen"]["score"], expected.good);
        assert_eq!(reply["rejected"]["score"], expected.bad);
        let margin = expected.good - expected.bad;
        assert!((reply["margin"].as_f64().unwrap() - margin).abs() < 1e-6);
        let probability = 1.0 / (1.0 + (-margin).exp());
        assert!((reply["probability"].as_f64().unwrap() - probability).abs() < 1e-6);
    }

    let records =
        json!({"records": [pair, {"prompt": 3}, messages(GOOD), {"id": "x", "messages": []}]});
    let reply = served.post("/v1/score", &records).ok();
    let results = reply["results"].as_array().unwrap();
    assert_eq!(results[0]["chosen"]["score"], expected.good);
    assert_eq!(results[1]["error"]["kind"], "invalid_input");
    assert_eq!(results[2]["score"], expected.good);
    assert_eq!(results[3]["id"], "x");
    assert!(
        results[3]["error"]["message"]
            .as_str()
            .unwrap()
            .contains("`messages` is empty")
    );

    let rank = json!({"prompt": PROMPT, "responses": [BAD, GOOD, BAD]});
    let reply = served.post("/v1/rank", &rank).ok();
    let order: Vec<_> = reply["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["index"].clone())
        .collect();
    let wanted = if expected.good > expected.bad {
        [1, 0, 2]
    } else {
        [0, 2, 1]
    };
    assert_eq!(order, wanted);
    assert_eq!(reply["best"], wanted[0]);
    assert_eq!(reply["results"][0]["margin"], 0.0);
}

#[test]
fn lines_are_those_of_the_command() {
    let served = Served::of(real("pm"));
    let lines = [
        json!({"id": 1, "prompt": PROMPT, "chosen": GOOD, "rejected": BAD}).to_string(),
        "{\"prompt\": 1}".to_owned(),
        "not JSON".to_owned(),
        messages(GOOD).to_string(),
    ]
    .join("\n");
    let reply = served.send(
        "/v1/score?model=pm",
        "application/x-ndjson",
        lines.as_bytes(),
    );
    assert_eq!(reply.status, 200, "{}", reply.body);
    let model = bundle();
    let args = [
        "score",
        "--only-scores",
        "--keep-going",
        "--model",
        model.to_str().unwrap(),
    ];
    let command = crate::support::run_with_input(&args, lines.as_bytes());
    assert_eq!(reply.body, String::from_utf8(command.stdout).unwrap());
    assert_eq!(reply.body.lines().count(), 4);
}

#[test]
fn those_of_trainers() {
    let (served, expected) = (Served::of(real("pm")), expected());
    let (good, text) = (expected.good, &expected.text);

    // verl, for vLLM.
    for flag in ["use_activation", "activation"] {
        let request = json!({"model": "pm", "input": text, flag: false});
        let reply = served.post("/classify", &request).ok();
        let data = reply["data"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(data["probs"].as_array().unwrap().last().unwrap(), good);
        assert_eq!(reply["activation"], "none");
        let activated = json!({"model": "pm", "input": [text], flag: true});
        let reply = served.post("/classify", &activated).ok();
        let sigmoid = reply["data"][0]["probs"][0].as_f64().unwrap();
        assert!((sigmoid - 1.0 / (1.0 + (-good).exp())).abs() < 1e-12);
        assert_eq!(reply["activation"], "sigmoid");
    }
    // No activation that nobody asked for.
    for input in [
        json!(text),
        json!([text]),
        json!(expected.ids),
        json!([expected.ids]),
    ] {
        let reply = served.post("/classify", &json!({"input": input})).ok();
        assert_eq!(reply["data"][0]["probs"], json!([good]));
        assert_eq!(reply["usage"]["prompt_tokens"], expected.ids.len());
    }
    let reply = served
        .post("/classify", &json!({"messages": messages(GOOD)}))
        .ok();
    assert_eq!(reply["data"][0]["probs"], json!([good]));

    // verl, for SGLang.
    let reply = served
        .post("/v1/embeddings", &json!({"model": "pm", "input": text}))
        .ok();
    let data = reply["data"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(data["embedding"].as_array().unwrap().last().unwrap(), good);

    // OpenAI's client asks for bytes by itself.
    let request = json!({"model": "pm", "input": text, "encoding_format": "base64"});
    let reply = served.post("/v1/embeddings", &request).ok();
    #[allow(clippy::cast_possible_truncation)]
    let bytes = (good as f32).to_le_bytes();
    let [b, c, d, e] = bytes.map(u32::from);
    let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| digits.as_bytes()[bits as usize & 63] as char;
    let base64: String = [b >> 2, b << 4 | c >> 4, c << 2 | d >> 6, d, e >> 2, e << 4]
        .into_iter()
        .map(digit)
        .chain("==".chars())
        .collect();
    assert_eq!(reply["data"][0]["embedding"], base64);

    // SGLang itself, and AReaL.
    let reply = served
        .post("/classify", &json!({"model": "pm", "text": [text, text]}))
        .ok();
    assert_eq!(reply[0]["embedding"], json!([good]));
    assert_eq!(reply[1]["meta_info"]["prompt_tokens"], expected.ids.len());

    // OpenRLHF.
    let request = json!({"query": [text, text], "prompts": ["", ""], "labels": ["", ""]});
    let reply = served.post("/get_reward", &request).ok();
    assert_eq!(reply["rewards"], json!([good, good]));
    assert_eq!(reply["scores"], reply["rewards"]);

    // slime, with both forms of a prompt.
    let cut = text.find(GOOD).unwrap();
    let request = json!({"prompt": text[..cut], "response": text[cut..], "label": null});
    assert_eq!(served.post("/", &request).ok(), json!(good));
    let prompt = [json!({"role": "user", "content": PROMPT})];
    let request = json!({"prompt": prompt, "response": GOOD, "label": "4"});
    assert_eq!(served.post("/", &request).ok(), json!(good));
}

#[test]
fn those_of_servers() {
    let (served, expected) = (Served::of(real("pm")), expected());
    let (good, bad, text) = (expected.good, expected.bad, &expected.text);
    let sigmoid = |score: f64| 1.0 / (1.0 + (-score).exp());

    for input in [json!({"input": text}), json!({"messages": messages(GOOD)})] {
        let reply = served.post("/pooling", &input).ok();
        assert_eq!(reply["data"][0]["data"], json!([[good]]));
        assert_eq!(reply["data"][0]["object"], "pooling");
    }

    let predict = |request: Value| served.post("/predict", &request).ok();
    let raw = |inputs: Value| json!({"inputs": inputs, "raw_scores": true});
    assert_eq!(predict(raw(json!(text)))[0]["score"], good);
    // A list of two texts is one pair.
    assert_eq!(predict(raw(json!([PROMPT, GOOD])))[0]["score"], good);
    let reply = predict(raw(json!([[PROMPT, GOOD], [PROMPT, BAD], [text]])));
    assert_eq!(reply.as_array().unwrap().len(), 3);
    assert_eq!(
        (&reply[0][0]["score"], &reply[1][0]["score"]),
        (&json!(good), &json!(bad))
    );
    let reply = served.post("/predict", &json!({"inputs": text}));
    assert_eq!(reply.ok()[0]["score"], sigmoid(good));
    assert_eq!(reply.header("x-score-activation"), Some("sigmoid"));
    let tokens = expected.ids.len().to_string();
    assert_eq!(reply.header("x-compute-tokens"), Some(tokens.as_str()));
    assert!(reply.header("x-inference-time").is_some());

    let request =
        json!({"query": PROMPT, "texts": [BAD, GOOD], "raw_scores": true, "return_text": true});
    let reply = served.post("/rerank", &request).ok();
    let best = if good > bad {
        (1, GOOD, good)
    } else {
        (0, BAD, bad)
    };
    assert_eq!(
        reply[0],
        json!({"index": best.0, "text": best.1, "score": best.2})
    );
    let info = served.get("/info").ok();
    assert_eq!(info["model_id"], "pm");
    assert_eq!(info["auto_truncate"], false);

    let request = json!({"model": "pm", "messages": messages(GOOD)});
    let reply = served.post("/v1/chat/completions", &request).ok();
    let content = reply["choices"][0]["message"]["content"].as_str().unwrap();
    let score: f64 = content.strip_prefix("reward:").unwrap().parse().unwrap();
    assert_eq!(score, good);

    let models = served.get("/v1/models").ok();
    assert_eq!(models["data"][0]["id"], "pm");
}

#[test]
fn choices_that_a_server_leaves() {
    let expected = expected();
    let mut options = local();
    options.pooling_scalar = true;
    options.slime_key = Some("reward".into());
    options.slime_paths = vec!["/rm".into()];
    let served = Served::start(options, vec![real("pm")]);
    let request = json!({"input": expected.text});
    assert_eq!(
        served.post("/pooling", &request).ok()["data"][0]["data"],
        expected.good
    );
    let request = json!({"prompt": [{"role": "user", "content": PROMPT}], "response": GOOD});
    for path in ["/", "/rm"] {
        assert_eq!(
            served.post(path, &request).ok(),
            json!({"reward": expected.good})
        );
    }
}

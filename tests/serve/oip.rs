//! The Open Inference Protocol in REST: scores, tensors of every form, and tensors that are none.

use std::time::Duration;

use serde_json::{Value, json};
use worldpm_ort::{Conversation, Scorer, ScorerOptions};
use worldpm_ort_runtime::testing::FakeOptions;

use crate::{
    served::{Served, bundle, fake, local, real},
    support,
};

const PROMPT: &str = "Tips for better sleep?";
const ANSWERS: [&str; 2] = ["Keep a regular bedtime.", "just sleep lol"];
const INFER: &str = "/v2/models/pm/infer";
const JSON_LENGTH: &str = "inference-header-content-length";

/// Two conversations in every form, and their scores.
pub struct Expected {
    pub scores: Vec<f32>,
    pub texts: Vec<String>,
    pub ids: Vec<Vec<u32>>,
    pub conversations: Vec<String>,
}

pub fn expected() -> Expected {
    let scorer = Scorer::open(&bundle(), &ScorerOptions::default()).unwrap();
    let all = ANSWERS.map(|answer| Conversation::exchange(PROMPT, answer));
    let scores = scorer.score(&all).into_iter();
    Expected {
        scores: scores.map(|score| score.unwrap().score).collect(),
        texts: all.iter().map(|one| scorer.render(one).unwrap()).collect(),
        ids: all
            .iter()
            .map(|one| scorer.token_ids(one).unwrap())
            .collect(),
        conversations: vec![
            json!([{"role": "user", "content": PROMPT}, {"role": "assistant", "content": ANSWERS[0]}]).to_string(),
            json!({"prompt": PROMPT, "response": ANSWERS[1]}).to_string(),
        ],
    }
}

impl Expected {
    /// Ids in rows of one length, with padding before or after them, the mask, and the lengths.
    pub fn padded(&self, left: bool) -> (usize, Vec<i64>, Vec<i64>, Vec<i64>) {
        let length = self.ids.iter().map(Vec::len).max().unwrap() + 2;
        let (mut ids, mut mask) = (Vec::new(), Vec::new());
        for own in &self.ids {
            let padding = length - own.len();
            let own_ids = own.iter().map(|&id| i64::from(id));
            let (before, after) = if left { (padding, 0) } else { (0, padding) };
            ids.extend(std::iter::repeat_n(7, before));
            ids.extend(own_ids);
            ids.extend(std::iter::repeat_n(7, after));
            mask.extend(std::iter::repeat_n(0, before));
            mask.extend(std::iter::repeat_n(1, own.len()));
            mask.extend(std::iter::repeat_n(0, after));
        }
        let lengths = self.ids.iter().map(|ids| ids.len() as i64).collect();
        (length, ids, mask, lengths)
    }
}

pub fn bits(scores: &[f32]) -> Vec<u32> {
    scores.iter().map(|score| score.to_bits()).collect()
}

fn input(name: &str, datatype: &str, shape: Value, data: Value) -> Value {
    json!({"name": name, "datatype": datatype, "shape": shape, "data": data})
}

fn request(inputs: &[Value]) -> Value {
    json!({"inputs": inputs})
}

fn scores(reply: &Value) -> Vec<u32> {
    let data = reply["outputs"][0]["data"].as_array().unwrap();
    let scores = data.iter().map(|score| score.as_f64().unwrap() as f32);
    scores.map(f32::to_bits).collect()
}

#[test]
fn every_form_has_the_bits_of_the_library() {
    let (served, expected) = (Served::of(real("pm")), expected());
    let (length, ids, mask, lengths) = expected.padded(false);
    let (_, left_ids, left_mask, _) = expected.padded(true);
    let rows: Vec<&[i64]> = ids.chunks(length).collect();
    let tokens = |name, datatype, ids: Value| input(name, datatype, json!([2, length]), ids);
    let no_end = input("add_EOS", "BOOL", json!([2, 1]), json!([false, false]));
    for inputs in [
        vec![input("text", "BYTES", json!([2]), json!(expected.texts))],
        vec![input("text", "BYTES", json!([2, 1]), json!(expected.texts))],
        vec![input(
            "text",
            "BYTES",
            json!([2, 1]),
            json!([[expected.texts[0]], [expected.texts[1]]]),
        )],
        vec![
            input("sentences", "BYTES", json!([2, 1]), json!(expected.texts)),
            no_end,
        ],
        vec![input(
            "conversation",
            "BYTES",
            json!([2]),
            json!(expected.conversations),
        )],
        vec![
            tokens("input_ids", "INT64", json!(ids)),
            input("attention_mask", "INT64", json!([2, length]), json!(mask)),
        ],
        vec![
            tokens("input_ids", "INT32", json!(left_ids)),
            input(
                "attention_mask",
                "INT32",
                json!([2, length]),
                json!(left_mask),
            ),
        ],
        vec![
            tokens("tokens", "INT64", json!(rows)),
            input("sequence_lengths", "INT64", json!([2, 1]), json!(lengths)),
        ],
        vec![
            input("sequence_lengths", "INT32", json!([2]), json!(lengths)),
            tokens("tokens", "INT64", json!(rows)),
        ],
    ] {
        let reply = served.post(INFER, &request(&inputs)).ok();
        assert_eq!(scores(&reply), bits(&expected.scores), "{inputs:?}");
        assert_eq!(reply["outputs"][0]["name"], "score");
        assert_eq!(reply["outputs"][0]["datatype"], "FP32");
        assert_eq!(reply["outputs"][0]["shape"], json!([2, 1]));
        assert_eq!(
            (&reply["model_name"], &reply["model_version"]),
            (&json!("pm"), &json!("1"))
        );
        assert!(reply.get("id").is_none());
    }
    let mut asked = request(&[input(
        "text",
        "BYTES",
        json!([1]),
        json!([expected.texts[0]]),
    )]);
    asked["id"] = json!("seven");
    asked["outputs"] = json!([{"name": "rewards"}, {"name": "score"}]);
    asked["parameters"] = json!({"timeout": 60_000_000, "priority": 1});
    let reply = served.post("/v2/models/pm/versions/1/infer", &asked).ok();
    assert_eq!(reply["id"], "seven");
    let names: Vec<&Value> = reply["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| &o["name"])
        .collect();
    assert_eq!(names, ["rewards", "score"]);
    assert_eq!(reply["outputs"][0]["data"], reply["outputs"][1]["data"]);
}

/// Sends JSON and binary data; gives the status, the JSON and the binary data of the reply.
fn send_binary(served: &Served, json: &Value, binary: &[u8]) -> (u16, Value, Vec<u8>) {
    let json = json.to_string();
    let length = json.len().to_string();
    let body = [json.as_bytes(), binary].concat();
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    let request = agent.post(format!("{}{INFER}", served.address));
    let mut reply = request.header(JSON_LENGTH, &length).send(&body).unwrap();
    let length = reply.headers().get(JSON_LENGTH);
    let length = length.map(|value| value.to_str().unwrap().parse().unwrap());
    let body = reply.body_mut().read_to_vec().unwrap();
    let (json, rest) = body.split_at(length.unwrap_or(body.len()));
    (
        reply.status().as_u16(),
        serde_json::from_slice(json).unwrap(),
        rest.to_vec(),
    )
}

pub fn raw_texts(texts: &[String]) -> Vec<u8> {
    let mut raw = Vec::new();
    for text in texts {
        raw.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
        raw.extend(text.as_bytes());
    }
    raw
}

fn binary_input(name: &str, datatype: &str, shape: Value, size: usize) -> Value {
    json!({"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}})
}

#[test]
fn binary_data() {
    let (served, expected) = (Served::of(real("pm")), expected());
    let texts = raw_texts(&expected.texts);
    let mut asked = request(&[binary_input("text", "BYTES", json!([2, 1]), texts.len())]);
    let (status, json, rest) = send_binary(&served, &asked, &texts);
    assert_eq!((status, rest.len()), (200, 0), "{json}");
    assert_eq!(scores(&json), bits(&expected.scores));

    let raw: Vec<u8> = expected
        .scores
        .iter()
        .flat_map(|score| score.to_le_bytes())
        .collect();
    asked["parameters"] = json!({"binary_data_output": true});
    let (_, json, rest) = send_binary(&served, &asked, &texts);
    assert_eq!(rest, raw);
    assert_eq!(
        json["outputs"][0]["parameters"]["binary_data_size"],
        raw.len()
    );

    // One output in JSON, the other one not; one input in JSON, the other one not.
    let (length, ids, mask, _) = expected.padded(false);
    let ids: Vec<u8> = ids
        .iter()
        .flat_map(|id| (*id as i32).to_le_bytes())
        .collect();
    let mut asked = request(&[
        input("attention_mask", "INT64", json!([2, length]), json!(mask)),
        binary_input("input_ids", "INT32", json!([2, length]), ids.len()),
    ]);
    asked["outputs"] =
        json!([{"name": "score"}, {"name": "rewards", "parameters": {"binary_data": true}}]);
    let (_, json, rest) = send_binary(&served, &asked, &ids);
    assert_eq!((scores(&json), rest), (bits(&expected.scores), raw));

    let two = json!([2, 1]);
    let size = texts.len();
    let more = [&texts[..], b"x"].concat();
    for (input, binary, part) in [
        (
            binary_input("text", "BYTES", two.clone(), size + 1),
            &texts[..],
            "bytes are left",
        ),
        (
            binary_input("text", "BYTES", two.clone(), size - 1),
            &texts[..size - 1],
            "ends within element 1",
        ),
        (
            binary_input("text", "BYTES", two.clone(), size),
            &more[..],
            "belong to no input",
        ),
        (
            binary_input("text", "BYTES", json!([3]), size),
            &texts[..],
            "it has 2 elements",
        ),
        (
            binary_input("text", "BYTES", json!([1]), size),
            &texts[..],
            "more than the 1 elements",
        ),
        (
            binary_input("text", "BYTES", json!([1]), 4),
            b"\xff\xff\xff\xff",
            "ends within element 0",
        ),
        (
            binary_input("text", "BYTES", json!([1]), 5),
            b"\x01\0\0\0\xff",
            "not UTF-8",
        ),
        (
            binary_input("input_ids", "INT64", json!([1, 1]), 7),
            b"1234567",
            "8 bytes each",
        ),
        (
            binary_input("input_ids", "INT64", json!([1_u64 << 40, 1_u64 << 30]), 8),
            b"12345678",
            "can be counted",
        ),
        (
            binary_input("input_ids", "INT64", json!([1_u64 << 40, 0]), 0),
            b"",
            "limit is 4096",
        ),
        (
            binary_input("input_ids", "INT64", json!([1, 1]), 8),
            b"\xff\xff\xff\xff\xff\xff\xff\xff",
            "no token's id",
        ),
        (
            binary_input("input_ids", "FP32", json!([1, 1]), 4),
            b"1234",
            "datatype FP32",
        ),
        (
            json!({"name": "text", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": -1}}),
            b"",
            "number of bytes",
        ),
        (
            json!({"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"], "parameters": {"binary_data_size": 0}}),
            b"",
            "has both",
        ),
    ] {
        let (status, json, _) = send_binary(&served, &request(&[input]), binary);
        let message = json["error"].as_str().unwrap();
        assert!(message.contains(part), "{part}: {message}");
        assert_eq!(
            status,
            if part.contains("limit") { 413 } else { 400 },
            "{message}"
        );
    }
    served.get("/live").ok();
}

#[test]
fn what_is_no_tensor_is_refused() {
    let served = Served::of(real("pm"));
    let text = |shape: Value, data: Value| input("text", "BYTES", shape, data);
    let ids = |shape: Value, data: Value| input("input_ids", "INT64", shape, data);
    let good = text(json!([1]), json!(["a b"]));
    served
        .post(INFER, &request(std::slice::from_ref(&good)))
        .ok();
    for (inputs, part) in [
        (vec![], "nothing to score"),
        (vec![text(json!([0]), json!([]))], "it is empty"),
        (vec![text(json!([2]), json!(["a"]))], "has 1 elements"),
        (
            vec![text(json!([1, 2]), json!(["a", "b"]))],
            "[N] or [N, 1]",
        ),
        (vec![text(json!([-1]), json!(["a"]))], "shape"),
        (vec![text(json!([1.5]), json!(["a"]))], "shape"),
        (vec![text(json!([1]), json!([7]))], "must be texts"),
        (vec![text(json!([2]), json!(["a", 7]))], "several kinds"),
        (vec![text(json!([1]), json!("a"))], "data"),
        (vec![text(json!([1]), json!([{"a": 1}]))], "data"),
        (vec![text(json!([1]), json!([null]))], "data"),
        (
            vec![input("text", "INT64", json!([1]), json!([7]))],
            "must be BYTES",
        ),
        (
            vec![input("text", "FP64", json!([1]), json!([7]))],
            "no input of datatype",
        ),
        (vec![input("text", "FP32", json!([1]), json!([7]))], "FP32"),
        (
            vec![input("other", "BYTES", json!([1]), json!(["a"]))],
            "no input \"other\"",
        ),
        (vec![good.clone(), good.clone()], "two inputs"),
        (
            vec![good.clone(), ids(json!([1, 1]), json!([5]))],
            "send one of",
        ),
        (
            vec![
                good.clone(),
                input("sequence_lengths", "INT64", json!([1]), json!([1])),
            ],
            "belongs to `input_ids`",
        ),
        (vec![ids(json!([3]), json!([1, 2, 3]))], "[N, L]"),
        (
            vec![ids(json!([2, 2]), json!([[1, 2], [3]]))],
            "side by side",
        ),
        (
            vec![ids(json!([2, 3]), json!([[1, 2], [3, 4], [5, 6]]))],
            "nested",
        ),
        (vec![ids(json!([1, 2]), json!([1, [2]]))], "side by side"),
        (vec![ids(json!([1, 1]), json!([1.5]))], "data"),
        (vec![ids(json!([1, 1]), json!([-1]))], "no token's id"),
        (
            vec![ids(json!([1, 1]), json!([4_294_967_296_u64]))],
            "no token's id",
        ),
        (vec![ids(json!([1, 1]), json!([u64::MAX]))], "too large"),
        (vec![ids(json!([1, 1]), json!([4_000_000_000_u64]))], ""),
        (vec![ids(json!([4, 0]), json!([]))], "no tokens"),
        (
            vec![
                ids(json!([1, 2]), json!([1, 2])),
                input("attention_mask", "INT64", json!([2, 1]), json!([1, 1])),
            ],
            "that of the tokens",
        ),
        (
            vec![
                ids(json!([1, 2]), json!([1, 2])),
                input("attention_mask", "INT64", json!([1, 2]), json!([0, 0])),
            ],
            "no 1",
        ),
        (
            vec![
                ids(json!([1, 2]), json!([1, 2])),
                input("attention_mask", "INT64", json!([1, 2]), json!([1, 2])),
            ],
            "must have 0 and 1",
        ),
        (
            vec![
                ids(json!([1, 3]), json!([1, 2, 3])),
                input("attention_mask", "INT64", json!([1, 3]), json!([1, 0, 1])),
            ],
            "padding within",
        ),
        (
            vec![
                ids(json!([1, 2]), json!([1, 2])),
                input("sequence_lengths", "INT64", json!([1]), json!([3])),
            ],
            "1 to 2",
        ),
        (
            vec![
                ids(json!([1, 2]), json!([1, 2])),
                input("sequence_lengths", "INT64", json!([1]), json!([0])),
            ],
            "1 to 2",
        ),
        (
            vec![
                ids(json!([1, 2]), json!([1, 2])),
                input("sequence_lengths", "INT64", json!([2]), json!([1, 1])),
            ],
            "must be [1]",
        ),
        (
            vec![
                ids(json!([1, 1]), json!([1])),
                input("sequence_lengths", "INT64", json!([1]), json!([1])),
                input("attention_mask", "INT64", json!([1, 1]), json!([1])),
            ],
            "not both",
        ),
        (
            vec![
                good.clone(),
                input("add_EOS", "BOOL", json!([1]), json!([true])),
            ],
            "nothing is added",
        ),
        (
            vec![
                good.clone(),
                input("add_EOS", "BOOL", json!([1]), json!([1])),
            ],
            "true and false",
        ),
        (
            vec![input("conversation", "BYTES", json!([1]), json!(["{"]))],
            "",
        ),
        (
            vec![input(
                "conversation",
                "BYTES",
                json!([1]),
                json!(["{\"prompt\":\"p\",\"chosen\":\"a\",\"rejected\":\"b\"}"]),
            )],
            "pair",
        ),
        (
            vec![input(
                "conversation",
                "BYTES",
                json!([2]),
                json!(["{\"prompt\":\"p\",\"response\":\"a\"}", "[]"]),
            )],
            "conversation 1",
        ),
        (
            vec![json!({"name": "text", "datatype": "BYTES", "shape": [1]})],
            "neither",
        ),
        (
            vec![
                json!({"name": "text", "datatype": "BYTES", "shape": [1], "parameters": {"shared_memory_region": "r"}}),
            ],
            "not shared",
        ),
    ] {
        let reply = served.post(INFER, &request(&inputs));
        assert_eq!(reply.status, 400, "{inputs:?}: {reply:?}");
        let error = reply.json();
        assert_eq!(error.as_object().unwrap().len(), 1, "{error}");
        let message = error["error"].as_str().unwrap();
        assert!(message.contains(part), "{part}: {message}");
    }
    for (field, value, part) in [
        (
            "outputs",
            json!([{"name": "logits"}]),
            "no output \"logits\"",
        ),
        (
            "outputs",
            json!([{"name": "scores"}]),
            "no output \"scores\"",
        ),
        (
            "outputs",
            json!([{"name": "score"}, {"name": "score"}]),
            "twice",
        ),
        (
            "outputs",
            json!([{"name": "score", "parameters": {"classification": 1}}]),
            "classification",
        ),
        (
            "outputs",
            json!([{"name": "score", "parameters": {"binary_data": 1}}]),
            "true or false",
        ),
        ("parameters", json!({"timeout": "soon"}), "microseconds"),
        ("id", json!(7), "id"),
    ] {
        let mut asked = request(std::slice::from_ref(&good));
        asked[field] = value;
        let reply = served.post(INFER, &asked);
        assert_eq!(reply.status, 400, "{asked}");
        let message = reply.json()["error"].as_str().unwrap().to_owned();
        assert!(message.contains(part), "{part}: {message}");
    }
    for path in ["/v2/models/no/infer", "/v2/models/pm/versions/2/infer"] {
        let reply = served.post(path, &request(std::slice::from_ref(&good)));
        assert_eq!(reply.status, 404, "{path}");
        assert!(reply.json()["error"].is_string());
    }
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    for length in ["x", "-1", "99999"] {
        let post = agent.post(format!("{}{INFER}", served.address));
        let reply = post.header(JSON_LENGTH, length).send("{}").unwrap();
        assert_eq!(reply.status(), 400, "{length}");
    }
    let post = agent.post(format!("{}{INFER}", served.address));
    let mut reply = post.header("content-encoding", "gzip").send("{}").unwrap();
    assert_eq!(reply.status(), 400);
    let message = reply.body_mut().read_to_string().unwrap();
    assert!(message.contains("not decompressed"), "{message}");
    assert_eq!(served.get(INFER).status, 405);
    // Nested deeper than a list may be, and longer than a number may be.
    let deep = format!(
        "{{\"inputs\":[{{\"name\":\"text\",\"datatype\":\"BYTES\",\"shape\":[1],\"data\":{}}}]}}",
        "[".repeat(100_000)
    );
    assert_eq!(
        served
            .send(INFER, "application/json", deep.as_bytes())
            .status,
        400
    );
}

#[test]
fn what_is_known_of_server_and_models() {
    let served = Served::of(real("pm"));
    let server = served.get("/v2").ok();
    assert_eq!(server["name"], "worldpm-ort");
    assert!(
        server["extensions"]
            .as_array()
            .unwrap()
            .contains(&json!("binary_tensor_data"))
    );
    assert_eq!(served.get("/v2/health/live").ok(), json!({"live": true}));
    assert_eq!(served.get("/v2/health/ready").ok()["ready"], true);
    for of in ["/v2/models/pm", "/v2/models/pm/versions/1"] {
        assert_eq!(
            served.get(&format!("{of}/ready")).ok(),
            json!({"name": "pm", "ready": true})
        );
        let metadata = served.get(of).ok();
        assert_eq!(metadata["versions"], json!(["1"]));
        assert_eq!(
            metadata["inputs"][0],
            json!({"name": "text", "datatype": "BYTES", "shape": [-1, 1]})
        );
        assert_eq!(
            metadata["outputs"][0],
            json!({"name": "score", "datatype": "FP32", "shape": [-1, 1]})
        );
        let config = served.get(&format!("{of}/config")).ok();
        assert_eq!(config["max_batch_size"], 4096);
        assert_eq!(
            config["input"][1],
            json!({"name": "input_ids", "data_type": "TYPE_INT64", "dims": [-1], "optional": true})
        );
    }
    for path in [
        "/v2/models/no",
        "/v2/models/no/ready",
        "/v2/models/pm/versions/3/config",
        "/v2/models/%ff",
    ] {
        let reply = served.get(path);
        assert!([400, 404].contains(&reply.status), "{path}");
        assert!(reply.json()["error"].is_string(), "{path}");
    }
    let index = json!([{"name": "pm", "version": "1", "state": "READY", "reason": ""}]);
    assert_eq!(
        served
            .send("/v2/repository/index", "application/json", b"")
            .ok(),
        index
    );
    assert_eq!(
        served
            .post("/v2/repository/index", &json!({"ready": true}))
            .ok(),
        index
    );
}

#[test]
fn several_labels() {
    let flags = [
        "--shape",
        "tiny",
        "--num-hidden-layers",
        "1",
        "--head",
        "one",
        "--labels",
        "good,kind,short",
    ];
    let bundle = support::bundle(&flags, &["--end-token", ""]);
    let scorer = Scorer::open(&bundle, &ScorerOptions::default()).unwrap();
    let conversation = Conversation::exchange(PROMPT, ANSWERS[0]);
    let reward = scorer
        .rewards(std::slice::from_ref(&conversation))
        .pop()
        .unwrap()
        .unwrap();
    let worldpm_ort::Output::Labels(labels) = reward.output else {
        panic!("{reward:?}");
    };
    let model = worldpm_ort_serve::ModelOptions::new("pm", &bundle, ScorerOptions::default());
    let served = Served::of(model);
    let record = json!({"prompt": PROMPT, "response": ANSWERS[0]}).to_string();
    let asked = request(&[input(
        "conversation",
        "BYTES",
        json!([2]),
        json!([record, record]),
    )]);
    let reply = served.post(INFER, &asked).ok();
    assert_eq!(reply["outputs"][0]["name"], "scores");
    assert_eq!(reply["outputs"][0]["shape"], json!([2, 3]));
    assert_eq!(
        scores(&reply),
        [bits(labels.values()), bits(labels.values())].concat()
    );
    let metadata = served.get("/v2/models/pm").ok();
    assert_eq!(metadata["outputs"][0]["shape"], json!([-1, 3]));
}

#[test]
fn loading_ending_and_time() {
    let loading = worldpm_ort_serve::ModelOptions::with_open("pm", bundle(), || {
        std::thread::sleep(Duration::from_millis(400));
        Scorer::open(&bundle(), &ScorerOptions::default())
    });
    let served = Served::start_loading(local(), vec![loading]);
    assert_eq!(served.get("/v2/health/live").status, 200);
    for path in ["/v2/health/ready", "/v2/models/pm/ready", "/v2/models/pm"] {
        assert_eq!(served.get(path).status, 503, "{path}");
    }
    let index = served.send("/v2/repository/index", "", b"").ok();
    assert_eq!(index[0]["state"], "LOADING");
    assert_eq!(
        served
            .post("/v2/repository/index", &json!({"ready": true}))
            .ok(),
        json!([])
    );
    served.ready().unwrap();
    assert_eq!(served.get("/v2/health/ready").status, 200);

    let slow = FakeOptions::default().with_stages(vec![Duration::from_secs(30)]);
    let served = Served::of(fake("pm", slow, ScorerOptions::default()));
    let mut asked = request(&[input("text", "BYTES", json!([1]), json!(["a b"]))]);
    asked["parameters"] = json!({"timeout": 200_000});
    let reply = served.post(INFER, &asked);
    assert_eq!(reply.status, 504, "{reply:?}");
}
